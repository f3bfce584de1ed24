"""TLS by the face of a stream: every byte in order, whoever waits is woken, and nobody waits for what is there."""

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import check_half_closeable_stream, check_one_way_stream, wait_all_tasks_blocked

from sozu_trio.config.limits import IMMEDIATE_OPERATIONS
from sozu_trio.proxy.patience import Wheel
from sozu_trio.proxy.stream import SEVERED, Piece, Stream
from sozu_trio.proxy.tls_stream import TlsStream
from sozu_trio.telemetry.access_log import TlsFacts
from sozu_trio.tls.contexts import ServerContexts
from tests.proxy.parts import MEGABYTE
from tests.proxy.tls_parts import clogged_pair, connected, receive_all, server_contexts, trio_pair
from tests.tls.peers import client_context

pytestmark = pytest.mark.virtual_time


@pytest.fixture(params=["TLS_V12", "TLS_V13"])
def contexts(request: pytest.FixtureRequest) -> ServerContexts:
    return server_contexts(versions=(request.param,))


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


async def test_pieces_are_one_record(contexts: ServerContexts) -> None:
    async with connected(contexts) as (client, server):
        pieces: list[Piece] = [b"head", memoryview(MEGABYTE[:12_000]), b"end"]
        await server.send_pieces(server.arranged(pieces))
        assert await client.receive(65536) == b"".join(pieces)


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
