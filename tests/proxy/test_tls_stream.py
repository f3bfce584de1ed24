"""TLS by the face of a stream: every byte in order, both ends told, and what was cut never passes for whole."""

import contextlib
import errno
import socket
import ssl
from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import check_half_closeable_stream, check_one_way_stream, wait_all_tasks_blocked

from sozu_trio.config.limits import IMMEDIATE_OPERATIONS
from sozu_trio.config.tls_settings import TlsSettings
from sozu_trio.errors import HandshakeFailed
from sozu_trio.proxy import close_notify
from sozu_trio.proxy.patience import Wheel
from sozu_trio.proxy.stream import SEVERED, Stream
from sozu_trio.proxy.tls_stream import TlsStream, Truncated
from sozu_trio.routing.resolver import NO_CERTIFICATES
from sozu_trio.telemetry.access_log import TlsFacts
from sozu_trio.tls.contexts import ServerContexts
from tests.nursery.parts import tcp_pair
from tests.proxy.tls_parts import clogged_pair, connected, server_contexts, trio_pair, unshaken
from tests.tls.peers import client_context

pytestmark = pytest.mark.virtual_time

MEGABYTE = bytes(range(256)) * 4096


@pytest.fixture(params=["TLS_V12", "TLS_V13"])
def contexts(request: pytest.FixtureRequest) -> ServerContexts:
    return server_contexts(versions=(request.param,))


async def receive_all(stream: TlsStream, into: bytearray) -> None:
    while data := await stream.receive(65536):
        into += data


async def say(stream: TlsStream, data: bytes) -> None:
    await stream.send(data)
    stream.shutdown()


async def test_trio_s_checks() -> None:
    """Those of a stream that goes both ways are among them."""
    await check_half_closeable_stream(trio_pair, None)


async def test_trio_s_checks_of_a_sender_that_must_wait() -> None:
    await check_one_way_stream(trio_pair, clogged_pair)


async def test_facts() -> None:
    async with connected(context=client_context()) as (client, server):
        assert server.facts() == TlsFacts(
            version="TLSv1.3", cipher="TLS_AES_256_GCM_SHA384", server_name="a.example", alpn=None, resumed=False
        )
        assert client.facts().server_name == "a.example"


async def test_a_megabyte_each_way_at_once(contexts: ServerContexts) -> None:
    async with connected(contexts) as (client, server):
        to_client, to_server = bytearray(), bytearray()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(say, client, MEGABYTE)
            nursery.start_soon(say, server, MEGABYTE[::-1])
            nursery.start_soon(receive_all, client, to_client)
            nursery.start_soon(receive_all, server, to_server)
        assert to_server == MEGABYTE
        assert to_client == MEGABYTE[::-1]
        assert server.bytes_in == server.bytes_out == client.bytes_in == len(MEGABYTE)


async def test_what_comes_later_is_waited_for(contexts: ServerContexts) -> None:
    async with connected(contexts) as (client, server):
        got: list[bytes] = []

        async def receive(method: Callable[[int], Any]) -> None:
            got.append(await method(100))

        for method in (server.receive, server.receive_later):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(receive, method)
                await wait_all_tasks_blocked()
                await client.send(b"hello")
        assert got == [b"hello", b"hello"]


async def test_data_of_a_record_read_in_part_needs_no_readiness(contexts: ServerContexts) -> None:
    async with connected(contexts) as (client, server):
        await client.send(b"hello")
        assert await server.receive(2) == b"he"
        assert not Stream.is_quiet(server) or server._tls.pending() == 3
        assert not server.is_quiet()
        with trio.fail_after(1):
            await server.wait_readable()
            assert await server.receive_later(2) == b"ll"
            assert await server.receive(10) == b"o"
        assert server.is_quiet()


async def test_tickets_are_nothing() -> None:
    async with connected(server_contexts(tickets=4)) as (client, _):
        assert not Stream.is_quiet(client)  # They lie there.
        assert client.is_quiet()
        assert Stream.is_quiet(client)


async def test_tickets_are_nothing_to_who_waits_either() -> None:
    async with connected(server_contexts(tickets=4)) as (client, server), trio.open_nursery() as nursery:
        nursery.start_soon(server.send, b"hello")
        assert await client.receive_later(100) == b"hello"
    async with connected(server_contexts(tickets=4)) as (client, server):
        with trio.move_on_after(1):
            await client.receive_later(100)
            pytest.fail("tickets were taken for data")


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
            server._unsent = written.recv(20000)
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


async def test_a_cancelled_receive_loses_nothing(contexts: ServerContexts) -> None:
    async with connected(contexts) as (client, server):
        with trio.move_on_after(1) as scope:
            await server.receive(100)
        assert scope.cancelled_caught
        await client.send(b"hello")
        assert await server.receive(100) == b"hello"


async def test_a_cancellation_after_the_read_loses_nothing(contexts: ServerContexts) -> None:
    async with connected(contexts) as (client, server):
        await client.send(b"hello")
        assert await server.receive(2) == b"he"
        server._immediate = IMMEDIATE_OPERATIONS
        with trio.CancelScope() as scope:
            scope.cancel()
            await server.receive(2)
        assert scope.cancelled_caught
        assert server.bytes_in == 2
        assert await server.receive(100) + await server.receive(100) == b"llo"
        assert server.bytes_in == 5


async def test_who_is_waited_for_and_how_long(contexts: ServerContexts) -> None:
    async with connected(contexts) as (_, server), trio.open_nursery() as nursery:
        wheel = Wheel()
        nursery.start_soon(wheel.run)
        for wait in (server.receive, server.receive_later):
            with wheel.patience() as patience:
                start = trio.current_time()
                await wait(100, patience)
            assert patience.expired
            assert patience.waiting_for is server
            assert trio.current_time() - start == pytest.approx(5, abs=0.2)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("method", ["receive", "receive_later"])
