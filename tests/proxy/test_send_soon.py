"""Small messages that leave together: each arrives, in its place, whatever becomes of the connection meanwhile."""

import contextlib
import select
import socket
from collections.abc import Callable

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sozu_trio.config.limits import READ_TOGETHER, VOLLEY_FROM
from sozu_trio.nursery.volley import Volley
from sozu_trio.proxy.stream import Stream
from tests.nursery.parts import tcp_pair
from tests.proxy.parts import MEGABYTE, Net, Pair, request
from tests.proxy.tls_parts import connected

pytestmark = pytest.mark.virtual_time


def volley_of(stream: Stream) -> Volley:
    """That of a stream which has been waited for."""
    volley = stream._readable.volley
    assert volley is not None
    return volley


async def among_many(peer: socket.socket, stream: Stream) -> None:
    """Have `stream` wait once, and be one of many sessions of the pass."""
    peer.send(b"x")
    assert await stream.receive_later(100) == b"x"
    volley_of(stream).begin(VOLLEY_FROM)


def has_come(peer: socket.socket) -> bytes:
    """What the peer can read now; b"" for nothing, and for the end."""
    try:
        return peer.recv(1 << 20)
    except BlockingIOError:
        return b""


def fill(stream: Stream) -> int:
    """Leave the kernel no room; returns how many bytes that took."""
    taken = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            taken += stream.sock.send(MEGABYTE)
    return taken


async def test_in_a_pass_of_few_it_leaves_at_once(pair: Pair) -> None:
    peer, stream = pair
    stream.send_soon(b"never waited for")
    assert has_come(peer) == b"never waited for"
    await among_many(peer, stream)
    volley_of(stream).begin(VOLLEY_FROM - 1)
    stream.send_soon(b"alone")
    assert has_come(peer) == b"alone"
    assert stream.bytes_out == len(b"never waited foralone")


async def test_in_a_pass_of_many_it_leaves_at_its_end(pair: Pair) -> None:
    peer, stream = pair
    await among_many(peer, stream)
    stream.send_soon(b"later")
    assert (has_come(peer), stream.bytes_out) == (b"", 5)
    await trio.lowlevel.checkpoint()
    assert (has_come(peer), stream.bytes_out) == (b"later", 5)


async def test_messages_of_many_leave_together() -> None:
    pairs = [tcp_pair() for _ in range(20)]
    streams = [Stream(ours, 5) for _, ours in pairs]

    async def answer(stream: Stream) -> None:
        stream.send_soon(b"to " + await stream.receive_later(100))
        assert not any(select.select([peer for peer, _ in pairs], [], [], 0)[0]), "the first one has left already"

    async with trio.open_nursery() as nursery:
        for stream in streams:
            nursery.start_soon(answer, stream)
        await wait_all_tasks_blocked()
        for number, (peer, _) in enumerate(pairs):
            peer.send(b"%d" % number)
    await trio.lowlevel.checkpoint()
    assert [peer.recv(100) for peer, _ in pairs] == [b"to %d" % number for number in range(20)]
    for peer, ours in pairs:
        peer.close()
        ours.close()


ENDS: dict[str, Callable[[Stream], None]] = {"shutdown": Stream.shutdown, "close": Stream.close, "leave": Stream.leave}


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
async def test_nothing_is_left_behind_at_the_end(end: Callable[[Stream], None], pair: Pair) -> None:
    peer, stream = pair
    await among_many(peer, stream)
    stream.send_soon(b"goodbye")
    end(stream)
    assert has_come(peer) == b"goodbye"


@pytest.mark.parametrize("end", [Stream.abort, Stream.sever])
async def test_who_is_cut_says_no_more(end: Callable[[Stream], None], pair: Pair) -> None:
    peer, stream = pair
    await among_many(peer, stream)
    stream.send_soon(b"never")
    end(stream)
    await trio.lowlevel.checkpoint()
    with pytest.raises(ConnectionResetError):
        peer.recv(100)
    assert stream.bytes_out == 0


async def read_up_to(peer: socket.socket, end: bytes) -> bytes:
    """All there is to read, up to `end`."""
    received = bytearray()
    while not received.endswith(end):
        await trio.lowlevel.wait_readable(peer)
        received.extend(peer.recv(1 << 20))
    return bytes(received)


async def test_in_a_pass_of_few_who_sends_is_told_how_much_has_left(pair: Pair) -> None:
    peer, stream = pair
    await among_many(peer, stream)
    fill(stream)
    volley_of(stream).begin(VOLLEY_FROM - 1)
    assert (stream.send_soon(b"not now"), stream.bytes_out, stream.owes) == (0, 0, False)


