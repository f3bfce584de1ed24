"""Successors that die, refuse or make no sense: no session is lost by them, and none is served twice."""

import os
import socket
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sozu_trio.control.messages import HandOver, Kill, Stranded, TakeOver
from sozu_trio.control.moves import KeptAlive, Learned, Parcel, Taken
from sozu_trio.nursery.departure import BATCH, PAUSE
from sozu_trio.nursery.listener import Door, Resume, SessionNode
from sozu_trio.proxy.tunnels import record_as_json
from sozu_trio.telemetry.access_log import AccessRecord
from sozu_trio.testing import Client
from sozu_trio.testing.plugin import StartBackend
from tests.nursery.parts import tcp_pair
from tests.proxy.moving import ROOM, Succession, Successor, open_succession
from tests.proxy.parts import GET, is_reset
from tests.proxy.succeeding import all_go_on, one_of_each, serve, served
from tests.proxy.test_tunnels import open_tunnel

pytestmark = pytest.mark.virtual_time


async def open_late(succession: Succession) -> Client:
    """A connection that was let in by the worker that leaves, as if it had been busy until now."""
    old = succession.workers[0]
    (listener,) = old.nodes
    ours, theirs = tcp_pair()
    node = SessionNode("late", theirs, ours.getsockname(), listener, trio.current_time())
    door = Door(listener, old.handler.doors, succession.nursery)
    door.take_in(node, old.handler.doors.serve)
    ours.setblocking(False)
    succession.clients.append(Client(trio.SocketStream(trio.socket.from_stdlib_socket(ours))))
    return succession.clients[-1]


@pytest.mark.parametrize("after", ["nothing", "learned", "offer", "first batch"])
async def test_one_that_dies_before_it_took_them_loses_nothing(after: str, start_backend: StartBackend) -> None:
    async with open_succession(await start_backend(serve)) as succession:
        old = succession.workers[0]
        clients = await one_of_each(succession)
        names = sorted(await old.sessions())
        successor = Successor(await succession.hand_over(old))
        if after != "nothing":
            assert isinstance(await successor.hear(), Learned)
        if after in ("offer", "first batch"):
            await successor.channel.send(ROOM)
            assert len((await successor.offered()).parcels) == 4
            # Nobody serves them now.
            await clients[2].send(b"wait")
            await wait_all_tasks_blocked()
        if after == "first batch":
            await successor.channel.send(ROOM)
        successor.die()
        said = await old.moves()
        assert (said.moved, said.left) == (0, 4)
        await trio.sleep(PAUSE + 0.1)
        assert old.stranded == [Stranded(left=4)]
        if after in ("offer", "first batch"):
            assert await clients[2].receive_exactly(4) == b"wait"
        await all_go_on(clients)
        assert sorted(await old.sessions()) == names
        # The successor's successor takes them all.
        new = await succession.start()
        said = await succession.move(old, new)
        assert (said.moved, said.left) == (4, 0)
        await old.over.wait()
        assert sorted(await new.sessions()) == names
        await all_go_on(clients)
    assert len([line for line in succession.lines if "[" in line and "/chat" in line]) == 1


async def test_one_that_dies_after_it_took_them_has_them(start_backend: StartBackend) -> None:
    async with open_succession(await start_backend(serve)) as succession:
        old = succession.workers[0]
        clients = await one_of_each(succession)
        successor = Successor(await succession.hand_over(old))
        parcels = (await successor.offered()).parcels
        await successor.channel.send(Taken(taken=(0, 1, 2, 3), refused=(), room=0))
        said = await old.moves()
        assert (said.moved, said.left) == (4, 0)
        await old.over.wait()
        assert old.stopped is not None
        assert old.stopped.cut == 0
        assert not old.stranded
        # Nothing was said to the peers: their connections are as open as before.
        for client in clients:
            client.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            with pytest.raises(BlockingIOError):
                os.read(client.stream.socket.fileno(), 1)
        assert {parcel.name for parcel in parcels if isinstance(parcel.kept_alive, KeptAlive)}
        successor.die()
    assert not any("/chat" in line for line in succession.lines)


async def test_never_more_in_a_batch_than_a_few(start_backend: StartBackend) -> None:
    async with open_succession(await start_backend(serve)) as succession:
        old = succession.workers[0]
        for _ in range(100):
            await succession.client()
        await wait_all_tasks_blocked()
        successor = Successor(await succession.hand_over(old))
        counts: list[int] = []
        while sum(counts) < 100:
            counts.append(len((await successor.offered()).parcels))
            await successor.channel.send(Taken(taken=tuple(range(counts[-1])), refused=(), room=500))
        assert max(counts) <= BATCH
        assert len(counts) <= 10
        await old.over.wait()
        successor.die()


async def test_a_refused_one_stays_and_the_others_move(start_backend: StartBackend) -> None:
    async with open_succession(await start_backend(serve)) as succession:
        old = succession.workers[0]
        tunnels = [await open_tunnel(succession, "tcp") for _ in range(3)]
        await wait_all_tasks_blocked()
        successor = Successor(await succession.hand_over(old))
        parcels = (await successor.offered()).parcels
        await successor.channel.send(Taken(taken=(0, 2), refused=(1,), room=500))
        said = await old.moves()
        assert (said.moved, said.left) == (2, 1)
        assert await old.sessions() == [parcels[1].name]
        ports = [tunnel.stream.socket.getsockname()[1] for tunnel in tunnels]
        stays = tunnels[ports.index(parcels[1].peer[1])]
        await stays.send(b"more")
        assert await stays.receive_exactly(4) == b"more"
        await trio.sleep(10)
        successor.die()
        assert await old.ask(Kill, session=parcels[1].name) is True
        assert await is_reset(stays)


