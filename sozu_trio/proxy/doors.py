"""The handler a worker is given: lets connections in, turns away those over the limit, and gives descriptors back when
they run out.
"""

import contextlib
import socket
from collections.abc import Awaitable, Callable, Sequence

from sozu_trio.config.program import Program
from sozu_trio.nursery.capacity import Capacity
from sozu_trio.nursery.listener import Doorkeeping, SessionNode
from sozu_trio.proxy.answers import answer
from sozu_trio.proxy.http1 import linger
from sozu_trio.proxy.proxy import Proxy
from sozu_trio.proxy.session import serve_session
from sozu_trio.proxy.stream import Stream
from sozu_trio.routing.state import ListenerKey
from sozu_trio.routing.table import Table
from sozu_trio.telemetry.lines import LineBuffer


class ProxyHandler:
    """Everything of `proxy` that a worker needs to know."""

    def __init__(self, program: Program, worker_id: int) -> None:
        self.proxy = Proxy(program, worker_id)
        self.doors = Doorkeeping(
            serve=self._serve,
            refuse=self._refuse,
            relieve=self.proxy.close_unused,
            next_name=self.proxy.ids.next,
            capacity=Capacity(program.max_connections),
        )

    @property
    def lines(self) -> LineBuffer:
        return self.proxy.lines

    @property
    def services(self) -> Sequence[Callable[[], Awaitable[None]]]:
        return [self.proxy.hangups.run, self.proxy.wheel.run, self.proxy.sweep_idle]

    def relieve_with(self, relieve: Callable[[], int]) -> None:
        """Have `relieve` called where descriptors run out; it knows more to close than this package."""
        self.proxy.relieve = relieve

    def swap(self, table: Table) -> None:
        self.proxy.swap(table)

    async def _serve(self, node: SessionNode) -> None:
        counters = self.proxy.counters
        counters.sessions += 1
        counters.sessions_total += 1
        try:
            await serve_session(self.proxy, node)
        finally:
            counters.sessions -= 1

    async def _refuse(self, sock: socket.socket, key: ListenerKey, polite: bool) -> None:
        """One too many: 503 on an http listener, a plain close on a tcp one. Never queued, so the client knows at
        once.
        """
        self.proxy.counters.refused += 1
        if key[1] not in self.proxy.table.http:
            return
        data = answer(503, self.proxy.ids.next(), close=True, retry_after=self.proxy.program.retry_after)
        with contextlib.suppress(OSError):
            # A fresh socket's buffer takes this in one piece; a client that makes it fail gets nothing.
            sock.send(data)
            if polite:
                await linger(Stream(sock, 0))
