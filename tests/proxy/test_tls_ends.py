"""How a TLS stream ends: both ends are told, and what was cut never passes for whole."""

import contextlib
import errno
import os
import socket
import ssl

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sozu_trio.proxy import close_notify
from sozu_trio.proxy.patience import Wheel
from sozu_trio.proxy.tls_stream import TlsStream
from sozu_trio.tls.contexts import ServerContexts
from sozu_trio.tls.endings import Truncated
from tests.proxy.parts import MEGABYTE
from tests.proxy.tls_parts import connected, receive_all, server_contexts

pytestmark = pytest.mark.virtual_time


@pytest.fixture(params=["TLS_V12", "TLS_V13"])
def contexts(request: pytest.FixtureRequest) -> ServerContexts:
    return server_contexts(versions=(request.param,))


async def test_what_is_met_when_asked_for_quiet_is_not_lost(contexts: ServerContexts) -> None:
    async with connected(contexts) as (client, server):
        await client.send(b"hello")
        assert not server.is_quiet()
        await client.send(b" world")
        assert await server.receive(3) == b"hel"
        assert await server.receive_later(100) == b"lo"
        assert await server.receive(100) == b" world"
        client.shutdown()
        assert not server.is_quiet()
        assert await server.receive(100) == b""
        assert server.bytes_in == 11


async def test_a_truncation_met_when_asked_for_quiet_is_raised_to_who_reads(contexts: ServerContexts) -> None:
    async with connected(contexts) as (client, server):
        socket.socket.shutdown(client._tls, socket.SHUT_WR)
        assert not server.is_quiet()
        for _ in range(2):
            with pytest.raises(Truncated):
                await server.receive(100)


async def test_an_end_without_close_notify_is_told_apart(contexts: ServerContexts) -> None:
    async with connected(contexts) as (client, server):
        await client.send(b"half of")
        socket.socket.shutdown(client._tls, socket.SHUT_WR)
        assert await server.receive(100) == b"half of"
        for _ in range(2):
            with pytest.raises(Truncated, match="ended without close_notify") as caught:
                await server.receive(100)
            assert caught.value.errno == errno.ECONNRESET


async def test_a_reset_is_an_error(contexts: ServerContexts) -> None:
    async with connected(contexts) as (client, server):
        client.abort()
        with pytest.raises(ConnectionResetError):
            await server.receive(100)


async def test_garbage_on_the_wire_is_an_error_with_a_number_of_errno(contexts: ServerContexts) -> None:
    async with connected(contexts) as (client, server):
        socket.socket.send(client._tls, b"\x17\x03\x03\x00\x20" + bytes(32))
        for _ in range(2):
            with pytest.raises(ConnectionResetError, match="TLS: ") as caught:
                await server.receive(100)
            assert caught.value.errno == errno.ECONNRESET


async def test_a_half_close_while_the_other_side_speaks(contexts: ServerContexts) -> None:
    """What `unwrap` alone would lose: see close_notify.py."""
    async with connected(contexts) as (client, server):
        await client.send(b"on its way")
        server.shutdown()
        assert await client.receive(100) == b""
        await client.send(MEGABYTE[:100_000])
        client.shutdown()
        got = bytearray()
        await receive_all(server, got)
        assert got == b"on its way" + MEGABYTE[:100_000]
        assert await server.receive(100) == b""


async def test_a_half_close_with_a_record_read_in_part(contexts: ServerContexts) -> None:
    async with connected(contexts) as (client, server):
        await client.send(b"hello")
        assert await server.receive(1) == b"h"
        server.shutdown()
        assert await server.receive(10) == b"ello"
        client.shutdown()
        assert await server.receive(10) == await client.receive(10) == b""


async def test_a_half_close_while_another_task_waits_to_read(contexts: ServerContexts) -> None:
    async with connected(contexts) as (client, server):
        got = bytearray()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive_all, server, got)
            await wait_all_tasks_blocked()
            server.shutdown()
            assert await client.receive(1) == b""
            await client.send(b"still heard")
            client.shutdown()
        assert got == b"still heard"


async def test_close_notify_when_the_other_side_reads_nothing(contexts: ServerContexts) -> None:
    """It waits until there is room; and who could make some is listened to meanwhile."""
    async with connected(contexts) as (client, server):
        size = fill(server)
        server.shutdown()
        got, sent = bytearray(), bytearray()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive_all, server, got)
            await wait_all_tasks_blocked()
            await client.send(b"heard although nothing is read")
            await wait_all_tasks_blocked()
            assert got == b"heard although nothing is read"
            await receive_all(client, sent)
            client.shutdown()
        assert len(sent) == size


