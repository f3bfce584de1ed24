"""What a worker without main says to whoever comes, and whom it takes for the next main."""

import math
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from sozu_trio.config.addresses import Address
from sozu_trio.config.program import Program
from sozu_trio.control.channel import Channel, channel_pair
from sozu_trio.control.messages import PROTOCOL, REPORTS, Adopt, Adopted, Ask, Beat, Holding, Reply, Report
from sozu_trio.errors import ChannelError
from sozu_trio.nursery.door import knock, make_door
from sozu_trio.nursery.orphan import AT_ONCE, AWAY, PATIENCE, Door, Held, OtherProtocol, await_main, introduce

pytestmark = pytest.mark.virtual_time
ITSELF = Adopted(worker_id=3, program=Program(orphan_timeout=5), secret="00" * 16, leaving=True, seconds_left=4.5)


@asynccontextmanager
async def introducing(*held: Held) -> AsyncIterator[Channel[Report]]:
    """Main's end of a channel on whose other end worker 3 introduces itself."""
    main, worker = channel_pair()
    place = os.memfd_create("where")
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(introduce, worker, ITSELF, held, (place, place))
            yield main
    finally:
        os.close(place)
        main.close()
        worker.close()


async def test_it_tells_what_it_has() -> None:
    count = AT_ONCE + 1
    key = "tcp", Address("127.0.0.1", 1)
    with socket.create_server(("127.0.0.1", 0)) as sock:
        async with introducing(*[(owner, key, sock) for owner in range(count)]) as main:
            await main.send(Adopt(serial=9, protocol=PROTOCOL))
            owners: list[int] = []
            while isinstance(report := await says(main, sock), Holding):
                owners += [owner for owner, _, _ in report.sockets]
                assert {(transport, address) for _, transport, address in report.sockets} == {key}
            assert owners == list(range(count))
            assert report == ITSELF
            assert await says(main) == Reply(serial=9)


async def says(main: Channel[Report], sock: socket.socket | None = None) -> Report:
    """The next report; each listening socket that comes with it is `sock`."""
    received = await main.receive()
    assert received is not None
    report, descriptors = received
    for descriptor in descriptors:
        if isinstance(report, Holding):
            assert sock is not None
            assert os.path.samestat(os.fstat(descriptor), os.fstat(sock.fileno()))
        os.close(descriptor)
    if isinstance(report, Holding):
        assert len(report.sockets) == len(descriptors)
    return report


async def test_a_main_of_another_protocol_is_told() -> None:
    with pytest.RaisesGroup(OtherProtocol):
        async with introducing() as main:
            await main.send(Adopt(serial=9, protocol=PROTOCOL + 1))
            reply = await says(main)
            assert reply == Reply(serial=9, failure=f"the worker speaks protocol {PROTOCOL}, main {PROTOCOL + 1}")


async def test_whoever_asks_first_is_no_main() -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(ChannelError, match="the first message was Beat, not Adopt")):
        async with introducing() as main:
            await main.send(Beat(serial=1))


async def test_whoever_says_nothing_is_none_either() -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(ChannelError, match="has gone again")):
        async with introducing() as main:
            main.close()


async def test_it_waits_until_somebody_comes_who_makes_sense(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sock, path = make_door(tmp_path, 0)
    door = Door(sock)
    found: list[Channel[Ask]] = []

    async def hear(channel: Channel[Ask]) -> None:
        received = await channel.receive()
        if received is None:
            raise ChannelError("nothing")

    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            found.append(await door.next_main(hear))

        nursery.start_soon(wait)
        gone, _ = knock(path)
        gone.close()
        silent, _ = knock(path)
        with silent:
            await trio.sleep(PATIENCE + 1)
        assert found == []
        main, pid = knock(path)
        assert pid == os.getpid()
        channel = Channel(main, REPORTS)
        await channel.send(Beat(serial=1))
    assert caplog.messages == ["not adopted: nothing", "not adopted: TooSlowError"]
    await found[0].send(Reply(serial=1))
    assert await channel.receive() == (Reply(serial=1), [])
    for each in (channel, found[0], door):
        each.close()


async def test_at_a_closed_door_nobody_waits(tmp_path: Path) -> None:
    sock, path = make_door(tmp_path, 0)
    door = Door(sock)
    door.close()
    with pytest.raises(ConnectionRefusedError):
        knock(path)

    async def hear(_: Channel[Ask]) -> None:
        pytest.fail("nobody has come")

    with pytest.raises(trio.ClosedResourceError):
        await door.next_main(hear)


@pytest.mark.parametrize(("patience", "said"), [(300, "serving on for 300 s"), (math.inf, "serving on until another")])
async def test_only_a_main_that_stays_away_is_complained_of(
    patience: float, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    other, channel = channel_pair()

    async def come(after: float) -> Any:
        await trio.sleep(after)
        return channel

    assert await await_main(partial(come, AWAY / 2), patience) is channel
    assert caplog.text == ""
    assert await await_main(partial(come, AWAY + 1), patience) is channel
    assert f"main is gone: {said}" in caplog.text
    channel.close()
    other.close()


async def test_nobody_comes_through_a_door_that_is_closed_or_when_it_is_too_late() -> None:
    async def closed() -> Any:
        raise trio.ClosedResourceError

    assert await await_main(closed, 1) is None
    assert await await_main(trio.sleep_forever, AWAY / 2) is None
    assert await await_main(trio.sleep_forever, AWAY * 2) is None
