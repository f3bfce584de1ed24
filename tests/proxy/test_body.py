"""Where a body ends: decided by the head, however the bytes come, and an error when they end before."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sozu_trio.config.limits import RELAY_SIZE, HeadLimits
from sozu_trio.errors import BadResponse, ClientGone, ExchangeError
from sozu_trio.proxy.body import Body
from sozu_trio.proxy.stream import Piece, Stream
from sozu_trio.wire.heads import Framing
from tests.proxy.parts import Feed


def body_of(framing: Framing, length: int = -1, *, sock: object = None, rest: bytes = b"") -> Body:
    stream = Stream(sock, 0)  # type: ignore[arg-type]
    body = Body(stream, framing, length, HeadLimits(), BadResponse, ClientGone)
    body.rest = rest
    return body


async def read_all(body: Body) -> bytes:
    body.begin()
    pieces: list[Piece] = list(body.early)
    while not body.ended:
        pieces += await body.read(RELAY_SIZE)
    return b"".join(pieces)


CHUNKED = b"3\r\nabc\r\n2\r\nde\r\n0\r\nA: b\r\n\r\n"
MESSAGES = [
    (Framing.NONE, -1, b"", b"next"),
    (Framing.LENGTH, 0, b"", b"next"),
    (Framing.LENGTH, 5, b"abcde", b""),
    (Framing.CHUNKED, -1, CHUNKED, b"next"),
    (Framing.CLOSE, -1, b"abcde", b""),
]


@pytest.mark.parametrize(("framing", "length", "data", "after"), MESSAGES)
async def test_all_of_it_came_with_the_head(framing: Framing, length: int, data: bytes, after: bytes) -> None:
    body = body_of(framing, length, sock=Feed([]), rest=data + after)
    assert await read_all(body) == (b"abcde" if data else b"")
    assert body.unused == after
    assert list(body.trailers) == ([(b"A", b"b")] if data == CHUNKED else [])
    assert body.started is (framing is Framing.CLOSE), "who has read on cannot send it again"


@given(st.sampled_from(MESSAGES[2:]), st.lists(st.integers(1, 30), max_size=5))
@settings(max_examples=100, deadline=None)
async def test_cut_anywhere_it_is_the_same(message: tuple[Framing, int, bytes, bytes], cuts: list[int]) -> None:
    framing, length, data, _ = message
    ends = sorted({min(cut, len(data)) for cut in cuts} | {len(data)})
    parts = [data[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]
    body = body_of(framing, length, sock=Feed([part for part in parts[1:] if part]), rest=parts[0])
    assert await read_all(body) == b"abcde"
    assert (body.ended, body.unused) == (True, b"")


async def test_what_follows_a_length_is_left_in_the_socket() -> None:
    feed = Feed([b"de", b"next"])
    assert await read_all(body_of(Framing.LENGTH, 5, sock=feed, rest=b"abc")) == b"abcde"
    assert feed.asked == [2]


@pytest.mark.parametrize(
    ("framing", "length", "data"), [(Framing.LENGTH, 5, b"abc"), (Framing.CHUNKED, -1, CHUNKED[:-1])]
)
async def test_end_that_comes_too_soon(framing: Framing, length: int, data: bytes) -> None:
    with pytest.raises(ClientGone, match="the connection was closed"):
        await read_all(body_of(framing, length, sock=Feed([]), rest=data))


async def test_connection_that_breaks() -> None:
    with pytest.raises(ClientGone, match="Connection reset by peer"):
        await read_all(body_of(Framing.CLOSE, sock=Feed([ConnectionResetError(104, "Connection reset by peer")])))


@pytest.mark.parametrize("rest", [b"nonsense\r\n", b""])
async def test_malformed(rest: bytes) -> None:
    with pytest.raises(BadResponse, match="malformed chunk size"):
        await read_all(body_of(Framing.CHUNKED, sock=Feed([b"nonsense\r\n"]), rest=rest))


@pytest.mark.parametrize(("framing", "length", "data"), [(Framing.LENGTH, 5, b"abcde"), (Framing.CHUNKED, -1, CHUNKED)])
@pytest.mark.parametrize("cut", [0, 4, 10])
async def test_no_more_than_it_may_have(framing: Framing, length: int, data: bytes, cut: int) -> None:
    def beyond(most: int) -> ExchangeError:
        return ExchangeError(f"more than {most}")

    async def read(most: int) -> bytes:
        body = body_of(framing, length, sock=Feed([data[cut:]] if data[cut:] else []), rest=data[:cut])
        body.begin()
        body.bound(most, beyond)
        pieces: list[Piece] = list(body.early)
        while not body.ended:
            pieces += await body.read(RELAY_SIZE)
        return b"".join(pieces)

    assert await read(5) == b"abcde"
    with pytest.raises(ExchangeError, match="more than 4"):
        await read(4)