async def test_nobody_is_waited_for_once_close_notify_has_gone(contexts: ServerContexts) -> None:
    """Otherwise the deadline of a wait that is over would end what follows."""
    async with connected(contexts) as (client, server):
        fill(server)
        server.shutdown()
        patience = Wheel().patience()
        await client.send(b"hello")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive_all, client, bytearray())
            await server.wait_readable(patience)
            while server._unsent:
                await server.wait_readable(patience)
            assert patience.waiting_for is None
            nursery.cancel_scope.cancel()


async def test_what_had_no_room_is_tried_once_more_at_the_end(contexts: ServerContexts) -> None:
    async with connected(contexts) as (client, server):
        size = fill(server)
        server.shutdown()
        got = bytearray()
        while len(got) < size // 2:
            got += await client.receive(65536)
        server.close()
        await receive_all(client, got)
        assert len(got) == size


async def test_a_peer_lost_while_it_is_told_of_the_end_is_an_error_for_who_reads(
    contexts: ServerContexts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no group of errors."""
    async with connected(contexts) as (client, server):
        fill(server)
        server.shutdown()

        def lost(*_: object) -> int:
            raise TimeoutError(errno.ETIMEDOUT, "timed out")

        async def receive() -> None:
            with pytest.raises(TimeoutError):
                await server.receive(100)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await wait_all_tasks_blocked()
            with monkeypatch.context() as patch:
                patch.setattr(socket.socket, "send", lost)
                with contextlib.suppress(BlockingIOError, ssl.SSLWantReadError):
                    while client._tls.recv(65536):
                        pass
                await wait_all_tasks_blocked()
        await server.finish()


def fill(server: TlsStream) -> int:
    """Leave the kernel no room for a single byte, and OpenSSL nothing to repeat: whole records, by hand."""
    size = 0
    while not server._unsent:
        with close_notify.diverted(server._tls) as written:
            size += server._tls.send(bytes(16000))
            server._unsent = os.read(written, 20000)
        with contextlib.suppress(BlockingIOError):
            while server._unsent:
                server._unsent = server._unsent[socket.socket.send(server._tls, server._unsent) :]
    return size


async def test_nothing_is_sent_after_the_end(contexts: ServerContexts) -> None:
    async with connected(contexts) as (_, server):
        server.shutdown()
        with pytest.raises(ConnectionResetError, match="nothing more can be sent"):
            await server.send(b"more")
        server.shutdown()


async def test_closing_says_goodbye(contexts: ServerContexts) -> None:
    async with connected(contexts) as (client, server):
        await server.send(b"last words")
        server.close()
        assert server.is_closed
        assert await client.receive(100) == b"last words"
        assert await client.receive(100) == b""


async def test_aborting_does_not(contexts: ServerContexts) -> None:
    async with connected(contexts) as (client, server):
        server.abort()
        with pytest.raises(ConnectionResetError):
            await client.receive(100)


async def test_goodbyes_both_ways_and_then_nothing_is_read_as_plain_text(contexts: ServerContexts) -> None:
    async with connected(contexts) as (client, server):
        client.shutdown()
        assert await server.receive(100) == b""
        server.shutdown()
        assert await client.receive(100) == b""
        assert await server.receive(100) == b""
        assert not server.is_quiet()


async def test_a_send_that_was_cut_short_is_the_last(contexts: ServerContexts) -> None:
    async with connected(contexts) as (client, server):
        with trio.move_on_after(1) as scope:
            while True:
                await server.send(MEGABYTE)
        assert scope.cancelled_caught
        with pytest.raises(ConnectionResetError, match="nothing more can be sent"):
            await server.send(b"other")
        server.close()
        got = bytearray()
        with pytest.raises(Truncated):
            await receive_all(client, got)
        assert got == (MEGABYTE * (len(got) // len(MEGABYTE) + 1))[: len(got)]


async def test_after_a_cut_shutdown_is_no_end_either(contexts: ServerContexts) -> None:
    async with connected(contexts) as (client, server):
        with trio.move_on_after(1):
            while True:
                await server.send(MEGABYTE)
        server.shutdown()
        with pytest.raises(Truncated):
            await receive_all(client, bytearray())


async def test_to_finish_is_to_wait_until_there_is_room_for_it(contexts: ServerContexts) -> None:
    async with connected(contexts) as (client, server):
        size, done, got = fill(server), False, bytearray()

        async def finish() -> None:
            nonlocal done
            await server.finish()
            done = True

        assert not server.is_finished
        async with trio.open_nursery() as nursery:
            nursery.start_soon(finish)
            await wait_all_tasks_blocked()
            assert not done
            assert not server.is_finished
            await receive_all(client, got)
        assert done
        assert server.is_finished
        assert len(got) == size
