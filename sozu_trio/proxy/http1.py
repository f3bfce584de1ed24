"""Requests out of one HTTP/1 client connection, one after the other, until one of the two sides has had enough.

Pipelined requests are answered in order because the next head is read only when the exchange before it is over. While
it waits for the first byte of a request the connection is idle: a drain wakes it and nothing is lost. One cancel
scope lasts as long as the connection; what a cancellation means depends on what was going on, so `_woken` looks.
"""

import logging
from http import HTTPStatus

import trio

from sozu_trio.config.addresses import Address
from sozu_trio.config.limits import LAST_CALL, READ_SIZE
from sozu_trio.config.listeners import HttpListener
from sozu_trio.control.moves import KeptAlive
from sozu_trio.errors import RequestRefused
from sozu_trio.nursery.departure import depart
from sozu_trio.nursery.listener import SessionNode
from sozu_trio.proxy.ends import CUT, cut_short_by
from sozu_trio.proxy.exchange import Exchange
from sozu_trio.proxy.forwarding import Forwarding
from sozu_trio.proxy.linger import linger
from sozu_trio.proxy.outdated import is_outdated
from sozu_trio.proxy.pace import patience_for
from sozu_trio.proxy.patience import Patience
from sozu_trio.proxy.proxy import Proxy
from sozu_trio.proxy.refusing import refuse
from sozu_trio.proxy.secured import Routes, Secured
from sozu_trio.proxy.stream import Stream
from sozu_trio.routing.http_routes import NO_ROUTES
from sozu_trio.routing.table import NO_TABLE, Table
from sozu_trio.wire.heads import RequestHead
from sozu_trio.wire.request import RequestParser

log = logging.getLogger(__name__)


