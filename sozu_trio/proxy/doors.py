"""The handler a worker is given: lets connections in, turns away those over the limit, and gives descriptors back when
they run out.
"""

import socket
from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import partial
from typing import Any

import trio

from sozu_trio.config.addresses import Address, parse_address
from sozu_trio.config.limits import READ_SIZE
from sozu_trio.config.listeners import protocol_of
from sozu_trio.config.program import Program, Settings
from sozu_trio.control.messages import Happened
from sozu_trio.control.moves import Learned, Parcel
from sozu_trio.nursery.capacity import Capacity
from sozu_trio.nursery.listener import Doorkeeping, Goodbye, Refusal, Resume, SessionNode
from sozu_trio.nursery.tally import Tally
from sozu_trio.proxy.answers import answer
from sozu_trio.proxy.linger import linger
from sozu_trio.proxy.proxy import Proxy
from sozu_trio.proxy.resuming import resumption
from sozu_trio.proxy.session import serve_session
from sozu_trio.proxy.stream import Stream
from sozu_trio.routing.state import ListenerKey
from sozu_trio.routing.table import Table
from sozu_trio.telemetry.counters import Counters
from sozu_trio.telemetry.lines import LineBuffer
from sozu_trio.tls.key_log import KeyLog

CLUSTERS_PER_SLICE = 100
"""Clusters whose backends are described at a time: about 2 ms."""


