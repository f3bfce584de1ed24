"""The chunked transfer coding, both ways (RFC 9112 §7.1); strict when reading, for chunk sizes are where bodies hide.

Payload comes out as slices of what went in; nothing is copied but the few bytes of a size line or trailer that a read
cut in two. Extensions are read over and never passed on. Trailers are judged like the fields of a head, and those that
could change how the message is taken are dropped (RFC 9110 §6.5.1).
"""

import re
from collections.abc import Callable, Sequence

from sozu_trio.config.limits import CHUNK_LINE, HeadLimits
from sozu_trio.wire.field_lines import line_of
from sozu_trio.wire.field_names import belongs_in_trailers
from sozu_trio.wire.heads import Field
from sozu_trio.wire.lines import LineJudge, split_field

CHUNK_END = b"\r\n"
# A size, then extensions: their inside does not matter to us, but it must not hold what others take for a line end.
SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:[ \t]*+;[\t\x20-\x7e\x80-\xff]*+)?\r\n")
NEXT_SIZE_LINE = re.compile(CHUNK_END + SIZE_LINE.pattern)
"""With the end of the chunk before it: one search for each chunk instead of two."""
LARGEST_CHUNK = 1 << 60
"""Beyond what anybody sends, and still far from where 64-bit counters of other recipients wrap."""


class ChunkedDecoder:
    """Takes the bytes of one chunked body apart, however they are cut.

    `refuse` makes the exception to raise for input that is not well-formed; after it the decoder is of no further use.
    """

    def __init__(self, limits: HeadLimits, refuse: Callable[[str], Exception]) -> None:
        self.done = False
        self.trailers: list[Field] = []
        """Valid when `done`; fields that do not belong in trailers are dropped."""
        self.unused = b""
        """What came after the end of the body."""
        self._refuse = refuse
        self._chunk_left = 0  # payload bytes of the current chunk still to come
        self._size = 0  # all of them
        self._again = b""  # what the chunk begins with that comes next, where it is as long
        self._held = b""  # the beginning of a size line, or of the CRLF before it
        self._after_chunk = False  # a CRLF must come before the next size line
        self._trailer_section: bytearray | None = None
        self._judge = LineJudge(
            lambda status, reason: refuse(reason),
            first=None,
            head_limit=limits.head,
            field_limit=limits.fields,
        )

    def feed(self, data: bytes) -> list[memoryview]:
        """The payload in `data`, in order. Raises what `refuse` makes."""
        if self._held:
            data = self._held + data
            self._held = b""
        pieces: list[memoryview] = []
        if self._trailer_section is None:
            at = self._read_chunks(data, memoryview(data), pieces)
            data = data[at:] if at else data
        if self._trailer_section is None:
            self._held = data
        else:
            self._read_trailers(data)
        return pieces

    def _read_chunks(self, data: bytes, view: memoryview, pieces: list[memoryview]) -> int:
        """Take payload out of `data` up to its end or the trailer section; where the part not yet understood begins."""
        at, end = 0, len(data)
        while at < end:
            if self._chunk_left:
                stop = min(at + self._chunk_left, end)
                pieces.append(view[at:stop])
                self._chunk_left -= stop - at
                at = stop if self._chunk_left else self._read_alike(data, view, pieces, stop)
                continue
            found = (NEXT_SIZE_LINE if self._after_chunk else SIZE_LINE).match(data, at)
            if found is None:
                self._judge_partial(data, at)
                return at
            at = self._begin_chunk(found)
            if self._trailer_section is not None:
                return at
        return at

    def _read_alike(self, data: bytes, view: memoryview, pieces: list[memoryview], at: int) -> int:
        """Take the chunks at `at` that have the size line of the one before, as most have, and are all there."""
        again, size, end = self._again, self._size, len(data)
        while data.startswith(again, at) and (stop := at + len(again) + size) <= end:
            pieces.append(view[stop - size : stop])
            at = stop
        return at

    def _begin_chunk(self, found: re.Match[bytes]) -> int:
        after = found.end()
        if after - found.start(1) > CHUNK_LINE + 2:
            raise self._refuse("the line of a chunk size is too long")
        size = int(found.group(1), 16)
        if size > LARGEST_CHUNK:
            raise self._refuse("a chunk size beyond all measure")
        self._after_chunk = size > 0
        if size:
            self._chunk_left = self._size = size
            self._again = CHUNK_END + found.string[found.start(1) : after]
        else:
            self._trailer_section = bytearray()
        return after

    def _judge_partial(self, data: bytes, at: int) -> None:
        """What is no size line must at least be the beginning of one, or of the CRLF before it."""
        if self._after_chunk:
            if not CHUNK_END.startswith(data[at : at + 2]):
                raise self._refuse("no CRLF after the data of a chunk")
            at += 2
        if data.find(b"\n", at) >= 0:
            raise self._refuse("a malformed chunk size")
        if len(data) - at >= CHUNK_LINE + 2:
            raise self._refuse("the line of a chunk size is too long")

    def _read_trailers(self, data: bytes) -> None:
        assert self._trailer_section is not None
        if self.done:
            self.unused += data
            return
        self._trailer_section += data
        size = self._judge.judge(self._trailer_section)
        if size is None:
            return
        self.done = True
        self.unused = bytes(self._trailer_section[size:])
        fields = [split_field(line) for line in self._judge.lines]
        self.trailers = [field for field in fields if belongs_in_trailers(field[0].lower())]


def encode_chunk(pieces: Sequence[bytes | memoryview]) -> list[bytes | memoryview]:
    """One chunk of all `pieces`, piece by piece: nothing is copied. Nothing at all for no bytes, because an empty chunk
    would end the body.
    """
    size = sum(map(len, pieces))
    return [b"%x\r\n" % size, *pieces, CHUNK_END] if size else []


def last_chunk(trailers: list[Field]) -> bytes:
    """The end of a body, with its trailer fields."""
    return b"".join((b"0\r\n", *(line_of(field) + b"\r\n" for field in trailers), b"\r\n"))