async def test_an_error_of_ours_in_the_middle_of_a_batch_leaves_all_where_they_are(
    start_backend: StartBackend, caplog: pytest.LogCaptureFixture
) -> None:
    admitted: list[Parcel] = []

    async with open_succession(await start_backend(serve)) as succession:
        clients = await one_of_each(succession)
        new = await succession.start()
        resumption = new.admit
        assert resumption is not None

        def admit(parcel: Parcel) -> Resume | None:
            admitted.append(parcel)
            if len(admitted) == 3:
                raise RuntimeError("no idea")
            return resumption(parcel)

        new.admit = admit
        said = await succession.move(succession.workers[0], new)
        assert (said.moved, said.left) == (0, 4)
        await wait_all_tasks_blocked()
        assert len(admitted) == 3
        assert await new.sessions() == []
        await all_go_on(clients)
        assert succession.workers[0].stranded == [Stranded(left=4)]
    assert "an error of ours; the worker before keeps the sessions it has" in caplog.text


async def test_a_tunnel_whose_record_has_other_members_stays_where_it_is(
    start_backend: StartBackend, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def tell(record: AccessRecord) -> dict[str, Any]:
        return {**record_as_json(record), "mood": "good"}

    monkeypatch.setattr("sozu_trio.proxy.tunnels.record_as_json", tell)
    async with open_succession(await start_backend(serve)) as succession:
        clients = await one_of_each(succession)
        new, said = await succession.succeed()
        assert (said.moved, said.left) == (2, 2)
        assert len(await new.sessions()) == 2
        await all_go_on(clients)
    assert "stays where it is: a record with other members: ['mood']" in caplog.text


async def test_an_answer_that_makes_no_sense_is_taken_for_yes(
    start_backend: StartBackend, caplog: pytest.LogCaptureFixture
) -> None:
    """That two serve one connection is worse than that nobody does."""
    async with open_succession(await start_backend(serve)) as succession:
        old = succession.workers[0]
        client = await succession.client()
        await served(client)
        successor = Successor(await succession.hand_over(old))
        await successor.offered()
        await successor.channel.send(Learned(failing=()))
        await old.over.wait()
        with pytest.raises(BlockingIOError):
            os.read(client.stream.socket.fileno(), 1)
        successor.die()
        assert await client.receive_all() == b""
    assert "the successor makes no sense, and may serve 1 sessions" in caplog.text


async def test_while_one_hangs_only_those_in_transit_wait_for_it(start_backend: StartBackend) -> None:
    async with open_succession(await start_backend(serve)) as succession:
        old = succession.workers[0]
        client = await succession.client()
        await served(client)
        successor = Successor(await succession.hand_over(old))
        await successor.offered()
        # Nobody hears of this one before its request has been answered.
        late = await open_late(succession)
        begun = trio.current_time()
        for _ in range(10):
            await served(late)
        assert trio.current_time() - begun <= 2
        await client.send(GET)
        await trio.sleep(10)
        successor.die()
        assert (await client.receive_until(b"ok")).startswith(b"HTTP/1.1 200")
        await served(late)


async def test_whoever_was_in_transit_to_one_that_died_moves_to_the_next(start_backend: StartBackend) -> None:
    """Which came before the old worker heard of the death."""
    async with open_succession(await start_backend(serve)) as succession:
        old = succession.workers[0]
        clients = await one_of_each(succession)
        new = await succession.start()
        successor = Successor(await succession.hand_over(old))
        assert len((await successor.offered()).parcels) == 4
        first, second = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with first, second:
            await new.ask(TakeOver, first.fileno())
            await old.ask(HandOver, second.fileno(), grace=60)
        successor.die()
        await old.over.wait()
        assert len(old.handed_over) == 1
        assert len(await new.sessions()) == 4
        await all_go_on(clients)


async def test_requests_flow_while_workers_follow_one_another(start_backend: StartBackend) -> None:
    """And some successors die."""
    answered = 0

    async def ask_for_ever(client: Client) -> None:
        nonlocal answered
        while True:
            await served(client)
            answered += 1
            await trio.sleep(0.001)

    async with open_succession(await start_backend(serve)) as succession:
        clients = [await succession.client() for _ in range(20)]
        async with trio.open_nursery() as nursery:
            for client in clients:
                nursery.start_soon(ask_for_ever, client)
            for turn in range(6):
                await trio.sleep(0.05)
                successor = Successor(await succession.hand_over(succession.workers[-1]))
                with trio.move_on_after(turn * 0.01):
                    await successor.offered()
                successor.die()
                await trio.sleep(0.02)
                await succession.succeed()
                await succession.workers[-2].over.wait()
            nursery.cancel_scope.cancel(reason="that was enough")
        assert answered > 200
        assert succession.total("requests") - answered <= 20
        assert succession.total("sessions_total") == 20


async def test_one_that_makes_no_sense_to_its_successor_keeps_its_sessions(start_backend: StartBackend) -> None:
    async with open_succession(await start_backend(serve)) as succession:
        new = await succession.start()
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs:
            await new.ask(TakeOver, theirs.fileno())
            theirs.close()
            ours.send(b"what?")
            await wait_all_tasks_blocked()
            assert ours.recv(100) == b""