class ProxyHandler:
    """Everything of `proxy` that a worker needs to know."""

    def __init__(self, program: Program, worker_id: int, tally: Tally, key_log: KeyLog | None = None) -> None:
        """`key_log`: where the secrets of TLS sessions go; None for nowhere."""
        capacity = Capacity(tally, program.settings)
        self.proxy = Proxy(program, worker_id, capacity.places, key_log)
        self._answers = self._make_answers()
        self.doors = Doorkeeping(
            serve=self._serve,
            refuse=self._refuse,
            relieve=self.proxy.close_unused,
            next_name=self.proxy.ids.next,
            capacity=capacity,
            admit=self._admit,
            tells_later=self._tells_later,
        )

    @property
    def lines(self) -> LineBuffer:
        return self.proxy.lines

    @property
    def counters(self) -> Counters:
        return self.proxy.counters

    @property
    def services(self) -> Mapping[str, Callable[[], Awaitable[None]]]:
        """By the names the tree shows."""
        return {
            "patience": self.proxy.wheel.run,
            "idle backend connections": self.proxy.sweep_idle,
            "queues": self.proxy.yield_idle,
            "rates": self.proxy.sweep_rates,
            "swaps": self.proxy.follow_swaps,
        }

    def follow(self, settings: Settings) -> None:
        """Go by `settings` from now on."""
        self.proxy.settings = settings
        self.proxy.rates.follow(settings)
        self._answers = self._make_answers()
        self.doors.capacity.follow(settings)

    def relieve_with(self, relieve: Callable[[], int]) -> None:
        """Have `relieve` called where descriptors run out; it knows more to close than this package."""
        self.proxy.relieve = relieve

    def tell_with(self, tell: Callable[[Happened], None]) -> None:
        """Have `tell` called for every event."""

        def happened(kind: str, cluster_id: str | None, backend_id: str | None, address: Address | None) -> None:
            tell(Happened(kind=kind, cluster_id=cluster_id, backend_id=backend_id, address=address))

        self.proxy.on_event = happened

    def trust(self, authorities: str) -> None:
        """Hold backends against these, in PEM, where nobody says otherwise; before the first Table."""
        self.proxy.backends.contexts.authorities = authorities

    def swap(self, table: Table) -> Collection[ListenerKey]:
        """Serve by `table` from now on. Returns the listeners whose idle connections have to look what they are now."""
        return self.proxy.swap(table)

    def cut_backend(self, cluster_id: str, backend_id: str, address: Address) -> int:
        """Cut everything that goes to a removed backend; returns how many connections that were."""
        return self.proxy.backends.cut(cluster_id, backend_id, address)

    def learned(self) -> Learned:
        """What is known of backends, for the worker that comes next."""
        return Learned(failing=tuple(self.proxy.backends.failing(trio.current_time())))

    async def learn(self, learned: Learned) -> None:
        """Know what the worker before did."""
        for _ in self.proxy.backends.learn(learned.failing, trio.current_time()):
            await trio.lowlevel.checkpoint()

    async def look(self, what: str, query: Mapping[str, Any]) -> Any:
        """`backends` {cluster?} or `route` {address, host, path, method}, as `Proxy` tells them, or who is left at
        `removed` {backends: [[cluster, backend, address]]}. Raises ValueError for anything else.
        """
        match what, dict(query):
            case "backends", {"cluster": str(cluster_id), **others} if not others:
                return self.proxy.describe_backends(cluster_id)
            case "backends", {**others} if not others:
                return await self._describe_backends()
            case "route", {"address": str(address), "host": str(host), "path": str(path), "method": str(method)}:
                asked = (part.encode("latin-1") for part in (host, path, method))
                return self.proxy.find_route(parse_address(address), *asked)
            case "removed", {"backends": [*named], **others} if not others:
                removed = [(cluster_id, backend_id, parse_address(at)) for cluster_id, backend_id, at in named]
                return self.proxy.backends.left(removed)
        raise ValueError(f"there is no such thing to look at: {what} {dict(query)}")

    async def _describe_backends(self) -> list[dict[str, Any]]:
        described = []
        for number, each in enumerate(list(self.proxy.table.clusters)):
            if number % CLUSTERS_PER_SLICE == CLUSTERS_PER_SLICE - 1:
                await trio.lowlevel.checkpoint()
            described += self.proxy.describe_backends(each)
        return described

    def _serve(self, node: SessionNode) -> Awaitable[None]:
        self._count(node)
        self.proxy.counters.sessions_total += 1
        return serve_session(self.proxy, node)

    def _count(self, node: SessionNode) -> None:
        self.proxy.counters.sessions += 1
        node.at_end = self._uncount

    def _uncount(self) -> None:
        self.proxy.counters.sessions -= 1

    def _admit(self, parcel: Parcel) -> Resume | None:
        resume = resumption(self.proxy, parcel)
        return None if resume is None else partial(self._resume, resume)

    def _resume(self, resume: Resume, node: SessionNode, backend: socket.socket | None) -> Awaitable[None]:
        """As `_serve`, of a connection that was counted in the worker before."""
        self._count(node)
        return resume(node, backend)

    def _make_answers(self) -> dict[int, bytes]:
        """Made beforehand. Nothing is logged of those who get one, so it need not say which one they are."""
        wait = self.proxy.settings.retry_after
        return {status: answer(status, self.proxy.ids.next(), close=True, retry_after=wait) for status in (429, 503)}

    def _refuse(self, sock: socket.socket, key: ListenerKey, why: Refusal) -> Goodbye | None:
        """One too many: 503 on an http listener, a plain close on others: TLS would cost what is lacking. Never queued,
        so the client knows at once. It costs a sixth of serving, so that those who are served hardly notice.
        """
        counters = self.proxy.counters
        if why == "capacity":
            counters.refused += 1
        elif why == "source":
            counters.refused_sources += 1
        elif why == "overload":
            counters.shed_overload += 1
        else:
            counters.shed_memory += 1
        listener = self.proxy.table.listeners.get(key)
        if listener is None or protocol_of(listener) != "http":
            return None
        try:
            # A fresh socket's buffer takes this in one piece; a client that makes it fail gets nothing. It leaves in
            # one packet with the FIN, which is half of the work.
            sock.send(self._answers[429 if why == "source" else 503], socket.MSG_MORE)
            request = sock.recv(READ_SIZE)
        except BlockingIOError:
            pass
        except OSError:
            return None
        else:
            # With nothing left to be read, or to come, a close does not reset.
            if not request or (len(request) < READ_SIZE and request.endswith(b"\r\n\r\n")):
                return None
        return partial(linger, Stream(sock, 0))

    def _tells_later(self, key: ListenerKey) -> bool:
        listener = self.proxy.table.listeners.get(key)
        return listener is not None and listener.expect_proxy
