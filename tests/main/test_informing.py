"""When a service manager is told: at once what it waits for, once a second what people read."""

import pytest
import trio

from sozu_trio.config.addresses import Address
from sozu_trio.control.messages import Commit
from sozu_trio.errors import NotConfirmed
from sozu_trio.main.informing import LOOK, keep_informed, serving, until_in_step
from sozu_trio.main.service_manager import ServiceManager
from sozu_trio.nursery.supervisor import HEALING_PERIOD, Supervisor
from sozu_trio.testing.plugin import StartBackend, StartProxy
from tests.nursery.parts import Workers
from tests.nursery.supervising import PROGRAM, listening_at

pytestmark = pytest.mark.virtual_time

CONFIG = """
[[listeners]]
protocol = "http"
address = "$http"
[clusters.api]
protocol = "http"
frontends = [{ address = "$http", hostname = "*" }]
backends = [{ address = "$api", backend_id = "b" }]
"""


class Recorded(ServiceManager):
    """One that keeps what it is told, and when."""

    def __init__(self, watchdog: float | None = None) -> None:
        super().__init__("@nobody", watchdog=watchdog)
        self.begun = trio.current_time()
        self.told: list[tuple[float, str]] = []

    def _say_surely(self, *lines: str) -> None:
        self._say(*lines)

    def _say(self, *lines: str) -> None:
        self.told.append((round(trio.current_time() - self.begun, 6), lines[0]))


async def test_it_is_told_what_goes_on(start_proxy: StartProxy, start_backend: StartBackend) -> None:
    proxy = await start_proxy(CONFIG, api=await start_backend())
    supervisor, manager = proxy.supervisor, Recorded()
    client = await proxy.connect()
    assert (await client.get()).status == 200
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keep_informed, manager, supervisor)
        await trio.sleep(1.5)
        await supervisor.change(supervisor.state, 2)
        await trio.sleep(2)
        await client.send(b"GET / HTTP/1.1\r\n")
        nursery.start_soon(supervisor.stop, None)
        await trio.sleep(1.25)
        nursery.cancel_scope.cancel(reason="told enough")
    assert manager.told == [
        (0, "READY=1"),
        (2, f"STATUS=generation 2, listening on {proxy.addresses['http']}"),
        (3.5, "STOPPING=1"),
        (3.5, "EXTEND_TIMEOUT_USEC=10000000"),
        (4.5, "EXTEND_TIMEOUT_USEC=10000000"),
    ]
    await client.close()


async def test_every_worker_is_waited_for() -> None:
    workers = Workers()
    workers.ignored_of[1] = {Commit}
    supervisor = Supervisor(PROGRAM, workers.spawn, workers.take_lines, workers=2)
    done: list[bool] = []

    async def wait() -> None:
        done.append(await until_in_step(supervisor))

    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        with pytest.raises(NotConfirmed):
            await supervisor.change(listening_at(), 1)
        nursery.start_soon(wait)
        await trio.sleep(10 * LOOK)
        assert done == []
        workers.ignored_of.clear()
        workers.kill(workers.ids.index(1))
        await trio.sleep(HEALING_PERIOD / 5)
        assert done == [True]
        await supervisor.stop(0)


async def test_a_stop_ends_the_wait_and_nobody_is_told_that_we_are_ready() -> None:
    supervisor, manager = Supervisor(PROGRAM, Workers().spawn, Workers().take_lines), Recorded()
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        nursery.start_soon(supervisor.stop, 0)
        assert not await until_in_step(supervisor)
        nursery.start_soon(keep_informed, manager, supervisor)
        await trio.sleep(0.5)
        nursery.cancel_scope.cancel(reason="told enough")
    assert [said for _, said in manager.told] == ["STOPPING=1", "EXTEND_TIMEOUT_USEC=10000000"]


async def test_it_sees_a_sign_of_life_twice_as_often_as_it_must(
    start_proxy: StartProxy, start_backend: StartBackend
) -> None:
    proxy = await start_proxy(CONFIG, api=await start_backend())
    manager = Recorded(watchdog=3)
    with trio.move_on_after(5):
        await keep_informed(manager, proxy.supervisor)
    assert [moment for moment, said in manager.told if said == "WATCHDOG=1"] == [0, 1.5, 3, 4.5]


async def test_without_a_manager_nothing_is_done(start_proxy: StartProxy, start_backend: StartBackend) -> None:
    proxy = await start_proxy(CONFIG, api=await start_backend())
    await keep_informed(ServiceManager(), proxy.supervisor)


@pytest.mark.parametrize(
    ("listening", "told"),
    [
        (0, "nothing"),
        (1, "127.0.0.1:1"),
        (2, "127.0.0.1:1 and 127.0.0.1:2"),
        (6, "127.0.0.1:1, 127.0.0.1:2, 127.0.0.1:3, 127.0.0.1:4, 127.0.0.1:5 and 127.0.0.1:6"),
        (9, "127.0.0.1:1, 127.0.0.1:2, 127.0.0.1:3, 127.0.0.1:4, 127.0.0.1:5 and 4 more"),
    ],
)
async def test_where_it_listens(
    listening: int, told: str, start_proxy: StartProxy, start_backend: StartBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy = await start_proxy(CONFIG, api=await start_backend())
    addresses = [Address("127.0.0.1", number + 1) for number in range(listening)]
    monkeypatch.setattr(type(proxy.supervisor), "listening", addresses)
    assert serving(proxy.supervisor) == f"generation 1, listening on {told}"