class HttpConnection:
    """One client connection that speaks HTTP/1. What is other within TLS is told in `https.py`."""

    __slots__ = (
        "_began", "_begins_anew", "_buffer", "_came_to", "_clock", "_connected", "_destination", "_drain",
        "_exchange", "_heeded", "_is_outdated", "_is_released", "_parser", "_requests", "_routes", "_table", "client",
        "client_fields", "client_text", "forwarding", "gone", "listener", "name", "node", "now", "patience", "proxy",
        "secured", "stream", "terms",
    )  # fmt: skip

    def __init__(
        self,
        proxy: Proxy,
        node: SessionNode,
        stream: Stream,
        listener: HttpListener,
        client: Address,
        destination: Address,
        early: bytes,
        *,
        idle: float = 0.0,
        requests: int = 0,
    ) -> None:
        """`early` was read already; nothing has happened for `idle` seconds; it has had so many `requests`."""
        self.proxy = proxy
        self.stream = stream
        self.node = node
        self.name = node.name
        self.client_text = str(client)
        self.client = client
        self.secured: Secured | None = None
        """Of a connection over TLS."""
        self._destination = destination
        self._requests = requests
        self._came_to = listener
        """What its client has met, whatever it has become since."""
        self._adopt(listener)
        self.patience = self._wait_in(self._make_patience())
        """For every wait of this connection; who is waited for, and for how long, changes."""
        self.gone = False
        self._is_released = False
        """It was woken from its last wait because descriptors are needed."""
        self._drain = node.listener.drain
        self._connected = node.started
        self._buffer = early
        self._clock = proxy.wheel.clock
        self.now = self._clock() - idle
        """When something last happened here, by Trio's clock."""
        self._began = 0.0
        self._heeded: Table | None = None
        """The Table in which its listener was looked up last."""
        self._table: Table = NO_TABLE
        self._routes: Routes = NO_ROUTES
        self.client_fields: frozenset[bytes] = frozenset()
        """Names of fields that the client may not send."""
        self._is_outdated = False
        self._begins_anew = False
        self._exchange: Exchange | None = None
        """The one now going on; one that has ended stays where it is the last."""

    def _adopt(self, listener: HttpListener) -> None:
        """Go by `listener` from the next request on."""
        self.listener = listener
        self.forwarding = Forwarding(listener, self.client, self._destination)
        self.terms = self.proxy.terms_of(listener)
        self.stream.timeout = listener.timeouts.front
        self._parser = RequestParser(listener.limits)

    def _heed(self) -> None:
        """Before a request: its listener may be another one in the Table now in force. One that was removed serves on
        as it was.
        """
        self._heeded = table = self.proxy.table
        now, before = table.listeners.get(self.node.listener.key), self.listener
        if now is before or type(now) is not type(before):
            return
        assert isinstance(now, HttpListener)
        self._adopt(now)
        if now.min_body_rate != before.min_body_rate:
            self.patience.spent = True

    def _make_patience(self) -> Patience:
        return patience_for(self.proxy.wheel, self.stream, self.listener.min_body_rate, "out")

    def _wait_in(self, patience: Patience) -> Patience:
        """What follows waits in `patience`."""
        self.node.wait_in(patience)
        return patience

    @property
    def draining(self) -> bool:
        """Whether it ends after what it has begun."""
        return self._drain.started or self.outdated

    @property
    def outdated(self) -> bool:
        """Its listener has become one that its client cannot have come to: it ends after what it has begun."""
        if self.proxy.table is not self._table:
            self.follow(self.proxy.table)
        return self._is_outdated

    @property
    def hsts(self) -> str:
        """The value of Strict-Transport-Security in answers of our own; empty for none."""
        return "" if self.secured is None else self.secured.hsts_value

    async def run(self) -> bool:
        """Serve requests to the end of the connection, and close it. True where it is open: its client has said nothing
        yet, and its listener is another one now, to be served by.
        """
        self.stream.watch(self._hung_up)
        try:
            while True:
                again = False
                with self.patience:
                    again = await self._serve_some()
                if self.patience.scope.cancelled_caught and not self.node.is_killed:
                    again = await self._woken()
                if self.node.is_killed:
                    self._cut()
                    return False
                if not again:
                    return self._begins_anew
                self.patience = self._wait_in(self._make_patience())
                if self._exchange is not None:
                    self._exchange.patience = self.patience
        except BaseException as error:
            self._cut(cut_short_by(error))
            raise
        finally:
            self.stream.stop_watching()
            if not self._begins_anew:
                self.stream.close()
            # It refers to this connection: a cycle, which would be left to the garbage collector.
            self._exchange = None

    def _cut(self, why: str = CUT) -> None:
        """Nothing more is sent, nor read."""
        if self._exchange is not None and not self._exchange.over:
            self._exchange.cut(why)
        elif self.stream.owes and not self.stream.is_closed:
            self._cut_unread(limit="")

    def _hung_up(self) -> None:
        self.gone = True
        if self._exchange is not None and not self._exchange.over:
            self.patience.cancel("the client has gone")

    def follow(self, table: Table) -> Routes:
        """The routes of this listener in `table`, which each exchange reads once and keeps.

        Those it had last where it has been removed or is another one now: what has begun is served.
        """
        if table is not self._table:
            self._table = table
            self.client_fields = self._client_fields_in(table)
            now = table.listeners.get(self.node.listener.key)
            self._is_outdated = is_outdated(self._came_to, now, is_known=self._is_known)
            if not self._is_outdated:
                self._routes = self._routes_in(table)
        return self._routes

    @property
    def _is_known(self) -> bool:
        """Whether the client has shown a certificate."""
        return False

    def _routes_in(self, table: Table) -> Routes:
        return table.http.get(self.listener.address, self._routes)

    def _client_fields_in(self, table: Table) -> frozenset[bytes]:
        return table.client_fields

    async def _woken(self) -> bool:
        """The scope was cancelled: a deadline, a drain, another Table, or the client has gone. Whether to go on."""
        expired, exchange = self.patience.expired, self._exchange
        with self._wait_in(self.proxy.wheel.patience()) as self.patience:
            if exchange is not None and not exchange.over:
                why = exchange.ran_out()
                exchange.patience = self.patience
                await exchange.fail(why)
                if self._goes_on(exchange):
                    return True
                await self._part(exchange)
                return False
            if not (expired or self._is_released or self.gone):
                await self.stream.settle(self.patience)
            elif expired and not self.stream.owes:
                await self._end_late()
        if self.node.is_killed:
            return False
        if exchange is not None and not exchange.over:
            exchange.cut("took too long to read the answer")
            return False
        if self.stream.is_closed:
            return False  # It was severed meanwhile.
        if self.stream.owes:
            self._cut_unread()
            return False
        # Those who were idle just leave, unless it is a drain and a request has come meanwhile, or may be on its way.
        if expired or self.gone:
            return False
        if self.outdated and not self._is_released:
            return not self._ends_unasked()
        if not self._is_released and (self.node.listener.departure is not None or not self._drain.started):
            return True
        return bool(self._buffer) or not self.stream.is_quiet() or (self.draining and self._is_new())

    def _cut_unread(self, limit: str = "response_time") -> None:
        """The client has left no room for the end of a response that was taken for sent; `limit`: which it passed."""
        log.info("session %s: cut: its client has not read all of a response that was logged", self.name)
        self.proxy.counters.limited(limit)
        self.stream.abort()

    async def _end_late(self) -> None:
        """No request has come, or not all of its head."""
        if self._buffer:
            late = RequestRefused(HTTPStatus.REQUEST_TIMEOUT, "the request head took too long", limit="head_time")
            await self._refuse(late)
        else:
            self.proxy.counters.limited("idle")

    async def _refuse(self, refused: RequestRefused) -> None:
        unread, self._buffer = self._buffer, b""
        await refuse(self, refused, unread)

    def _ends_unasked(self) -> bool:
        """Whether an outdated connection ends now: a request that has come to one in use is answered first."""
        if self._requests and (self._buffer or not self.stream.is_quiet()):
            return False
        self._begins_anew = self._can_begin_anew()
        return True

    def _can_begin_anew(self) -> bool:
        """Whether nothing was read of the connection; a PROXY header was."""
        return not (self._requests or self._buffer or self.gone or self.listener.expect_proxy)

    def _is_new(self) -> bool:
        """Whether it has only just connected: its first request is then no race of the client's own making."""
        return self._requests == 0 and trio.current_time() < self._connected + LAST_CALL

    async def _serve_some(self) -> bool:
        """Serve requests until the connection is to end, or until its scope has been cancelled in vain: then True."""
        exchange = self._exchange
        while True:
            if exchange is None or exchange.over:
                try:
                    head = await self._read_head()
                except RequestRefused as refused:
                    await self._refuse(refused)
                    return False
                if head is None:
                    return False
                exchange = self._exchange = Exchange(self, head, self._buffer, self._began)
                self._buffer = b""
                self._requests += 1
                if self.listener.max_requests_per_connection:
                    self._end_with(exchange)
                if self.patience.spent:
                    # The head and the reason to go came together; what was asked for is served all the same.
                    return True
            await exchange.run()
            if not self._goes_on(exchange):
                await self._part(exchange)
                return False
            # Nobody asks for them again, and the next wait may be a long one.
            exchange = self._exchange = head = None

    def _end_with(self, exchange: Exchange) -> None:
        """Let it be the last one, where it is the last that is allowed."""
        if self._requests >= self.listener.max_requests_per_connection and not exchange.close:
            exchange.close = True
            self.proxy.counters.limited("requests")

    def _goes_on(self, exchange: Exchange) -> bool:
        """Get ready for the next request after `exchange`, unless the connection is to end."""
        if exchange.close or self.outdated:
            return False
        self._buffer = exchange.body.unused
        return True

    async def _part(self, exchange: Exchange) -> None:
        """End the connection so that the client gets the answer of `exchange`."""
        # A client that did not ask for the end may have sent its next request already.
        if (exchange.linger or exchange.body.unused or exchange.head.keep_alive) and not self.stream.is_closed:
            await linger(self.stream)

    async def _read_head(self) -> RequestHead | None:
        """The next request's head; None when the client has gone or the connection has moved. Raises RequestRefused."""
        stream, patience = self.stream, self.patience
        departs = self.node.listener.departure is not None
        if departs and await self._moves():
            return None
        draining = self.draining
        if draining and self.outdated and self._ends_unasked():
            return None
        if not self._buffer:
            is_usual = self._requests and not departs
            patience.limit(self.listener.timeouts.front if is_usual else self._idle_timeout(), self.now)
            if not draining or (stream.is_quiet() and not self._is_new()):
                self._drain.enter_idle(patience)
            try:
                self._buffer = await stream.receive_later(READ_SIZE, foresee=self._parser.foresee)
            finally:
                self._is_released = self._drain.leave_idle(patience)
            if not self._buffer:
                return None
        self._began = self._clock()
        if self.proxy.table is not self._heeded:
            self._heed()
        parser = self._parser
        head = parser.parse(self._buffer)
        if head is None:
            patience.limit(self.listener.timeouts.request, self._began)
        while head is None:
            data = await stream.receive(READ_SIZE)
            if not data:
                return None
            self._buffer += data
            head = parser.parse(self._buffer)
        return head

    async def _moves(self) -> bool:
        """Move to the worker that comes next, if that is possible; whether it has."""
        self.patience.relax()
        if not await depart(self.node, self._kept_alive):
            return False
        self.stream.leave()
        return True

    def _kept_alive(self) -> KeptAlive:
        return KeptAlive(
            client=self.client,
            destination=self._destination,
            early=self._buffer,
            idle=trio.current_time() - self.now,
            requests=self._requests,
        )

    def _idle_timeout(self) -> float:
        """Seconds to wait for a request's first byte, where it is the first request or the worker is being replaced."""
        if self._requests:
            return self.listener.timeouts.front
        return LAST_CALL if self.draining else self.terms.first_timeout
