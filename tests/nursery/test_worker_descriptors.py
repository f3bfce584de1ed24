"""A worker that has no descriptor free costs nobody a session but those who only wait."""

import errno
import socket
from typing import NoReturn

import pytest
from trio.testing import wait_all_tasks_blocked

from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import Cluster
from sozu_trio.control.channel import INLINE_SIZE
from sozu_trio.control.messages import (
    Amend,
)
from sozu_trio.nursery.accept import Relieve, Take, accept_forever
from sozu_trio.nursery.overload import Overload
from sozu_trio.nursery.pressure import RELIEF
from sozu_trio.nursery.shortage import Shortage
from sozu_trio.routing.delta import Delta
from tests.descriptors import no_descriptor_free
from tests.nursery.parts import connected, listening, send_large
from tests.nursery.worker_parts import is_closed, started

pytestmark = pytest.mark.virtual_time


async def test_descriptors_that_run_out_make_the_idle_leave_oldest_first_over_all_listeners(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    relieve: list[Relieve] = []

    async def accept(
        sock: socket.socket,
        take: Take,
        ask_for_relief: Relieve,
        turn_away: Take,
        overload: Overload,
        shortage: Shortage,
    ) -> NoReturn:
        relieve.append(ask_for_relief)
        await accept_forever(sock, take, ask_for_relief, turn_away, overload, shortage)

    monkeypatch.setattr("sozu_trio.nursery.listener.accept_forever", accept)
    async with started() as main:
        with listening() as first, listening() as second:
            await main.listen(first)
            await main.listen(second, Address("127.0.0.1", 1))
            with connected(second, 10) as old:
                await wait_all_tasks_blocked()
                with connected(first, 10) as young:
                    await wait_all_tasks_blocked()
                    main.handler.freed = 2
                    relieve[0](OSError(errno.EMFILE, "Too many open files"))
                    await wait_all_tasks_blocked()
                    assert (sum(map(is_closed, old)), sum(map(is_closed, young))) == (10, RELIEF - 2 - 10)
                    main.handler.freed = 100
                    relieve[1](OSError(errno.EMFILE, "Too many open files"))
                    await wait_all_tasks_blocked()
                    assert sum(map(is_closed, young)) == RELIEF - 2 - 10
        main.channel.close()
    told = [record.getMessage() for record in caplog.records if "cannot accept" in record.getMessage()]
    assert told == [
        "listener tcp 127.0.0.1:8080: cannot accept: Too many open files; 16 descriptors given back",
        "listener tcp 127.0.0.1:1: cannot accept: Too many open files; 100 descriptors given back",
    ]


async def test_a_message_that_finds_no_descriptor_free_costs_only_the_idle(caplog: pytest.LogCaptureFixture) -> None:
    large = Delta(clusters=(Cluster(cluster_id="x" * INLINE_SIZE, protocol="http"),))
    async with started() as main:
        with listening() as first, listening() as second:
            await main.listen(first)
            with connected(first, 2) as clients:
                clients[0].send(b"busy")
                await wait_all_tasks_blocked()
                send_large(main.sock, Amend(serial=4, attempt=1, base=None, delta=large))
                with no_descriptor_free():
                    # Nobody answers what nobody could read.
                    failure = await main.listen(second, Address("127.0.0.1", 1))
                assert failure == "Listen was cut short: no descriptor free for what came with it"
                await wait_all_tasks_blocked()
                assert [is_closed(client) for client in clients] == [False, True]
                assert await main.listen(second, Address("127.0.0.1", 1)) is None
                main.handler.release.set()
                main.channel.close()
                await wait_all_tasks_blocked()
    told = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert [line.partition(":")[0] for line in told] == ["a large message was cut short", "Listen was cut short"]
