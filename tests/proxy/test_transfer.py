"""Bodies from one connection to the other: framed for the receiver, in few writes, never faster than it reads."""

import socket
import tracemalloc
from collections.abc import Callable, Iterable, Sequence

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from sozu_trio.config.limits import MANY_PIECES, MOST_READ, READ_SIZE, RELAY_SIZE, HeadLimits
from sozu_trio.errors import BadResponse
from sozu_trio.proxy.body import Body
from sozu_trio.proxy.patience import Patience, Wheel
from sozu_trio.proxy.pipes import PipeStock
from sozu_trio.proxy.stream import Piece, Stream
from sozu_trio.proxy.transfer import frame, transfer, whole
from sozu_trio.testing import BackendConnection, Client
from sozu_trio.wire.chunked import ChunkedDecoder
from sozu_trio.wire.heads import Framing
from tests.proxy.parts import Feed, Net, request

HEAD = b"head\r\n\r\n"


def body_of(framing: Framing, feed: Feed, *, length: int = -1, rest: bytes = b"") -> Body:
    body = Body(Stream(feed, 0), framing, length, HeadLimits(), BadResponse, BadResponse)  # type: ignore[arg-type]
    body.rest = rest
    body.begin()
    return body


async def moved(body: Body, framing: Framing) -> list[bytes]:
    """What is written, write by write."""
    sink = Feed()
    await transfer(body, Stream(sink, 0), framing, HEAD, PipeStock(), Wheel().patience())  # type: ignore[arg-type]
    return sink.sent


def test_frame() -> None:
    pieces: list[Piece] = [b"ab", memoryview(b"c")]
    assert frame([], Framing.CHUNKED) == frame([], Framing.LENGTH) == []
    assert frame(pieces, Framing.CHUNKED) == [b"3\r\n", *pieces, b"\r\n"]
    assert frame(pieces, Framing.LENGTH) == pieces


def test_whole() -> None:
    body = body_of(Framing.CHUNKED, Feed(), rest=b"1\r\na\r\n0\r\nA: b\r\n\r\n")
    assert whole(body, body.early, Framing.CHUNKED) == [b"1\r\n", b"a", b"\r\n", b"0\r\nA: b\r\n\r\n"]
    assert whole(body, body.early, Framing.CLOSE) == [b"a"]


async def test_what_is_there_leaves_in_one_write() -> None:
    assert await moved(body_of(Framing.LENGTH, Feed(), length=3, rest=b"abc"), Framing.LENGTH) == [HEAD + b"abc"]
    assert await moved(body_of(Framing.NONE, Feed()), Framing.NONE) == [HEAD]
    chunked = body_of(Framing.CHUNKED, Feed(), rest=b"1\r\na\r\n0\r\n\r\n")
    assert await moved(chunked, Framing.CHUNKED) == [HEAD + b"1\r\na\r\n0\r\n\r\n"]


async def test_the_rest_follows_as_it_comes() -> None:
    assert await moved(body_of(Framing.LENGTH, Feed([b"b", b"c"]), length=3, rest=b"a"), Framing.LENGTH) == [
        HEAD + b"a",
        b"b",
        b"c",
    ]
    chunks = Feed([b"1\r", b"\nb\r\n", b"1\r\nc\r\n0\r\n", b"\r\n"])
    written = await moved(body_of(Framing.CHUNKED, chunks, rest=b"1\r\na\r\n"), Framing.CHUNKED)
    assert written == [HEAD + b"1\r\na\r\n", b"1\r\nb\r\n", b"1\r\nc\r\n", b"0\r\n\r\n"]
    assert await moved(body_of(Framing.CLOSE, Feed([b"a", b"b"])), Framing.CHUNKED) == [
        HEAD,
        b"1\r\na\r\n",
        b"1\r\nb\r\n",
        b"0\r\n\r\n",
    ]
    assert await moved(body_of(Framing.CLOSE, Feed([b"a", b"b"])), Framing.CLOSE) == [HEAD, b"a", b"b", b""]


