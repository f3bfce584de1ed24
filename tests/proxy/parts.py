"""What the tests of the proxy share: messages, fields, and a network of proxies, backends and clients."""

import socket
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import zip_longest

import trio

from sozu_trio.config.addresses import Address
from sozu_trio.config.listeners import HttpListener
from sozu_trio.config.load import Config
from sozu_trio.main.declared import declared_by
from sozu_trio.nursery.drain import Drain
from sozu_trio.nursery.listener import ListenerNode, SessionNode
from sozu_trio.nursery.places import Places
from sozu_trio.proxy.http1 import HttpConnection
from sozu_trio.proxy.proxy import Proxy
from sozu_trio.proxy.stream import Piece, Stream
from sozu_trio.routing.compile import compile_table
from sozu_trio.testing import BackendConnection, Client, RunningProxy
from sozu_trio.testing.plugin import StartBackend, StartProxy
from tests.nursery.counting import alone

HOST = b"Host: example.com\r\n"
GET = b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
MEGABYTE = bytes(range(256)) * 4096
Pair = tuple[socket.socket, Stream]
"""A peer, and the stream to it."""
LONG = 2000.0
"""Virtual seconds after which a test hangs."""
LONG_IN_REAL_TIME = 20.0
"""The same where the clock is real."""

CONFIGURATION = """
{top}
[[listeners]]
protocol = "http"
address = "$http"
{listener}

[clusters.api]
protocol = "http"
frontends = [{{ address = "$http", hostname = "{hostname}"{frontend} }}]
{cluster}
backends = [{backends}]
"""


def request(line: str = "GET /", *fields: str, version: str = "1.1") -> bytes:
    """A request head for example.com."""
    return "\r\n".join([f"{line} HTTP/{version}", "Host: example.com", *fields, "", ""]).encode()


def fields_of(head: bytes) -> list[tuple[bytes, bytes]]:
    """(lower-case name, value) of each field line of `head`."""
    pairs = [line.split(b": ", 1) for line in head.split(b"\r\n\r\n")[0].split(b"\r\n")[1:]]
    return [(name.lower(), value) for name, value in pairs]


def values(head: bytes, name: bytes) -> list[bytes]:
    """What the fields called `name` (lower case) say."""
    return [value for field, value in fields_of(head) if field == name]


async def at_end(connection: BackendConnection) -> bytes:
    """What still comes until the proxy closes; a reset ends it like a FIN."""
    try:
        return await connection.receive_all()
    except trio.BrokenResourceError:
        return b""


async def is_reset(client: Client) -> bool:
    """Whether the connection ends by RST, whatever comes before."""
    try:
        await client.receive_all()
    except trio.BrokenResourceError:
        return True
    return False


class Net:
    """Proxies, their backends and clients; all of them end with the test."""

    def __init__(self, start_backend: StartBackend, start_proxy: StartProxy) -> None:
        self.backend = start_backend
        """`await net.backend(script)`: see `sozu_trio.testing.plugin.start_backend`."""
        self.clients: list[Client] = []
        self.proxies: list[RunningProxy] = []
        self._start_proxy = start_proxy

    async def start(self, text: str, **backends: object) -> RunningProxy:
        """A proxy that serves the configuration `text`: see `sozu_trio.testing.plugin.start_proxy`."""
        self.proxies.append(await self._start_proxy(text, **backends))
        return self.proxies[-1]

    async def proxy(
        self,
        *backends: object,
        top: str = "",
        listener: str = "",
        cluster: str = "",
        hostname: str = "example.com",
        frontend: str = "",
        backend: Sequence[str] = (),
    ) -> RunningProxy:
        """A proxy with one http listener for `hostname` and one cluster, `api`, of `backends`.

        `top`, `listener` and `cluster` are lines added to these tables, `frontend` and `backend[n]` to their rows.
        """
        rows = ", ".join(
            f'{{ backend_id = "b{n}", address = "$b{n}"{row} }}'
            for n, (_, row) in enumerate(zip_longest(backends, backend, fillvalue=""))
        )
        text = CONFIGURATION.format(
            top=top,
            listener=listener,
            cluster=cluster,
            hostname=hostname,
            frontend=frontend,
            backends=rows,
        )
        return await self.start(text, **{f"b{n}": each for n, each in enumerate(backends)})

    async def client(self, proxy: RunningProxy) -> Client:
        """A connection to `proxy`."""
        self.clients.append(await proxy.connect())
        return self.clients[-1]


async def counters_of(proxy: RunningProxy) -> dict[str, int]:
    """Those that have counted anything."""
    await proxy.supervisor.look("counters")
    return {name: value for name, value in proxy.supervisor.counters().snapshot().items() if value}


async def access_log(proxy: RunningProxy, count: int) -> list[str]:
    """The access log once it has `count` lines."""
    while len(proxy.access_log) < count:  # noqa: ASYNC110 - lines arrive in batches, by a channel
        await trio.sleep(0.1)
    return proxy.access_log


class Feed:
    """Stands for a socket whose peer is never slow: gives `parts` one by one, then the end, and takes what it is sent.

    A part that is an exception is raised.
    """

    def __init__(self, parts: Iterable[bytes | Exception] = ()) -> None:
        self.asked: list[int] = []
        """The sizes that were asked for."""
        self.sent: list[bytes] = []
        self._parts = iter(parts)

    def recv(self, size: int) -> bytes:
        self.asked.append(size)
        part = next(self._parts, b"")
        if isinstance(part, Exception):
            raise part
        assert len(part) <= size
        return part

    def send(self, data: bytes) -> int:
        self.sent.append(bytes(data))
        return len(data)

    def sendmsg(self, pieces: Iterable[Piece]) -> int:
        return self.send(b"".join(pieces))


@dataclass(frozen=True, slots=True)
class Alone:
    """One session of a data path of its own, of which a test may see everything."""

    proxy: Proxy
    drain: Drain
    client: Client
    scope: trio.CancelScope
    """Of the session alone, as a stop cancels it."""
    session: SessionNode


@asynccontextmanager
async def open_alone(config: Config, *, begin: bytes = b"", draining: bool = False) -> AsyncIterator[Alone]:
    """A session on the listener of `config`, in a task called "session"; `begin` is in its socket before it starts."""
    proxy = Proxy(config.program, 0, Places(alone(), config.program.settings))
    proxy.swap(compile_table(declared_by(config), 1))
    (listener,) = config.listeners
    assert isinstance(listener, HttpListener)
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.send(begin)
    client = Client(trio.SocketStream(trio.socket.from_stdlib_socket(theirs)))
    node = ListenerNode(("tcp", listener.address), ours)
    if draining:
        node.drain.start()
    session = SessionNode("name", ours, None, node, trio.current_time())
    peer = Address("192.0.2.7", 5000)
    connection = HttpConnection(proxy, session, Stream(ours, 60), listener, peer, listener.address, b"")

    scope = trio.CancelScope()

    async def run() -> None:
        with scope:
            await connection.run()

    async with trio.open_nursery() as services, trio.open_nursery() as sessions:
        services.start_soon(proxy.wheel.run)
        sessions.start_soon(run, name="session")
        try:
            yield Alone(proxy, node.drain, client, scope, session)
        finally:
            await trio.aclose_forcefully(client.stream)
            services.cancel_scope.cancel(reason="the test is over")
            proxy.close_unused()
