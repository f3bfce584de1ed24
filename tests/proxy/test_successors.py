"""Successors that die, refuse, have no room or make no sense: no session is lost by them, and none is served twice."""

import errno
import os
import resource
import socket
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sozu_trio.control.channel import Channel, close_all
from sozu_trio.control.messages import Cut, HandOver, Kill, Stop, Stranded, TakeOver
from sozu_trio.control.moves import OFFERS, KeptAlive, Learned, Offer, Offered, Parcel, Taken
from sozu_trio.nursery import arrival, killing
from sozu_trio.nursery.departure import BATCH, PAUSE, Departure, _Offering
from sozu_trio.nursery.listener import Door, Resume, SessionNode
from sozu_trio.proxy.tunnels import record_as_json
from sozu_trio.telemetry.access_log import AccessRecord
from sozu_trio.testing import BackendConnection, Client
from sozu_trio.testing.plugin import StartBackend
from tests.nursery.parts import every_descriptor_taken, tcp_pair
from tests.proxy.moving import ROOM, Moving, Succession, Successor, open_succession, without_backends
from tests.proxy.parts import GET, OK, is_reset, values
from tests.proxy.test_tunnels import SWITCH, open_tunnel

pytestmark = pytest.mark.virtual_time


async def served(client: Client) -> None:
    """Whether `client` is served, and its connection stays."""
    await client.send(GET)
    head = await client.receive_until(b"ok")
    assert head.startswith(b"HTTP/1.1 200")
    assert not values(head, b"connection")


async def serve(connection: BackendConnection) -> None:
    """Requests, tunnels, and sessions of any other kind."""
    while (first := await connection.receive_exactly(4)) == b"GET ":
        head = await connection.read_head()
        await connection.send(SWITCH if head.startswith(b"/chat") else OK)
        if head.startswith(b"/chat"):
            break
    else:
        await connection.send(first)
    while data := await connection.stream.receive_some(65536):
        await connection.send(data)


async def one_of_each(succession: Succession) -> tuple[Client, Client, Client, Client]:
    """A connection that has sent nothing, one that has, and two tunnels."""
    silent = await succession.client()
    used = await succession.client()
    await served(used)
    tunnels = [await open_tunnel(succession, kind) for kind in ("tcp", "websocket")]
    await wait_all_tasks_blocked()
    return silent, used, tunnels[0], tunnels[1]


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


async def all_go_on(clients: tuple[Client, Client, Client, Client]) -> None:
    silent, used, tcp, websocket = clients
    await served(silent)
    await served(used)
    for tunnel in (tcp, websocket):
        await tunnel.send(b"more")
        assert await tunnel.receive_exactly(4) == b"more"


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


async def test_those_it_has_no_room_for_go_on_and_move_later(start_backend: StartBackend) -> None:
    async with open_succession(await start_backend(serve)) as succession:
        old = succession.workers[0]
        clients = await one_of_each(succession)
        successor = Successor(await succession.hand_over(old))
        await successor.hear()
        await successor.channel.send(Taken(taken=(), refused=(), room=1))
        offered = await successor.hear()
        assert isinstance(offered, Offered)
        assert len(offered.parcels) == 1
        await successor.channel.send(Taken(taken=(0,), refused=(), room=0))
        assert (await old.moves()).left == 3
        for tunnel in clients[2:]:
            await tunnel.send(b"more")
            assert await tunnel.receive_exactly(4) == b"more"
        assert await successor.hear() == Offered(parcels=())
        await successor.channel.send(ROOM)
        assert len((await successor.offered()).parcels) == 3
        await successor.channel.send(Taken(taken=(0, 1, 2), refused=(), room=9))
        await old.over.wait()
        successor.die()


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
    """So soon before that its task has not run since."""
    next_batch = Departure._next_batch

    def cut_first(self: Departure) -> list[_Offering]:
        for offering in self._queue:
            offering.node.scope.cancel(reason="killed by the operator")
        return next_batch(self)

    async with open_succession(await start_backend(serve)) as succession:
        old = succession.workers[0]
        clients = await one_of_each(succession)
        monkeypatch.setattr(Departure, "_next_batch", cut_first)
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