async def test_a_severed_stream_is_a_reset_for_whoever_waits(contexts: ServerContexts, method: str) -> None:
    async with connected(contexts) as (client, server):

        async def receive() -> None:
            with pytest.raises(ConnectionResetError, match="cut by the operator"):
                await getattr(server, method)(100)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive)
            await wait_all_tasks_blocked()
            server.sever()
        assert server.sock is SEVERED
        with pytest.raises(ConnectionResetError):
            await server.send(b"more")
        assert not server.is_quiet()
        server.shutdown()
        server.sever()
        server.close()
        with pytest.raises(ConnectionResetError):
            await client.receive(100)


async def test_severed_in_the_middle_of_a_handshake() -> None:
    client, server = unshaken()

    async def shake() -> None:
        with pytest.raises(HandshakeFailed) as caught:
            await server.handshake()
        assert caught.value.kind == "closed"

    async with trio.open_nursery() as nursery:
        nursery.start_soon(shake)
        await wait_all_tasks_blocked()
        server.sever()
    client.abort()


async def test_others_run_while_much_is_sent_and_received(contexts: ServerContexts) -> None:
    async with connected(contexts) as (client, server):
        turns = 0

        async def count() -> None:
            nonlocal turns
            while True:
                turns += 1
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(count)
            for _ in range(100):
                await client.send(b"x")
            before = turns
            for _ in range(100):
                await server.receive(1)
            nursery.cancel_scope.cancel()
        assert before >= 2
        assert turns - before >= 2


@pytest.mark.parametrize(
    ("bytes_sent", "kind"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "not_tls"),
        (b"\x00" * 100, "not_tls"),
        (b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03", "other"),
        (b"\x16\x03\x01", "closed"),
        (b"", "closed"),
    ],
    ids=["http", "zeros", "a broken hello", "half a hello", "nothing"],
)
async def test_handshakes_that_are_none(bytes_sent: bytes, kind: str) -> None:
    peer, ours = tcp_pair()
    ours.setblocking(False)
    server = TlsStream(server_contexts().wrap(ours), 5)
    with peer:
        peer.send(bytes_sent)
        peer.shutdown(socket.SHUT_WR)
        with pytest.raises(HandshakeFailed, match="TLS handshake: ") as caught:
            await server.handshake()
        assert caught.value.kind == kind
        server.close()


async def test_an_unknown_name() -> None:
    client, server = unshaken(ServerContexts(TlsSettings(), NO_CERTIFICATES), name="who.example")
    kinds: list[str] = []

    async def shake(stream: TlsStream, said: str) -> None:
        with pytest.raises(HandshakeFailed, match=said) as caught:
            await stream.handshake()
        kinds.append(caught.value.kind)
        stream.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(shake, client, "UNRECOGNIZED_NAME")
        nursery.start_soon(shake, server, r"there is no certificate for the name asked for \('who.example'\)")
    assert "unknown_name" in kinds


async def test_nothing_in_common() -> None:
    context = client_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    client, server = unshaken(server_contexts(versions=("TLS_V12",)), context=context)

    async def shake(stream: TlsStream) -> None:
        with pytest.raises(HandshakeFailed) as caught:
            await stream.handshake()
        assert caught.value.kind in ("version", "refused")
        stream.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(shake, client)
        nursery.start_soon(shake, server)


async def test_a_client_that_never_speaks_is_bounded_by_the_caller() -> None:
    client, server = unshaken()
    with trio.move_on_after(3) as scope:
        await server.handshake()
    assert scope.cancelled_caught
    server.close()
    client.abort()


async def test_out_of_descriptors_the_peer_sees_a_cut_and_no_end(
    contexts: ServerContexts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> Any:
        raise OSError(errno.EMFILE, "Too many open files")

    async with connected(contexts) as (client, server):
        await client.send(b"hello")
        with monkeypatch.context() as patched:
            patched.setattr(socket, "socketpair", full)
            server.shutdown()
        with pytest.raises(Truncated):
            await client.receive(100)
        assert await server.receive(100) == b"hello"


async def test_reads_and_writes_that_never_wait(contexts: ServerContexts) -> None:
    async with connected(contexts) as (client, server):
        with pytest.raises(BlockingIOError):
            server.receive_now(100)
        assert client.send_now(memoryview(b"hello")) == 5
        await server.wait_readable()
        assert server.receive_now(2) + server.receive_now(100) == b"hello"
        client.shutdown()
        await server.wait_readable()
        assert server.receive_now(100) == b""
        with pytest.raises(ConnectionResetError):
            client.send_now(memoryview(b"more"))


async def test_many_records_go_at_once(contexts: ServerContexts) -> None:
    async with connected(contexts) as (client, server):
        data = MEGABYTE[:40_000]
        assert server.send_now(memoryview(data)) == len(data)
        got = b""
        while len(got) < len(data):
            got += await client.receive(65536)
        assert got == data


async def test_a_write_that_could_not_go_on_is_repeated_or_nothing_is_sent_any_more(contexts: ServerContexts) -> None:
    async with connected(contexts) as (client, server):
        data = memoryview(MEGABYTE * 16)
        with contextlib.suppress(BlockingIOError):
            while data:
                data = data[server.send_now(data) :]
        assert data
        with pytest.raises(ConnectionResetError, match="nothing more can be sent"):
            await server.send(b"other")
        received = bytearray()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(receive_all, client, received)
            while data:
                try:
                    data = data[server.send_now(data) :]
                except BlockingIOError:
                    await server.wait_writable()
            server.shutdown()
        assert received == MEGABYTE * 16


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
