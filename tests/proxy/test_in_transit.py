"""Sessions that are on their way to a successor when a stop, a cut or a kill comes: it waits for their fate, and holds
where they end up.
"""

import os
from collections.abc import Callable

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sozu_trio.control.channel import Channel
from sozu_trio.control.messages import Cut, Kill, Stop
from sozu_trio.control.moves import Offer, Taken
from sozu_trio.nursery import killing
from sozu_trio.nursery.departure import Departure, _Offering
from sozu_trio.nursery.listener import SessionNode
from sozu_trio.testing import BackendConnection
from sozu_trio.testing.plugin import StartBackend
from tests.proxy.moving import ROOM, Moving, Successor, open_succession, without_backends
from tests.proxy.parts import GET, OK, is_reset, values
from tests.proxy.succeeding import one_of_each, serve, served
from tests.proxy.test_tunnels import open_tunnel

pytestmark = [pytest.mark.virtual_time, pytest.mark.usefixtures("leaving")]


def just_before_an_offer(monkeypatch: pytest.MonkeyPatch, do: Callable[[SessionNode], None]) -> None:
    """Have it done to each session that is about to be offered, so soon before that its task has not run since."""
    next_batch = Departure._next_batch

    def do_first(self: Departure) -> list[_Offering]:
        for offering in self._queue:
            do(offering.node)
        return next_batch(self)

    monkeypatch.setattr(Departure, "_next_batch", do_first)


@pytest.mark.parametrize("answer", ["taken", "died"])
async def test_a_hard_stop_waits_for_the_fate_of_those_in_transit(answer: str, start_backend: StartBackend) -> None:
    async with open_succession(await start_backend(serve)) as succession:
        old = succession.workers[0]
        clients = await one_of_each(succession)
        successor = Successor(await succession.hand_over(old))
        await successor.offered()
        await old.ask(Stop, grace=0)
        await trio.sleep(100)
        assert not old.over.is_set()
        assert len(await old.sessions()) == 4
        if answer == "taken":
            await successor.channel.send(Taken(taken=(0, 1, 2, 3), refused=(), room=500))
        else:
            successor.die()
        await old.over.wait()
        assert old.stopped is not None
        assert old.stopped.cut == (0 if answer == "taken" else 4)
        assert await is_reset(clients[2]) if answer == "died" else True
        successor.die()
    assert len([line for line in succession.lines if "/chat" in line]) == int(answer == "died")


