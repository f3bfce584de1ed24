"""Chunked bodies: taken apart however they are cut, and refused wherever two readers could differ."""

import itertools
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sozu_trio.config.limits import CHUNK_LINE, HeadLimits
from sozu_trio.errors import BadResponse
from sozu_trio.wire.chunked import ChunkedDecoder, encode_chunk, last_chunk
from sozu_trio.wire.heads import Field

LIMITS = HeadLimits()
TIGHT = HeadLimits(head=40, fields=2)


@dataclass
class Body:
    """What came of a body: its payload, and what followed once it was done."""

    payload: bytes
    done: bool
    trailers: list[Field]
    unused: bytes


def decode(pieces: list[bytes], limits: HeadLimits = LIMITS) -> Body | str:
    decoder = ChunkedDecoder(limits, BadResponse)
    payload = b""
    try:
        for piece in pieces:
            payload += b"".join(decoder.feed(piece))
    except BadResponse as bad:
        return str(bad)
    return Body(payload, decoder.done, decoder.trailers, decoder.unused)


def bytewise(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


GOOD = {
    b"0\r\n\r\n": Body(b"", True, [], b""),
    b"3\r\nabc\r\n0\r\n\r\nGET /": Body(b"abc", True, [], b"GET /"),
    b"3\r\nabc\r\n00002\r\nde\r\n0000\r\n\r\n": Body(b"abcde", True, [], b""),
    b"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n": Body(b"0123456789" * 2, True, [], b""),
    b"1;name=value\r\na\r\n1 ; q='\xe4;'\t\r\nb\r\n0;last\r\n\r\n": Body(b"ab", True, [], b""),
    b"2;x\r\nab\r\n2;x\r\ncd\r\n2;x\r\nef\r\n2\r\ngh\r\n2\r\ni": Body(b"abcdefghi", False, [], b""),
    b"2\r\n\r\n\r\n0\r\n\r\n": Body(b"\r\n", True, [], b""),
    b"0\r\nServer-Timing: a\r\nX:  b \r\n\r\nrest": Body(b"", True, [(b"Server-Timing", b"a"), (b"X", b"b")], b"rest"),
    b"0\r\nHost: a\r\nContent-Length: 5\r\nX-Forwarded-For: a\r\nX: 1\r\n\r\n": Body(b"", True, [(b"X", b"1")], b""),
    b"3\r\nab": Body(b"ab", False, [], b""),
    b"1" + b";" + b"x" * (CHUNK_LINE - 2) + b"\r\na": Body(b"a", False, [], b""),
}  # fmt: skip

MALFORMED, NO_CRLF, TOO_LONG, TOO_LARGE = (
    "a malformed chunk size",
    "no CRLF after the data of a chunk",
    "the line of a chunk size is too long",
    "a chunk size beyond all measure",
)
BAD = {
    b"\r\n": MALFORMED,
    b"g\r\n": MALFORMED,
    b"-1\r\n": MALFORMED,
    b"+1\r\n": MALFORMED,
    b"0x1\r\n": MALFORMED,
    b"1_0\r\n": MALFORMED,
    b" 1\r\n": MALFORMED,
    b"1 \r\n": MALFORMED,
    b"1\n": MALFORMED,
    b"1\r\r\n": MALFORMED,
    b"1;a\n\r\n": MALFORMED,
    b"1;a\rb\r\n": MALFORMED,
    b"1;a\x00\r\n": MALFORMED,
    b"1 a\r\n": MALFORMED,
    b"\xd9\xa1\r\n": MALFORMED,
    b"0" * 17 + b"\r\n": MALFORMED,
    b"1000000000000001\r\n": TOO_LARGE,
    b"ffffffffffffffff\r\n": TOO_LARGE,
    b"3\r\nabcd\r\n": NO_CRLF,
    b"3\r\nabc\n": NO_CRLF,
    b"3\r\nabc\r\n3\r\nabc\r\n3\r\nabcd": NO_CRLF,
    b"3\r\nabc\r\n3\nabc\r\n": MALFORMED,
    b"3\r\nabc\r\r\n": NO_CRLF,
    b"3\r\nabc0\r\n\r\n": NO_CRLF,
    b"1;" + b"x" * (CHUNK_LINE - 1) + b"\r\n": TOO_LONG,
    b"1;" + b"x" * CHUNK_LINE: TOO_LONG,
    b"0\r\nX : 1\r\n": "a field name that is no token",
    b"0\r\n folded\r\n": "a field line begins with white space",
    b"0\r\nX: 1\n": "a line ends in LF without CR",
    b"0\r\n\n": "a line ends in LF without CR",
    b"0\r\nX: \x00\r\n": "a control character in a line",
    b"0\r\n" + b"X: 1\r\n" * 101: "too many fields",
}


@pytest.mark.parametrize("data", GOOD)
def test_bodies_however_they_are_cut(data: bytes) -> None:
    assert decode([data]) == GOOD[data]
    assert decode(bytewise(data)) == GOOD[data]
    for at in range(1, len(data)):
        assert decode([data[:at], data[at:]]) == GOOD[data]


@pytest.mark.parametrize("data", BAD)
def test_bad_bodies_however_they_are_cut(data: bytes) -> None:
    assert decode([data]) == BAD[data]
    assert decode(bytewise(data)) == BAD[data]
    for at in range(1, len(data)):
        assert decode([data[:at], data[at:]]) == BAD[data]


def test_a_trailer_section_has_the_limits_of_a_head() -> None:
    assert decode([b"0\r\n" + b"X" * 40], TIGHT) == "the head is too large"
    assert decode([b"0\r\nA:\r\nB:\r\nC:\r\n\r\n"], TIGHT) == "too many fields"
    assert decode([b"0\r\nA:\r\nB:\r\n\r\n"], TIGHT) == Body(b"", True, [(b"A", b""), (b"B", b"")], b"")


def test_payload_is_not_copied() -> None:
    data = b"5\r\nhello\r\n5\r\nworld\r\n"
    pieces = ChunkedDecoder(LIMITS, BadResponse).feed(data)
    assert pieces == [b"hello", b"world"]
    assert all(piece.obj is data for piece in pieces)


def test_what_comes_after_the_end_is_kept() -> None:
    decoder = ChunkedDecoder(LIMITS, BadResponse)
    assert decoder.feed(b"0\r\n\r\nGET ") == []
    assert decoder.feed(b"/ HTTP/1.1") == []
    assert decoder.unused == b"GET / HTTP/1.1"


# The way back


def test_encoding() -> None:
    hello, world = memoryview(b"hello "), memoryview(b"world!!!!!")
    assert encode_chunk([hello, world]) == [b"10\r\n", hello, world, b"\r\n"]
    assert encode_chunk([]) == encode_chunk([memoryview(b"")]) == []
    assert encode_chunk([b"x" * 255]) == [b"ff\r\n", b"x" * 255, b"\r\n"]
    assert last_chunk([]) == b"0\r\n\r\n"
    assert last_chunk([(b"X", b"1"), (b"Y", b"")]) == b"0\r\nX: 1\r\nY: \r\n\r\n"


payloads = st.lists(st.lists(st.binary(max_size=40), max_size=3), max_size=5)
trailing = st.lists(st.tuples(st.sampled_from([b"X", b"ETag"]), st.sampled_from([b"", b"a", b"a b\xe4"])), max_size=3)


@given(payloads, trailing, st.binary(max_size=5), st.data())
@settings(max_examples=300, deadline=None)
def test_encoded_bodies_come_back_whatever_the_cuts(
    payload: list[list[bytes]],
    trailers: list[Field],
    rest: bytes,
    data: st.DataObject,
) -> None:
    chunks = itertools.chain.from_iterable(map(encode_chunk, payload))
    wire = b"".join([*chunks, last_chunk(trailers), rest])
    cuts = sorted(data.draw(st.sets(st.integers(0, len(wire)), max_size=6)) | {0, len(wire)})
    pieces = [wire[start:end] for start, end in itertools.pairwise(cuts)]
    assert decode(pieces) == Body(b"".join(map(b"".join, payload)), True, trailers, rest)


@given(
    st.lists(st.sampled_from([b"0", b"1", b"a", b"\r\n", b"\r", b"\n", b";", b" ", b"X: 1\r\n", b"0\r\n"]), max_size=12)
)
@settings(max_examples=500, deadline=None)
def test_any_input_means_the_same_whatever_the_cuts(parts: list[bytes]) -> None:
    data = b"".join(parts)
    assert decode([data]) == decode(bytewise(data)) == decode(parts)
