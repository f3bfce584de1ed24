"""Successors that have no room, and workers without descriptors: who cannot move is served on, or leaves in order."""

import errno
import os
import resource
import socket

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sozu_trio.control.channel import Channel, close_all
from sozu_trio.control.messages import HandOver, Stranded
from sozu_trio.control.moves import OFFERS, Offer, Offered, Taken
from sozu_trio.nursery import arrival
from sozu_trio.testing.plugin import StartBackend
from tests.descriptors import every_descriptor_taken
from tests.proxy.moving import ROOM, Successor, open_succession
from tests.proxy.succeeding import all_go_on, one_of_each, serve, served

pytestmark = pytest.mark.virtual_time


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
