"""How a journal is written down: a header, the base State, then one line for each transaction.

    <CRC-32 of the document, 8 hex digits> <JSON document>⏎

The base stands in pieces: first what the file declared, then what differs from it, which is little, so that neither
the journal nor the memory of whoever reads it holds most records twice.
"""

import json
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final, NamedTuple

from sozu_trio.control.codec import converter
from sozu_trio.control.history import Entry
from sozu_trio.control.parts import cut, joined
from sozu_trio.routing.delta import Delta, amend, diff
from sozu_trio.routing.state import EMPTY, State, with_declared

FORMAT: Final = "sozu_trio journal"
VERSION: Final = 1
PIECE: Final = 50
"""Records written down at once: about 1 ms of work, most of which holds the interpreter's lock."""
CERTIFICATES_PIECE: Final = 100
"""Of certificates: they are mostly two long strings, which take 1 ms for so many."""
ENTRY: Final = b'{"generation":'
"""How the document of a transaction begins, and what no JSON can hold further on within a string."""

LEAD: Final = len(b"00000000 ")
"""Bytes of a line before its document."""

Line = bytes | bytearray
"""One line, its LF included."""
Rest = Callable[[], object]
"""Called between two pieces, so that the work can be spread."""


def take_turns() -> None:
    """Let the other threads of the process run, among them the loop that serves traffic."""
    time.sleep(0.001)


def base_lines(base: State, generation: int, rest: Rest) -> Iterator[bytes]:
    """How a journal begins."""
    pieces = list(_base_pieces(base))
    header = {
        "format": FORMAT,
        "version": VERSION,
        "generation": generation,
        "time": time.time(),
        "base_lines": len(pieces),
    }
    yield _line(_dump(header))
    for kind, piece in pieces:
        yield _line(f'{{"{kind}":{_delta(piece)}}}')
        rest()


def entry_line(entry: Entry, rest: Rest) -> bytearray:
    """One transaction, however large, is one line: it is there or it is not.

    It grows piece by piece: each copy of 55 MB, which 5,000 certificates may be, would hold the interpreter's lock for
    more than 20 ms.
    """
    document = {
        "generation": entry.generation,
        "time": entry.time,
        "uid": entry.uid,
        "pid": entry.pid,
        "process": entry.process,
        "what": entry.what,
    }
    line, checksum = bytearray(LEAD), 0
    for piece in _pieces(document, entry.delta, rest):
        encoded = piece.encode("ascii")
        checksum = zlib.crc32(encoded, checksum)
        line += encoded
    line[:LEAD] = b"%08x " % checksum
    line += b"\n"
    return line


def _pieces(document: dict[str, Any], delta: Delta, rest: Rest) -> Iterator[str]:
    yield f'{_dump(document)[:-1]},"parts":['
    for number, piece in enumerate(cut(delta, PIECE, CERTIFICATES_PIECE)):
        if number:
            rest()
            yield ","
        yield _delta(piece)
    yield "]}"


def _base_pieces(base: State) -> Iterator[tuple[str, Delta]]:
    declared = base.declared or EMPTY
    for kind, delta in (
        ("declared", diff(EMPTY, declared)),
        ("state", diff(declared, replace(base, declared=None))),
    ):
        if delta:
            yield from ((kind, piece) for piece in cut(delta, PIECE, CERTIFICATES_PIECE))


def _delta(delta: Delta) -> str:
    return _dump(converter.unstructure(delta))


def _dump(document: Any) -> str:
    return json.dumps(document, separators=(",", ":"))


def _line(text: str) -> bytes:
    document = text.encode("ascii")
    return b"%08x %b\n" % (zlib.crc32(document), document)


def document_in(line: Line) -> Any:
    """The document of a line without its LF. Raises ValueError for what is no line of a journal."""
    checksum, _, document = line.partition(b" ")
    if checksum != b"%08x" % zlib.crc32(document):
        raise ValueError("its checksum is wrong")
    try:
        return json.loads(document)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its checksum is right, but it is no JSON: {error}") from None


class Header(NamedTuple):
    """What the first line says: the generation of the base State, and how many lines that takes."""

    generation: int
    base_lines: int


def read_header(document: Any) -> Header:
    """Raises ValueError, also for a journal of another version."""
    match document:
        case {"format": str(found), "version": int(version)} if found == FORMAT and version != VERSION:
            raise ValueError(f"it is a journal of version {version}, and this program reads version {VERSION}")
        case {"format": str(found), "generation": int(generation), "base_lines": int(lines)} if found == FORMAT:
            return Header(generation, lines)
    raise ValueError("it is not the header of a journal")


class Base:
    """The base State, read line by line."""

    def __init__(self) -> None:
        self._declared: list[Delta] = []
        self._state: list[Delta] = []

    def add(self, document: Any) -> None:
        """Raises ValueError."""
        match document:
            case {"declared": part, **nothing} if not nothing:
                self._declared.append(read_delta(part))
            case {"state": part, **nothing} if not nothing:
                self._state.append(read_delta(part))
            case _:
                raise ValueError("it is no piece of a base State")

    def state(self) -> State:
        """Raises ValueError for pieces that do not fit together."""
        try:
            declared = amend(EMPTY, *self._declared)
            return with_declared(amend(declared, *self._state), declared)
        except KeyError as error:
            raise ValueError(f"the base State removes {error}, which it does not have") from None


def read_entry(document: Any) -> Entry:
    """Raises ValueError."""
    if not isinstance(document, dict):
        raise ValueError("it is no transaction")
    members = {**document}
    parts = members.pop("parts", ())
    try:
        return Entry(**members, delta=joined(map(read_delta, parts)))
    except TypeError as error:
        raise ValueError(f"it is no transaction: {error}") from None


def read_delta(document: Any) -> Delta:
    """Raises ValueError, whatever the document is."""
    try:
        return converter.structure(document, Delta)
    except Exception as error:
        raise ValueError(f"it is no difference of States: {repr(error)[:200]}") from error
