"""Backends that are removed while they serve: changes of their set, and conversations that take their time."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import h11
import trio

from sozu_trio.config.clusters import Backend
from sozu_trio.routing.drains import Drains
from sozu_trio.testing import BackendConnection, Response, RunningProxy
from sozu_trio.testing.clients import Peer
from tests.proxy.parts import request

DROPS = 9
"""Pieces of a conversation, one a second."""
WHOLE = b"x" * DROPS

NEVER = -1.0
"""When a conversation that has not ended ended."""


async def put_backends(proxy: RunningProxy, backends: Mapping[str, Backend], drains: Drains | None = None) -> None:
    """Give cluster `api` these backends and no others."""
    supervisor = proxy.supervisor
    state = replace(supervisor.state, backends={"api": dict(backends)} if backends else {})
    await supervisor.change(state, supervisor.generation + 1, drains=drains or Drains())
    await trio.sleep(0.01)


async def remove(proxy: RunningProxy, grace: float | None = 0, backend_id: str = "b0") -> Backend:
    """Remove a backend of cluster `api`; what it serves is cut after `grace` seconds, never for None."""
    backends = dict(proxy.supervisor.state.backends["api"])
    gone = backends.pop(backend_id)
    await put_backends(proxy, backends, Drains(backends={("api", backend_id): grace}))
    return gone


async def put(proxy: RunningProxy, backend: Backend, grace: float | None = None) -> None:
    """Add a backend to cluster `api`, or put it in place of the one of its name, with `grace` for that."""
    backends = {**proxy.supervisor.state.backends.get("api", {}), backend.backend_id: backend}
    await put_backends(proxy, backends, Drains(backends={("api", backend.backend_id): grace}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Speech:
    """What one side says: `first`, then a `drop` a second, then `last`; perhaps it shuts its side then."""

    first: bytes = b""
    drop: bytes = b""
    last: bytes = b""
    shuts: bool = False

    async def say(self, peer: Peer) -> None:
        """All of it; the rest is kept where the other side has gone."""
        try:
            await peer.send(self.first)
            for _ in range(DROPS):
                await trio.sleep(1)
                await peer.send(self.drop)
            # The client's end comes before the backend's, so that no response comes before its request is whole.
            await trio.sleep(0.1 if self.first[:4] in {b"GET ", b"POST"} else 0.2)
            await peer.send(self.last)
            if self.shuts:
                await peer.send_eof()
        except trio.BrokenResourceError:
            pass


@dataclass(slots=True)
class Hearing:
    """What one side has heard, and how that ended: "open", "end" or "reset", and when."""

    data: bytes = b""
    end: str = "open"
    at: float = NEVER

    async def listen(self, peer: Peer, others: trio.CancelScope) -> None:
        """To the end of `peer`; `others` have nothing more to do where it is a reset."""
        try:
            while data := await peer.stream.receive_some(65536):
                self.data += data
            self.end = "end"
        except trio.BrokenResourceError:
            self.end = "reset"
            others.cancel(reason="it was reset")
        self.at = trio.current_time()


async def converse(peer: Peer, speech: Speech, hearing: Hearing) -> None:
    """Speak and listen at the same time, until both are over."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(speech.say, peer)
        nursery.start_soon(hearing.listen, peer, nursery.cancel_scope)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A conversation by what both sides say."""

    client: Speech
    backend: Speech
    speaks: bool = True
    """The client begins with a request head, which the backend waits for."""
    payload: bytes = b""
    """What the backend gets behind the head where nothing is cut."""
    uploads: bool = False

    @property
    def listener(self) -> str:
        return "http" if self.speaks else "tcp"

    def was_whole(self, heard: bytes) -> bool:
        """Whether the client that has heard this, and then the end, has all of it."""
        if not self.speaks:
            return heard == WHOLE
        if b" 101 " in heard.partition(b"\r\n")[0]:
            return heard.partition(b"\r\n\r\n")[2] == WHOLE
        response = parse(heard, self.client.first.split()[0].decode(), ended=True)
        return response is not None and (response.status, response.body) == (200, b"ok" if self.uploads else WHOLE)


@dataclass(slots=True)
class Heard:
    """What was heard by each side of one conversation."""

    client: Hearing = field(default_factory=Hearing)
    backend: Hearing = field(default_factory=Hearing)


async def answer(kind: Kind, connection: BackendConnection, hearing: Hearing) -> None:
    """The backend's side of a conversation."""
    if kind.speaks:
        await connection.read_head()
    await converse(connection, kind.backend, hearing)


def parse(heard: bytes, method: str, *, ended: bool) -> Response | None:
    """The response that h11 takes `heard` for, None where it is not whole; `ended`: by FIN."""
    reader = h11.Connection(h11.CLIENT)
    reader.send(h11.Request(method=method, target="/", headers=[("Host", "any")]))
    reader.send(h11.EndOfMessage())
    reader.receive_data(heard)
    if ended:
        reader.receive_data(b"")
    response = Response(0, {})
    while True:
        try:
            event = reader.next_event()
        except h11.RemoteProtocolError:
            return None
        if isinstance(event, h11.Response):
            response.status = event.status_code
        elif isinstance(event, h11.Data):
            response.body += event.data
        elif isinstance(event, h11.EndOfMessage):
            return response
        else:
            return None


OK = b"HTTP/1.1 200 OK\r\n"
CHUNK = b"1\r\nx\r\n"
LAST_CHUNK = b"0\r\n\r\n"
LENGTH = OK + b"Content-Length: %d\r\n\r\n" % DROPS
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
ANSWER = OK + b"Content-Length: 2\r\n\r\nok"
UPGRADE = request("GET /chat", "Connection: upgrade", "Upgrade: websocket")


def download(backend: Speech, version: str) -> Kind:
    return Kind(client=Speech(first=request("GET /", "Connection: close", version=version)), backend=backend)


def upload(field_line: str, client: Speech) -> Kind:
    first = request("POST /", "Connection: close", field_line)
    payload = client.drop * DROPS + client.last
    return Kind(client=replace(client, first=first), backend=Speech(last=ANSWER), payload=payload, uploads=True)


BOTH_WAYS = Speech(drop=b"x", shuts=True)
KINDS = {
    **{
        f"{framing} to {version}": download(speech, version)
        for version in ("1.0", "1.1")
        for framing, speech in (
            ("length", Speech(first=LENGTH, drop=b"x")),
            ("chunked", Speech(first=CHUNKED, drop=CHUNK, last=LAST_CHUNK)),
            ("close", Speech(first=OK + b"\r\n", drop=b"x", shuts=True)),
        )
    },
    "upload of known length": upload(f"Content-Length: {DROPS}", Speech(drop=b"x")),
    "chunked upload": upload("Transfer-Encoding: chunked", Speech(drop=CHUNK, last=LAST_CHUNK)),
    "websocket": Kind(
        client=replace(BOTH_WAYS, first=UPGRADE), backend=replace(BOTH_WAYS, first=SWITCH), payload=WHOLE
    ),
    "tcp": Kind(client=BOTH_WAYS, backend=BOTH_WAYS, speaks=False, payload=WHOLE),
}
