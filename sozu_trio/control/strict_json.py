"""JSON as RFC 8259 means it and no wider, from people who may mean harm.

Python's reader takes NaN, lets the last of two equal names win, makes a number of a thousand digits and half a
character out of `\\ud800`. Programs differ in all of these, so each is refused here: I-JSON (RFC 7493). Depth is
bounded, because whoever walks through a document later does so by recursion.
"""

import json
import math
from typing import Any, Never

from sozu_trio.config.values import show

DEEPEST = 32
"""Arrays and objects within one another."""
_INTEGER_DIGITS = 19
"""Of the largest integer of 64 bits."""
_INTEGERS = range(-(2**63), 2**63)


class NotJson(ValueError):
    """Bytes that are no JSON document; the message says why and where."""


def read_json(text: bytes) -> Any:
    """The document that `text` holds. Raises NotJson, whatever the bytes are."""
    try:
        document = json.loads(
            text.decode(),
            object_pairs_hook=_members,
            parse_int=_integer,
            parse_float=_float,
            parse_constant=_no_constant,
        )
    except UnicodeDecodeError as error:
        raise NotJson(f"not UTF-8: byte 0x{text[error.start]:02x} at byte {error.start + 1}") from error
    except json.JSONDecodeError as error:
        raise NotJson(f"not JSON: {error.msg.removesuffix(' at')} at character {error.pos + 1}") from error
    except RecursionError:
        raise NotJson(_too_deep()) from None
    _check_depth(document)
    # Only `\ud8…` of the text itself can have made half a character: no UTF-8 does.
    if b"\\u" in text:
        _check_characters(document)
    return document


def write_json(document: object) -> bytes:
    """`document` in ASCII, on one line without a line feed: no terminal obeys it and no reader has to guess.

    Halves of characters, as file names may hold, become `?`. Raises TypeError or ValueError for what JSON has no form
    for.
    """
    text = json.dumps(document, separators=(",", ":"), allow_nan=False)
    if "\\ud" in text:
        whole = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode(errors="replace")
        text = json.dumps(json.loads(whole), separators=(",", ":"))
    return text.encode("ascii")


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise NotJson(f"a member occurs twice: {show(twice)}")
    return members


def _integer(digits: str) -> int:
    if len(digits) <= _INTEGER_DIGITS + 1 and (number := int(digits)) in _INTEGERS:
        return number
    raise NotJson(f"an integer of {len(digits.lstrip('-'))} digits; want at most 64 bits")


def _float(digits: str) -> float:
    if math.isinf(number := float(digits)):
        raise NotJson(f"a number too large for 64 bits: {show(digits)}")
    return number


def _no_constant(name: str) -> Never:
    raise NotJson(f"not JSON: {name} is no number of JSON's")


def _check_depth(document: object) -> None:
    level = [document]
    for _ in range(DEEPEST):
        level = [
            inner
            for outer in level
            if isinstance(outer, (dict, list))
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, (dict, list))
        ]
        if not level:
            return
    raise NotJson(_too_deep())


def _too_deep() -> str:
    return f"nested too deeply; want at most {DEEPEST} arrays and objects within one another"


def _check_characters(document: object) -> None:
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = ord(error.object[error.start])
        raise NotJson(f"not Unicode: \\u{half:04x} is half a character (a lone surrogate)") from None