@given(st.lists(st.sampled_from([1, 9_000]) | st.integers(1, 40_000), max_size=12), st.integers(1000, READ_SIZE))
@settings(max_examples=100, deadline=None)
async def test_chunks_of_any_size_however_they_come(lengths: list[int], read: int) -> None:
    """One write of one chunk for each read, put together or not."""
    chunks = [bytes([at]) * length for at, length in enumerate(lengths)]
    data = b"".join(b"%X;a=b\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\nA: b\r\n\r\n"
    parts = [data[start : start + read] for start in range(0, len(data), read)]
    written = await moved(body_of(Framing.CHUNKED, Feed(parts)), Framing.CHUNKED)
    assert written[0] == HEAD
    assert len(written) <= 1 + len(parts)
    decoder = ChunkedDecoder(HeadLimits(), BadResponse)
    assert b"".join(piece for write in written[1:] for piece in decoder.feed(write)) == b"".join(chunks)
    assert (decoder.done, decoder.trailers, decoder.unused) == (True, [(b"A", b"b")], b"")


async def test_more_is_read_for_who_takes_all_at_once_and_little_for_who_does_not() -> None:
    class Slow(Feed):
        """Takes half of what it is sent twice, and all else."""

        def send(self, data: bytes) -> int:
            self.sent.append(data)
            return len(data) // 2 if len(self.sent) in (6, 8) else len(data)

    source = Feed([b"many"] * 12)
    body = body_of(Framing.CLOSE, source)
    await transfer(body, Stream(Slow(), 0), Framing.CLOSE, HEAD, PipeStock(), Wheel().patience())  # type: ignore[arg-type]
    more = [READ_SIZE, 2 * READ_SIZE, 4 * READ_SIZE, MOST_READ]
    assert source.asked == [*more, MOST_READ, more[2], more[1], *more[2:], *[MOST_READ] * 4]


async def test_what_goes_into_tls_is_read_as_before() -> None:
    class Within(Stream):
        splices = False

    source = Feed([b"many"] * 3)
    body = body_of(Framing.CLOSE, source)
    await transfer(body, Within(Feed(), 0), Framing.CLOSE, HEAD, PipeStock(), Wheel().patience())  # type: ignore[arg-type]
    assert source.asked == [READ_SIZE, *[RELAY_SIZE] * 3]


async def test_little_is_read_of_what_comes_in_tiny_chunks() -> None:
    """To take many apart holds up all others."""
    few, many = b"1\r\nx\r\n" * MANY_PIECES, b"1\r\nx\r\n" * (MANY_PIECES + 1)
    source = Feed([few, many, many, few, b"0\r\n\r\n"])
    await moved(body_of(Framing.CHUNKED, source), Framing.CHUNKED)
    assert source.asked == [READ_SIZE, 2 * READ_SIZE, READ_SIZE, READ_SIZE, 2 * READ_SIZE]


async def test_pieces_that_were_put_together_are_not_held_while_they_are_sent() -> None:
    held: list[int] = []

    class Watched(Stream):
        async def send_pieces(self, pieces: Sequence[Piece], patience: Patience | None = None) -> bool:
            held.append(tracemalloc.get_traced_memory()[0])
            return await super().send_pieces(pieces, patience)

    body = body_of(Framing.CHUNKED, Feed([b"1\r\nx\r\n" * 10_000, b"0\r\n\r\n"]))
    tracemalloc.start()
    try:
        await transfer(body, Watched(Feed(), 0), Framing.CHUNKED, HEAD, PipeStock(), Wheel().patience())  # type: ignore[arg-type]
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert max(held) < 50_000 < 1_000_000 < most


@pytest.mark.parametrize("feed", [Feed([b"b"]), Feed([ConnectionResetError(104, "reset")])])
async def test_source_that_ends_too_soon(feed: Feed) -> None:
    with pytest.raises(BadResponse):
        await moved(body_of(Framing.LENGTH, feed, length=3, rest=b"a"), Framing.LENGTH)


async def test_sink_that_breaks() -> None:
    class Broken(Feed):
        def send(self, data: bytes) -> int:
            if data == b"b":
                raise BrokenPipeError
            return len(data)

    body = body_of(Framing.LENGTH, Feed([b"b"]), length=3, rest=b"a")
    with pytest.raises(BrokenPipeError):
        await transfer(body, Stream(Broken(), 0), Framing.LENGTH, HEAD, PipeStock(), Wheel().patience())  # type: ignore[arg-type]
    assert body.left == 1


class SlowOnce(Feed):
    """Lets its reader wait once, for no time."""

    def __init__(self, parts: Iterable[bytes], readable: socket.socket) -> None:
        super().__init__(parts)
        self.fileno = readable.fileno
        self._waited = False

    def recv(self, size: int) -> bytes:
        if not self._waited:
            self._waited = True
            raise BlockingIOError
        return super().recv(size)


@pytest.mark.parametrize(("framing", "length"), [(Framing.CLOSE, -1), (Framing.LENGTH, 60_000)])
async def test_who_never_waits_never_runs_out_of_patience(framing: Framing, length: int, mock_clock: MockClock) -> None:
    """A deadline is that of a wait: where none is needed for a long time, an old one must not end the transfer."""

    async def let_time_pass() -> None:
        while True:
            mock_clock.jump(1)
            await trio.lowlevel.checkpoint()

    ours, theirs = socket.socketpair()
    theirs.send(b"x")
    wheel = Wheel()
    body = body_of(framing, SlowOnce([b"x" * 100] * 600, ours), length=length)
    body.stream.timeout = 10
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wheel.run)
        nursery.start_soon(let_time_pass)
        with wheel.patience() as patience:
            await transfer(body, Stream(Feed(), 10), framing, HEAD, PipeStock(), patience)  # type: ignore[arg-type]
        nursery.cancel_scope.cancel(reason="the test is over")
    ours.close()
    theirs.close()
    assert trio.current_time() > 15
    assert body.ended


