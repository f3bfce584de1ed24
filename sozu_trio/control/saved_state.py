"""A State in a file of ours: a JSON document that people can read, with one record a line.

    {"format": "sozu_trio state", "version": 1, "generation": 12, "listeners": [{"protocol": "http", …}], "clusters": …,
     "http_frontends": …, "tcp_frontends": …, "backends": …, "certificates": …, "settings": {…}}

Members are the keys of the configuration file, with its units; one that is left out has its default. `generation` and
`origin` are for people: whatever is loaded counts as born over the socket.
"""

import json
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from sozu_trio.config.program import Settings
from sozu_trio.config.report import Report, place
from sozu_trio.config.structure import structure_whole
from sozu_trio.config.values import show
from sozu_trio.control.certificates import ReadsPem, with_certificates_read
from sozu_trio.control.records import document_of, origin_of, redacted, shortened
from sozu_trio.control.saved_tables import Kind, SavedSettingsTable, kinds_of, read_global_keys
from sozu_trio.control.sozu_requests import SozuChange
from sozu_trio.control.sozu_state import is_sozu_state, read_sozu_state
from sozu_trio.control.strict_json import NotJson, read_json
from sozu_trio.errors import ChangeRefused, Problem
from sozu_trio.routing.changes import apply_all, read_change
from sozu_trio.routing.crosswise import crosswise
from sozu_trio.routing.spoken import spoken_frontend
from sozu_trio.routing.state import EMPTY, State, declare

T = TypeVar("T")

FORMAT: Final = "sozu_trio state"
VERSION: Final = 1


def dump_document(state: State, generation: int, *, secrets: bool) -> dict[str, Any]:
    """The State as a JSON object; unless `secrets` these are left out, and authorities are only counted.
    Some 10 µs a record.
    """
    records = {
        "listeners": state.listeners.values(),
        "clusters": state.clusters.values(),
        "http_frontends": state.http_frontends.values(),
        "tcp_frontends": state.tcp_frontends.values(),
        "backends": [backend for of_cluster in state.backends.values() for backend in of_cluster.values()],
        "certificates": state.certificates.values(),
    }
    lists = {
        name: [{**document_of(each), "origin": origin_of(each, state)} for each in of_kind]
        for name, of_kind in records.items()
    }
    if not secrets:
        lists = {name: [redacted(shortened(each)) for each in documents] for name, documents in lists.items()}
    head = {"format": FORMAT, "version": VERSION, "generation": generation}
    return {**head, **lists, "settings": document_of(state.settings)}


def dump_text(document: Mapping[str, Any]) -> str:
    """The document as a file holds it."""
    members = (f" {json.dumps(name)}: {_dump(value)}" for name, value in document.items())
    return "{\n" + ",\n".join(members) + "\n}\n"


def _dump(value: object) -> str:
    if not isinstance(value, list) or not value:
        return json.dumps(value)
    return "[\n" + ",\n".join(f"  {json.dumps(each)}" for each in value) + "\n ]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """What a file says."""

    state: State
    """Its records; `settings` and `declared` mean nothing here."""
    settings: Settings | None = None
    """None where the file does not speak of them."""
    unknown: tuple[Problem, ...] = ()
    """What is left out as it was not understood or is not built yet. Only Sōzu's files may have such."""

    @property
    def objects(self) -> int:
        """How many records."""
        state = self.state
        rules = len(state.http_frontends) + len(state.tcp_frontends)
        others = len(state.listeners) + len(state.clusters) + len(state.certificates)
        return others + rules + sum(map(len, state.backends.values()))


