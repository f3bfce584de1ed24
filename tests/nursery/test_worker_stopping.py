"""A worker that stops, has lost its main, or cuts what is removed: who finishes, who does not, and its last words."""

import socket

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import Backend, Cluster
from sozu_trio.config.program import Program
from sozu_trio.control.channel import Channel, channel_pair
from sozu_trio.control.messages import (
    Amend,
    Ask,
    Begin,
    Commit,
    Counted,
    Cut,
    Prepare,
    Reply,
    Report,
    Stop,
    Stopped,
)
from sozu_trio.nursery.tally import Tally
from sozu_trio.nursery.worker import serve_worker
from sozu_trio.routing.delta import NOTHING, Delta
from sozu_trio.telemetry.counters import Counters
from tests.nursery.counting import REGIONS
from tests.nursery.parts import FakeHandler, connected, listening
from tests.nursery.worker_parts import names_in, started

pytestmark = pytest.mark.virtual_time


async def test_stop_lets_the_busy_finish_then_the_worker_says_its_last() -> None:
    async with started() as main:
        with listening() as sock:
            await main.listen(sock)
            with connected(sock, 2) as (busy, _):
                busy.sendall(b"busy")
                await wait_all_tasks_blocked()
                assert await main.ask(Stop(serial=4, grace=60)) is None
                await trio.sleep(59)
                assert main.handler.service_ended_at is None
                assert await main.listen(sock) == "the worker is stopping"
                main.handler.release.set()
                assert await main.says() == Stopped(cut=0)
                assert main.handler.service_ended_at == trio.current_time()
                assert await main.says() is None
    assert sorted(main.lines) == ["session-1 is over", "session-2 is over"]


async def test_what_the_grace_did_not_suffice_for_is_cut_and_counted() -> None:
    async with started() as main:
        with listening() as sock:
            await main.listen(sock)
            with connected(sock, 3) as clients:
                for client in clients:
                    client.sendall(b"busy")
                await wait_all_tasks_blocked()
                await main.ask(Stop(serial=4, grace=60))
                begun = trio.current_time()
                assert await main.says() == Stopped(cut=3)
                assert trio.current_time() == begun + 60


async def test_a_second_stop_is_hard() -> None:
    async with started() as main:
        with listening() as sock:
            await main.listen(sock)
            with connected(sock) as (client,):
                client.sendall(b"busy")
                await wait_all_tasks_blocked()
                await main.ask(Stop(serial=4, grace=None))
                await main.channel.send(Stop(serial=5, grace=0))
                report = await main.says()
                if isinstance(report, Reply):
                    report = await main.says()
                assert report == Stopped(cut=1)


async def test_a_worker_without_listeners_stops_at_once() -> None:
    async with started() as main:
        await main.channel.send(Stop(serial=4, grace=None))
        report = await main.says()
        if isinstance(report, Reply):  # It may not come to that.
            report = await main.says()
        assert report == Stopped(cut=0)


async def test_main_gone_stops_softly_with_the_grace_of_the_program() -> None:
    begun = trio.current_time()
    async with started(Program(shutdown_timeout=40)) as main:
        with listening() as sock:
            await main.listen(sock)
            with connected(sock) as (client,):
                client.sendall(b"busy")
                await wait_all_tasks_blocked()
                await main.ask(Amend(serial=2, attempt=1, base=None, delta=NOTHING))
                await main.ask(Prepare(serial=3, attempt=1, generation=5))
                main.channel.close()
                await trio.sleep(39)
                main.handler.lines.append("nobody will read this")
                client.setblocking(False)
                with pytest.raises(BlockingIOError):
                    client.recv(1)
                await trio.sleep(2)
                assert client.recv(1) == b""
    assert trio.current_time() == begun + 41


async def test_garbage_from_main_stops_softly(caplog: pytest.LogCaptureFixture) -> None:
    main_sock, worker_sock = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    main: Channel[Report] = Channel(main_sock, {"Reply": Reply, "Counted": Counted, "Stopped": Stopped})
    worker: Channel[Ask] = Channel(worker_sock, {"Begin": Begin})
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_worker, worker, FakeHandler)
        await main.send(Begin(serial=1, worker_id=0, program=Program(), region=0), REGIONS.descriptors)
        await main.send(Commit(serial=2, generation=3))
        assert await main.receive() == (Reply(serial=1), [])
        assert await main.receive() == (Counted(counters=Counters().numbers()), [])
        assert await main.receive() == (Stopped(cut=0), [])
    assert "main is lost: not a message" in caplog.text
    main.close()
    worker.close()


async def test_at_the_end_no_line_is_lost() -> None:
    """Also of those that were on their way when the end came: main reads nothing for a while here."""
    async with started() as main:
        for number in range(1000):
            main.handler.lines.append(f"line {number} " + "x" * 2000)
        await trio.sleep(1)
        await main.channel.send(Stop(serial=2, grace=None))
        while not isinstance(await main.says(), Stopped):
            pass
    assert [int(line.split(" ")[1]) for line in main.lines] == list(range(1000))


async def test_a_main_that_reads_nothing_more_delays_the_end_only_so_long() -> None:
    ours, theirs = channel_pair()
    handlers: list[FakeHandler] = []

    def make_handler(program: Program, worker_id: int, tally: Tally) -> FakeHandler:
        handlers.append(FakeHandler(program, worker_id, tally))
        return handlers[0]

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_worker, theirs, make_handler)
        await ours.send(Begin(serial=1, worker_id=0, program=Program(), region=0), REGIONS.descriptors)
        await wait_all_tasks_blocked()
        for _ in range(1000):
            handlers[0].lines.append("x" * 5000)
        await trio.sleep(1)
        await ours.send(Stop(serial=2, grace=None))
        await trio.sleep(2)
        assert handlers[0].service_ended_at is not None
        ours.close()
    theirs.close()


API = Cluster(cluster_id="api")
BACKEND = Backend(cluster_id="api", backend_id="b", address=Address("127.0.0.1", 9000))
REMOVED = ("api", "b", BACKEND.address)
CUT = Cut(serial=9, cluster_id="api", backend_id="b", address=BACKEND.address, grace=10)


async def test_a_removed_backend_is_cut_when_its_time_is_up() -> None:
    async with started() as main:
        await main.change(Delta(clusters=(API,), backends=(BACKEND,)), 1)
        assert await main.ask(CUT) == "backend b of cluster api is there to stay"
        await main.change(Delta(gone_backends=(("api", "b"),)), 2, base=1)
        assert await main.ask(CUT) is None
        assert "cut of backend b of cluster api" in names_in(await main.look("tree"))
        await trio.sleep(9.9)
        assert main.handler.cuts == []
        await trio.sleep(0.2)
        assert main.handler.cuts == [REMOVED]
        assert "cut of backend b of cluster api" not in names_in(await main.look("tree"))
        main.channel.close()


async def test_a_backend_that_comes_back_is_not_cut() -> None:
    async with started() as main:
        await main.ask(CUT)
        await main.change(Delta(clusters=(API,), backends=(BACKEND,)), 2)
        await trio.sleep(20)
        assert main.handler.cuts == []
        main.channel.close()


async def test_a_stop_does_not_wait_for_a_cut() -> None:
    begun = trio.current_time()
    async with started() as main:
        await main.ask(CUT)
        await main.channel.send(Stop(serial=1, grace=None))
        while not isinstance(await main.says(), Stopped):
            pass
    assert (main.handler.cuts, trio.current_time()) == ([], begun)