def limit_buffers(client: Client) -> None:
    client.stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)


class Generator:
    """A backend that sends without end, and how much the proxy has taken from it."""

    def __init__(self, head: bytes, part: bytes) -> None:
        self.taken = 0
        self._head = head
        self._part = part

    async def __call__(self, connection: BackendConnection) -> None:
        connection.stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        await connection.read_head()
        await connection.send(self._head)
        while True:
            await connection.send(self._part)
            self.taken += len(self._part)


async def settled(measure: Callable[[], int]) -> int:
    """`measure` once it no longer changes."""
    before = -1
    while measure() != before:
        before = measure()
        await trio.sleep(0.3)
    return before


LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
MOST_AHEAD = 24 << 20
"""Bytes that kernel buffers and one pipe may hold between a backend and a client that does not read."""
MOST_MEMORY = 4 << 20
"""Bytes of Python's own."""


@pytest.mark.parametrize(("head", "part"), [(LENGTH, b"x" * 65536), (CHUNKED, b"10000\r\n" + b"x" * 65536 + b"\r\n")])
async def test_slow_reader_costs_bounded_memory(head: bytes, part: bytes, net: Net) -> None:
    generator = Generator(head, part)
    client = await net.client(await net.proxy(await net.backend(generator)))
    limit_buffers(client)
    tracemalloc.start()
    try:
        await client.send(request())
        ahead = await settled(lambda: generator.taken)
        read = 0
        while read < 2 * MOST_AHEAD:
            read += len(await client.stream.receive_some(1 << 20))
        held = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 0 < ahead < MOST_AHEAD
    assert generator.taken - read < MOST_AHEAD, "it goes on as the client reads, and only so"
    assert held < MOST_MEMORY


async def test_slow_backend_costs_bounded_memory(net: Net) -> None:
    async def read_nothing(connection: BackendConnection) -> None:
        connection.stream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        await trio.sleep_forever()

    client = await net.client(await net.proxy(await net.backend(read_nothing)))
    client.stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
    sent = 0

    async def upload() -> None:
        nonlocal sent
        await client.send(request("POST /", "Content-Length: 100000000000"))
        while True:
            await client.send(b"x" * 65536)
            sent += 65536

    tracemalloc.start()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(upload)
        ahead = await settled(lambda: sent)
        nursery.cancel_scope.cancel(reason="the test is over")
    held = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert 0 < ahead < MOST_AHEAD
    assert held < MOST_MEMORY