def read_saved_state(content: bytes | str, reads: ReadsPem) -> Saved:
    """A saved state, ours or Sōzu's. Raises ChangeRefused with everything that is wrong with it."""
    data = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    if is_sozu_state(data):
        changes, unknown = read_sozu_state(data)
        state, refused = _carry_out(changes, reads)
        return Saved(state=state, unknown=(*unknown, *refused))
    report = Report()
    document = _document(data)
    kinds = kinds_of(reads)
    for name in document.keys() - {"format", "version", "generation", "settings", *kinds}:
        report.wrong(place("", name), f"unknown key; known are {', '.join(kinds)} and settings")
    records: dict[str, Any] = {
        name: _read_list(document.get(name, []), name, kind, report) for name, kind in kinds.items()
    }
    settings = _read_settings(document.get("settings"), report)
    if report.problems:
        raise ChangeRefused(tuple(report.problems))
    return Saved(state=declare(**records), settings=settings)


def _document(data: bytes) -> dict[str, Any]:
    """A document of ours. Raises ChangeRefused."""
    try:
        document = read_json(data)
    except NotJson as error:
        raise ChangeRefused((Problem("", f"no saved state: {error}"),)) from error
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        what = f'no saved state: want one that `state save` wrote, with "format": "{FORMAT}"'
        raise ChangeRefused((Problem("", what),))
    if document.get("version") != VERSION:
        raise ChangeRefused((Problem("version", f"found {show(document.get('version'))}; want {VERSION}"),))
    return document


def _read_settings(document: Any, report: Report) -> Settings | None:
    if document is None:
        return None
    table = _structured(document, SavedSettingsTable, "settings", report)
    return None if table is None else read_global_keys(table)


def _read_list(documents: Any, name: str, kind: Kind, report: Report) -> list[Any]:
    """The records of one kind. The later of two with one key is a problem."""
    if not isinstance(documents, list):
        report.wrong(name, f"found {show(documents)}; want an array")
        return []
    firsts: dict[Hashable, str] = {}
    records = []
    for index, document in enumerate(documents):
        where = place(name, index)
        table = _structured(document, kind.table, where, report)
        if table is None:
            continue
        record = kind.read(table, where, report)
        if record is None:
            continue
        records.append(record)
        first = firsts.setdefault(kind.key(record), where)
        if first != where:
            report.wrong(where, f"the same {kind.same} as {first}; want only one of them")
    return records


def _structured(document: Any, table: type[T], where: str, report: Report) -> T | None:
    """Null is what a dump writes for what is not there."""
    if not isinstance(document, dict):
        report.wrong(where, f"found {show(document)}; want a table")
        return None
    given = {name: value for name, value in document.items() if value is not None}
    return structure_whole(given, report, table, where)


def _carry_out(changes: Sequence[SozuChange], reads: ReadsPem) -> tuple[State, list[Problem]]:
    """The State that as many of `changes` as possible make, and why the others cannot be made."""
    report = Report()
    read = (read_change(each.verb, each.body, report, each.where) for each in changes)
    understood = [with_certificates_read(change, reads, report) for change in read if change is not None]
    refused = report.problems
    possible = [change for change in understood if change is not None]
    while True:
        try:
            return apply_all(EMPTY, possible), refused
        except ChangeRefused as error:
            refused += error.problems
            wrong = {problem.where.partition("]")[0] for problem in error.problems}
            fewer = [change for change in possible if change.where.removesuffix("]") not in wrong]
            if len(fewer) == len(possible):
                raise
            possible = fewer


def load_into(state: State, saved: Saved) -> State:
    """`state` with what was saved added to it, or in place of what has the same key; all of it counts as born over the
    socket, unless the file declares it. Raises ChangeRefused where what comes together does not fit.
    """
    new = saved.state
    loaded = replace(
        state,
        listeners={**state.listeners, **new.listeners},
        clusters={**state.clusters, **new.clusters},
        http_frontends={**state.http_frontends, **new.http_frontends},
        tcp_frontends={**state.tcp_frontends, **new.tcp_frontends},
        backends={
            **state.backends,
            **{each: {**state.backends.get(each, {}), **backends} for each, backends in new.backends.items()},
        },
        certificates={**state.certificates, **new.certificates},
        settings=saved.settings or state.settings,
    )
    if problems := tuple(Problem(spoken_frontend(each.frontend), each.what) for each in crosswise(loaded)):
        raise ChangeRefused(problems)
    return loaded
