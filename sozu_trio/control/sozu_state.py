"""Sōzu's saved state: requests one after the other, each followed by a line feed and NUL.

    {"id":"SAVE-0","content":{"request_type":{"ADD_CLUSTER":{"cluster_id":"api","load_balancing":0,…}}}}

A file without NULs has one a line. What a request means is told in `sozu_requests.py`.
"""

import json
from typing import Any

from sozu_trio.config.report import Report, place
from sozu_trio.control.sozu_requests import SozuChange, translate
from sozu_trio.errors import ChangeRefused, Problem


def is_sozu_state(data: bytes) -> bool:
    """Whether this is a file of Sōzu's and none of ours. An empty one is Sōzu's way to say nothing."""
    return b"\0" in data or b'"request_type"' in data.lstrip().partition(b"\n")[0] or not data.strip()


def read_sozu_state(data: bytes) -> tuple[list[SozuChange], list[Problem]]:
    """The changes that make such a state, in order, and what of the file was not understood.

    Raises ChangeRefused, with all of them, for records that are no JSON.
    """
    broken = Report()
    records = _split(data, broken)
    if broken.problems:
        raise ChangeRefused(tuple(broken.problems))
    changes: list[SozuChange] = []
    unknown = Report()
    for where, document in records:
        try:
            changes.append(translate(document, where, unknown))
        except ValueError as error:
            unknown.wrong(where, str(error))
    return changes, unknown.problems


def _split(data: bytes, broken: Report) -> list[tuple[str, Any]]:
    """(place, document) of each record."""
    pieces = [piece for piece in data.split(b"\0" if b"\0" in data else b"\n") if piece.strip()]
    records: list[tuple[str, Any]] = []
    for index, piece in enumerate(pieces):
        where = place("records", index)
        try:
            records.append((where, _parse(piece)))
        except (ValueError, RecursionError) as error:
            last = "; the file breaks off here" if index == len(pieces) - 1 else ""
            broken.wrong(where, f"no JSON: {str(error)[:100]}{last}")
    return records


def _parse(piece: bytes) -> Any:
    """Halves of characters, which only an escape can make, are refused: what State holds is text."""
    document = json.loads(piece)
    if b"\\u" in piece:
        json.dumps(document, ensure_ascii=False).encode()
    return document
