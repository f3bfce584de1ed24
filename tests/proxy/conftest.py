"""Fixtures for tests of the proxy: `net` for proxies, backends and clients, `serve` and `connect` for tcp sessions,
`clock` for virtual time, `pair` for a stream alone, `house` for https, `leaving` for what is sent in two ways,
`ends` for relays and tunnels.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from sozu_trio.proxy.pipes import PipeStock
from sozu_trio.proxy.stream import Stream
from sozu_trio.testing import Client, RunningProxy
from sozu_trio.testing.plugin import StartBackend, StartProxy
from tests.nursery.parts import tcp_pair
from tests.proxy.https_house import House, left_in_order
from tests.proxy.parts import LONG, LONG_IN_REAL_TIME, Net, Pair
from tests.proxy.relay_ends import Ends, NoPipes
from tests.proxy.tcp_sessions import CONFIG, Start


@pytest.fixture
def clock() -> MockClock:
    """Virtual time, for tests that name it: it jumps to the next deadline when nothing else is left to do."""
    return MockClock(autojump_threshold=0)


@pytest.fixture
def pair() -> Iterator[Pair]:
    """A peer, and the stream to it."""
    peer, ours = tcp_pair()
    peer.setblocking(False)
    with peer, ours:
        yield peer, Stream(ours, 5)


@pytest.fixture(params=["at once", "in a volley"])
def leaving(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """How small messages leave: as where there are few sessions, and as where there are many."""
    if request.param == "in a volley":
        monkeypatch.setattr("sozu_trio.nursery.volley.VOLLEY_FROM", 0)


@pytest.fixture
async def net(
    request: pytest.FixtureRequest, start_backend: StartBackend, start_proxy: StartProxy
) -> AsyncIterator[Net]:
    """Proxies, backends and clients. A test that hangs fails: after a while, or at once where time is virtual.

    So does one in which a session fails by an exception that nobody foresaw.
    """

    async def watch() -> None:
        await trio.sleep(LONG if "clock" in request.fixturenames else LONG_IN_REAL_TIME)
        raise TimeoutError("the test hangs")

    net = Net(start_backend, start_proxy)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        yield net
        nursery.cancel_scope.cancel(reason="the test is over")
    for client in net.clients:
        await trio.aclose_forcefully(client.stream)
    assert not [line for proxy in net.proxies for line in proxy.log if "Traceback" in line]


@pytest.fixture
def serve(start_proxy: StartProxy) -> Start:
    """`proxy = await serve(backend, …)`: a tcp listener in front of them."""

    async def start(
        *backends: object, front: float = 60, back: float = 30, listener: str = "", cluster: str = "", top: str = ""
    ) -> RunningProxy:
        rows = ", ".join(f'{{ address = "$b{n}", backend_id = "b{n}" }}' for n in range(len(backends)))
        text = CONFIG.format(front=front, back=back, listener=listener, cluster=cluster, backends=rows, top=top)
        return await start_proxy(text, **{f"b{n}": each for n, each in enumerate(backends)})

    return start


@pytest.fixture
async def connect() -> AsyncIterator[Callable[[RunningProxy], Awaitable[Client]]]:
    """`client = await connect(proxy)`: a session of its tcp listener."""
    clients: list[Client] = []

    async def open_client(proxy: RunningProxy) -> Client:
        clients.append(await proxy.connect("tcp"))
        return clients[-1]

    yield open_client
    for client in clients:
        await trio.aclose_forcefully(client.stream)


@pytest.fixture
async def house(tmp_path: Path, start_proxy: StartProxy, start_backend: StartBackend) -> AsyncIterator[House]:
    """An https listener before a backend."""
    house = House(tmp_path, start_proxy, start_backend)
    async with left_in_order(house):
        yield house


@pytest.fixture(params=[PipeStock, NoPipes], ids=["spliced", "copied"])
def ends(request: pytest.FixtureRequest) -> Iterator[Ends]:
    """A client and a backend on either side of a proxy, which has pipes or has none."""
    made = Ends(request.param())
    yield made
    made.close()
