"""A server whose every byte the test writes."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import trio

from sozu_trio.config.addresses import Address
from sozu_trio.testing.clients import Peer

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class BackendConnection(Peer):
    """One connection from the proxy, as its backend sees it."""

    async def read_head(self) -> bytes:
        """The next request head. Raises EOFError when the proxy closes before one is complete."""
        return await self.receive_until(b"\r\n\r\n")


Script = Callable[[BackendConnection], Awaitable[None]]
"""What to do with one connection; it is closed afterwards."""


class ScriptedBackend:
    """A listening server on 127.0.0.1 and what it has seen."""

    def __init__(self, listener: trio.SocketListener, script: Script | bytes) -> None:
        host, port = listener.socket.getsockname()
        self.address = Address(host, port)
        self.heads: list[bytes] = []
        """Request heads received, when the script is a response in bytes."""
        self.connections = 0
        """Connections accepted so far."""
        self.open = 0
        """Connections open now."""
        self._listener = listener
        self._script = self._respond(script) if isinstance(script, bytes) else script

    def _respond(self, response: bytes) -> Script:
        async def script(connection: BackendConnection) -> None:
            while True:
                self.heads.append(await connection.read_head())
                await connection.send(response)

        return script

    async def run(self) -> None:
        await trio.serve_listeners(self._serve, [self._listener])

    async def _serve(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        self.open += 1
        try:
            await self._script(BackendConnection(stream))
        except (EOFError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            self.open -= 1
            await trio.aclose_forcefully(stream)

    def __str__(self) -> str:
        return str(self.address)


@asynccontextmanager
async def open_backend(script: Script | bytes = OK) -> AsyncIterator[ScriptedBackend]:
    """A backend while the body runs. `script` is a function, or a response given to every request without a body."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    backend = ScriptedBackend(listener, script)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(backend.run)
        try:
            yield backend
        finally:
            nursery.cancel_scope.cancel(reason="the test is over")