async def test_too_many_descriptors_on_their_way_is_tried_again(
    start_backend: StartBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = Channel[Taken].send
    failures = [OSError(errno.ETOOMANYREFS, "too many references")] * 2

    async def fail_at_first(self: Channel[Taken], message: object, descriptors: list[int] = []) -> None:  # noqa: B006
        if isinstance(message, Offered) and message.parcels and failures:
            raise failures.pop()
        await send(self, message, descriptors)

    monkeypatch.setattr(Channel, "send", fail_at_first)
    async with open_succession(await start_backend(serve)) as succession:
        clients = await one_of_each(succession)
        _, said = await succession.succeed()
        assert said.left > 0
        await all_go_on(clients)
        await succession.workers[0].over.wait()
        await all_go_on(clients)
        assert not failures


async def test_descriptors_that_are_lost_are_no_sessions_that_are(
    start_backend: StartBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_succession(await start_backend(serve)) as succession:
        clients = await one_of_each(succession)
        new = await succession.start()
        receive = Channel[Offer]._receive_packet
        lose = [True, True]

        async def lose_some(self: Channel[Offer]) -> tuple[bytes, list[int], bool]:
            packet, descriptors, lost = await receive(self)
            if len(descriptors) > 1 and lose:
                close_all(descriptors[1:])
                return packet, descriptors[:1], lose.pop()
            return packet, descriptors, lost

        monkeypatch.setattr(Channel, "_receive_packet", lose_some)
        said = await succession.move(succession.workers[0], new)
        assert said.moved == 0
        await all_go_on(clients)
        await succession.workers[0].over.wait()
        assert not lose
        assert len(await new.sessions()) == 4
        await all_go_on(clients)


async def test_one_that_cannot_even_count_its_descriptors_has_no_room_for_now(
    start_backend: StartBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    listdir = os.listdir
    free = [False]

    def fail_at_first(path: str) -> list[str]:
        if path == arrival.OPEN and not free[0]:
            raise OSError(errno.EMFILE, "Too many open files")
        return listdir(path)

    monkeypatch.setattr(os, "listdir", fail_at_first)
    async with open_succession(await start_backend(serve)) as succession:
        clients = await one_of_each(succession)
        _, said = await succession.succeed()
        assert (said.moved, said.left) == (0, 4)
        await trio.sleep(5)
        await all_go_on(clients)
        free[0] = True
        await succession.workers[0].over.wait()
        assert not succession.workers[0].stranded
        await all_go_on(clients)


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


async def test_one_without_a_free_descriptor_hands_over(start_backend: StartBackend) -> None:
    async with open_succession(await start_backend(serve)) as succession:
        old = succession.workers[0]
        await one_of_each(succession)
        first, second = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with second, every_descriptor_taken():
            await old.ask(HandOver, second.fileno(), grace=60)
        successor = Successor(Channel(first, OFFERS))
        assert len((await successor.offered()).parcels) == 4
        await successor.channel.send(Taken(taken=(0, 1, 2, 3), refused=(), room=500))
        await old.over.wait()
        successor.die()


@pytest.mark.parametrize("listener", ["", "expect_proxy = true"])
async def test_the_idle_for_whom_there_is_no_room_leave_where_descriptors_are_needed(
    listener: str, start_backend: StartBackend
) -> None:
    async with open_succession(await start_backend(serve), http_listener=listener) as succession:
        old = succession.workers[0]
        clients = [await succession.client() for _ in range(2)]
        if not listener:
            await served(clients[0])
        await wait_all_tasks_blocked()
        successor = Successor(await succession.hand_over(old))
        await successor.hear()
        await successor.channel.send(Taken(taken=(), refused=(), room=0))
        assert (await old.moves()).left == 2
        await wait_all_tasks_blocked()
        begun = trio.current_time()
        assert old.proxy.relieve() >= 2
        for client in clients:
            assert await client.receive_all() == b""
        assert trio.current_time() == pytest.approx(begun, abs=0.5)
        await old.over.wait()
        assert old.stopped is not None
        assert old.stopped.cut == 0
        successor.die()


async def test_an_end_of_the_channel_for_want_of_something_is_complained_of(
    start_backend: StartBackend, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(self: arrival.Arrival) -> bool:
        raise OSError(errno.ENOMEM, "Cannot allocate memory")

    monkeypatch.setattr(arrival.Arrival, "_answer_next", fail)
    async with open_succession(await start_backend(serve)) as succession:
        clients = await one_of_each(succession)
        _, said = await succession.succeed()
        assert (said.moved, said.left) == (0, 4)
        await all_go_on(clients)
        assert succession.workers[0].stranded == [Stranded(left=4)]
    assert "it keeps the sessions it has: [Errno 12] Cannot allocate memory" in caplog.text


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


async def test_room_is_what_is_left_of_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1000, 1000))
    spare = arrival.Spare()
    there = len(os.listdir(arrival.OPEN))
    assert spare.count() == pytest.approx(1000 - there - arrival.RESERVE, abs=2)
    before = spare.count()
    spare.use(100)
    assert spare.count() == before - 100
    await trio.sleep(arrival.COUNT_AGAIN)
    assert spare.count() == before
    spare.use(5000)
    assert spare.count() == 0
    spare.forget()
    assert spare.count() == before