async def test_what_the_kernel_has_no_room_for_is_sent_by_who_waits(pair: Pair) -> None:
    peer, stream = pair
    await among_many(peer, stream)
    taken = fill(stream)
    volley_of(stream).begin(VOLLEY_FROM)
    assert stream.send_soon(b"at last") == len(b"at last")

    async def read() -> None:
        assert len(await read_up_to(peer, b"at last")) == taken + len(b"at last")
        peer.send(b"thanks")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        assert await stream.receive_later(100) == b"thanks"
    assert (stream.bytes_out, stream.owes) == (len(b"at last"), False)


async def test_to_settle_can_be_cancelled_and_gone_on_with(pair: Pair) -> None:
    peer, stream = pair
    await among_many(peer, stream)
    taken = fill(stream)
    volley_of(stream).begin(VOLLEY_FROM)
    stream.send_soon(b"at last")
    await trio.lowlevel.checkpoint()
    for _ in range(3):
        with trio.move_on_after(1) as scope:
            await stream.settle()
        assert (scope.cancelled_caught, stream.owes) == (True, True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.settle)
        assert len(await read_up_to(peer, b"at last")) == taken + len(b"at last")
    assert (stream.bytes_out, stream.owes) == (len(b"at last"), False)


async def test_a_peer_that_has_gone_is_found_out_by_reading(pair: Pair) -> None:
    peer, stream = pair
    await among_many(peer, stream)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    peer.close()
    stream.send_soon(b"to nobody")
    await trio.lowlevel.checkpoint()
    assert stream.bytes_out == 0, "none of it was sent, so a request may go elsewhere"
    assert await stream.receive_later(100) == b"", "the kernel tells of a reset once, and that was the volley"


async def test_within_tls_nothing_overtakes() -> None:
    async with connected() as (client, server):
        await client.send(b"x" * 20_000)
        assert len(await server.receive_later(10_000)) == 10_000
        volley_of(server).begin(VOLLEY_FROM)
        server.send_soon(b"first ")
        while len(await server.receive_later(10_000)) == 10_000:
            pass
        await server.send(b"second")
        assert await client.receive(100) == b"first "
        assert await client.receive(100) == b"second"


async def test_within_tls_what_the_kernel_has_no_room_for_is_sent_by_who_waits() -> None:
    async with connected() as (client, server):
        await client.send(b"x")
        assert await server.receive_later(100) == b"x"
        record, records = bytes(16_384), 0
        while not server.owes:
            volley_of(server).begin(VOLLEY_FROM)
            server.send_soon(record)
            volley_of(server).fire()
            records += 1
        with pytest.raises(ConnectionResetError):
            server.send_soon(b"OpenSSL would send the old bytes, and count these")
        with trio.move_on_after(1) as scope:
            await server.settle()
        assert (scope.cancelled_caught, server.owes) == (True, True)
        received = 0

        async def read() -> None:
            nonlocal received
            while received < records * len(record):
                received += len(await client.receive(1 << 16))
            await client.send(b"thanks")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            assert await server.receive_later(100) == b"thanks"
        assert received == server.bytes_out == records * len(record)


async def test_many_clients_at_once_get_their_own_answers(net: Net) -> None:
    """Two hundred requests, each connection's in the same few passes."""
    backend = await net.backend()
    proxy = await net.proxy(backend)
    clients = [await net.client(proxy) for _ in range(20)]
    for _ in range(10):
        for number, client in enumerate(clients):
            await client.send(request(f"GET /{number}"))
        for client in clients:
            response = await client.response()
            assert (response.status, response.body) == (200, b"ok")


@pytest.mark.parametrize("sessions", [10, 40])
async def test_no_more_is_read_for_others_than_fits_the_cache(sessions: int) -> None:
    pairs = [tcp_pair() for _ in range(sessions)]
    streams = [Stream(ours, 5) for _, ours in pairs]
    size = READ_TOGETHER // 16
    came: list[bytes] = []

    async def read(stream: Stream) -> None:
        came.append(await stream.receive_later(size))
        read_for = sum(each._readable.data is not None for each in streams)
        # Trio lets any of them be the first, also one that has to read for itself.
        assert len(came) > 1 or read_for in {min(sessions, 16) - 1, min(sessions - 1, 16)}

    async with trio.open_nursery() as nursery:
        for stream in streams:
            nursery.start_soon(read, stream)
        await wait_all_tasks_blocked()
        for peer, _ in pairs:
            peer.send(bytes(size))
    assert [len(each) for each in came] == [size] * sessions
    for peer, ours in pairs:
        peer.close()
        ours.close()
