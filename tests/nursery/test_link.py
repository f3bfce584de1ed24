"""A line to main that breaks off, and is taken up again or not."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sozu_trio.control.channel import Channel, channel_pair
from sozu_trio.control.messages import Counted, Report
from sozu_trio.nursery.link import Link

pytestmark = pytest.mark.virtual_time
WORD = Counted(counters=(1,))


def made() -> tuple[Channel[Report], Link]:
    main, worker = channel_pair()
    return main, Link(worker)


async def test_what_is_sent_arrives() -> None:
    main, link = made()
    await link.send(WORD)
    assert await main.receive() == (WORD, [])
    assert await link.regained()
    main.close()
    link.lose()


async def test_between_two_mains_there_is_nobody() -> None:
    first, link = made()
    first.close()
    for _ in range(2):
        with pytest.raises(BrokenPipeError):
            await link.send(WORD)
    waiting = trio.Event()

    async def send_again() -> None:
        assert await link.regained()
        await link.send(WORD)
        waiting.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send_again)
        await wait_all_tasks_blocked()
        link.lose()
        await wait_all_tasks_blocked()
        assert not waiting.is_set()
        second, worker = channel_pair()
        link.take(worker)
    assert await second.receive() == (WORD, [])
    second.close()
    link.lose()


async def test_who_sends_while_main_is_lost_does_not_hang() -> None:
    main, link = made()
    failed: list[bool] = []

    async def send_for_ever() -> None:
        while True:
            await link.send(WORD)

    async def send() -> None:
        with pytest.raises(BrokenPipeError):
            await send_for_ever()
        failed.append(await link.regained())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        await wait_all_tasks_blocked()
        link.lose()
        link.give_up()
    assert failed == [False]
    main.close()


async def test_the_last_main_is_spoken_to_until_it_goes() -> None:
    main, link = made()
    link.give_up()
    await link.send(WORD)
    assert await main.receive() == (WORD, [])
    main.close()
    with pytest.raises(BrokenPipeError):
        await link.send(WORD)
    assert not await link.regained()
    link.lose()