@pytest.mark.parametrize("answer", ["taken", "died"])
async def test_whoever_is_cut_just_before_it_is_offered_waits_for_its_fate(
    answer: str, start_backend: StartBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_succession(await start_backend(serve)) as succession:
        old = succession.workers[0]
        clients = await one_of_each(succession)
        just_before_an_offer(monkeypatch, lambda node: node.listener.connections.cancel(reason="hard stop"))
        successor = Successor(await succession.hand_over(old))
        assert len((await successor.offered()).parcels) == 4
        await trio.sleep(100)
        assert len(await old.sessions()) == 4
        if answer == "taken":
            await successor.channel.send(Taken(taken=(0, 1, 2, 3), refused=(), room=500))
            await old.over.wait()
            for client in clients:
                with pytest.raises(BlockingIOError):
                    os.read(client.stream.socket.fileno(), 1)
        successor.die()
        await old.over.wait()
        for client in clients[2:]:
            assert await is_reset(client) == (answer == "died")
    assert len([line for line in succession.lines if "/chat" in line]) == int(answer == "died")


async def test_a_soft_stop_lets_the_idle_leave_and_nobody_moves_any_more(start_backend: StartBackend) -> None:
    async with open_succession(await start_backend(serve)) as succession:
        old = succession.workers[0]
        silent, used, tcp, websocket = await one_of_each(succession)
        successor = Successor(await succession.hand_over(old))
        await successor.hear()
        await old.ask(Stop, grace=30)
        assert await used.receive_all() == b""
        assert await silent.receive_all() == b""
        for tunnel in (tcp, websocket):
            await tunnel.send(b"more")
            assert await tunnel.receive_exactly(4) == b"more"
        assert await successor.channel.receive() is None
        assert await is_reset(tcp)
        await old.over.wait()
        assert old.stopped is not None
        assert old.stopped.cut == 2
        assert not old.stranded
        successor.die()


async def test_one_that_leaves_itself_refuses_nobody(start_backend: StartBackend) -> None:
    """Whom the first worker still has moves to the third one, and is served until then."""
    go = trio.Event()

    async def slow(connection: BackendConnection) -> None:
        while await connection.read_head():
            await go.wait()
            await connection.send(OK)

    async with open_succession(await start_backend(slow)) as succession:
        first = succession.workers[0]
        client = await succession.client()
        await client.send(GET)
        await wait_all_tasks_blocked()
        second, _ = await succession.succeed()
        third = await succession.start()
        await succession.move(second, third)
        await second.over.wait()
        go.set()
        assert not values(await client.receive_until(b"ok"), b"connection")
        await trio.sleep(5)
        await served(client)
        assert (len(await first.sessions()), len(await third.sessions())) == (1, 0)
        said = await succession.move(first, third)
        assert (said.moved, said.left) == (1, 0)
        await served(client)


async def test_whoever_is_killed_just_before_it_is_offered_is_not(
    start_backend: StartBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_succession(await start_backend(serve)) as succession:
        old = succession.workers[0]
        clients = await one_of_each(succession)
        just_before_an_offer(monkeypatch, SessionNode.kill)
        successor = Successor(await succession.hand_over(old))
        await successor.hear()
        await successor.channel.send(ROOM)
        with trio.fail_after(1):
            await old.over.wait()
        for client in clients[:2]:
            assert await client.receive_all() == b""
        for client in clients[2:]:
            assert await is_reset(client)
        successor.die()


@pytest.mark.parametrize("answer", ["taken", "died"])
async def test_a_cut_of_its_backend_waits_for_the_fate_of_one_in_transit(
    answer: str, start_backend: StartBackend
) -> None:
    async with open_succession(await start_backend(serve)) as succession:
        old = succession.workers[0]
        tunnels = [await open_tunnel(succession, kind) for kind in ("tcp", "websocket")]
        await wait_all_tasks_blocked()
        successor = Successor(await succession.hand_over(old))
        assert len((await successor.offered()).parcels) == 2
        await old.change(without_backends(succession.state), 2)
        for cluster, backend in (("raw", "b1"), ("web", "b0")):
            address = succession.backend.address
            await old.ask(Cut, cluster_id=cluster, backend_id=backend, address=address, grace=0)
        await trio.sleep(1)
        if answer == "taken":
            await successor.channel.send(Taken(taken=(0, 1), refused=(), room=500))
            await old.over.wait()
            for tunnel in tunnels:
                with pytest.raises(BlockingIOError):
                    os.read(tunnel.stream.socket.fileno(), 1)
        successor.die()
        for tunnel in tunnels:
            assert await is_reset(tunnel) == (answer == "died")
        await old.over.wait()
    assert len(succession.lines) == (2 if answer == "died" else 0)


@pytest.mark.parametrize("answer", ["taken", "died", "late"])
async def test_whoever_is_killed_in_transit_is_killed_where_it_ends_up(
    answer: str, start_backend: StartBackend
) -> None:
    killed: list[bool | str] = []

    async def kill(old: Moving, name: str) -> None:
        try:
            killed.append(await old.ask(Kill, session=name))
        except AssertionError as failure:
            killed.append(str(failure))

    async with open_succession(await start_backend(serve)) as succession:
        old = succession.workers[0]
        tunnel = await open_tunnel(succession, "tcp")
        await wait_all_tasks_blocked()
        successor = Successor(await succession.hand_over(old))
        (parcel,) = (await successor.offered()).parcels
        succession.nursery.start_soon(kill, old, parcel.name)
        await wait_all_tasks_blocked()
        assert not killed
        if answer == "late":
            await trio.sleep(killing.PATIENCE + 0.1)
            (failure,) = killed
            assert f"{parcel.name} is on its way from one worker to the next: try again" in str(failure)
        if answer == "taken":
            await successor.channel.send(Taken(taken=(0,), refused=(), room=500))
            await old.over.wait()
            with pytest.raises(BlockingIOError):
                os.read(tunnel.stream.socket.fileno(), 1)
            assert killed == [False]
        successor.die()
        if answer == "died":
            assert await is_reset(tunnel)
            assert killed == [True]
        if answer == "late":
            await tunnel.send(b"more")
            assert await tunnel.receive_exactly(4) == b"more"


async def test_whoever_arrives_is_listed_by_one_worker_only(
    start_backend: StartBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    send, go = Channel[Offer].send, trio.Event()

    async def send_later(self: Channel[Offer], message: object, descriptors: list[int] = []) -> None:  # noqa: B006
        if isinstance(message, Taken) and message.taken:
            await go.wait()
        await send(self, message, descriptors)

    async with open_succession(await start_backend(serve)) as succession:
        old = succession.workers[0]
        tunnel = await open_tunnel(succession, "tcp")
        await wait_all_tasks_blocked()
        new = await succession.start()
        (name,) = await old.sessions()
        monkeypatch.setattr(Channel, "send", send_later)
        succession.nursery.start_soon(succession.move, old, new)
        await wait_all_tasks_blocked()
        assert (await old.sessions(), await new.sessions()) == ([name], [])
        go.set()
        await old.over.wait()
        assert await new.sessions() == [name]
        assert await new.ask(Kill, session=name) is True
        assert await is_reset(tunnel)


@pytest.mark.parametrize("ends", ["time", "stop"])
async def test_only_whoever_time_has_run_out_for_is_said_to_have_been_unable_to_move(
    ends: str, start_backend: StartBackend, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_succession(await start_backend(serve)) as succession:
        old = succession.workers[0]
        tunnel = await open_tunnel(succession, "tcp")
        await wait_all_tasks_blocked()
        Successor(await succession.hand_over(old, grace=10)).die()
        if ends == "stop":
            await old.ask(Stop, grace=0)
        await old.over.wait()
        assert await is_reset(tunnel)
        assert old.stopped is not None
        assert old.stopped.cut == 1
    assert ("was cut: it could not move" in caplog.text) == (ends == "time")


async def test_left_without_a_successor_idle_ones_are_served_until_the_deadline(start_backend: StartBackend) -> None:
    async with open_succession(await start_backend(serve)) as succession:
        old = succession.workers[0]
        client = await succession.client()
        await served(client)
        Successor(await succession.hand_over(old, grace=100)).die()
        for _ in range(4):
            await trio.sleep(20)
            await served(client)
        begun = trio.current_time()
        await client.receive_all()
        assert trio.current_time() - begun == pytest.approx(20, abs=1)
        await old.over.wait()
