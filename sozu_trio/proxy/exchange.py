"""One request and its response, whatever the version that carried it: decide, connect, converse, log.

The order of things, each a method below:
    decide      the Table names a cluster, a denial or nothing; the Table read here holds for the whole exchange
    forward     a backend connection; another one where this ended before a response and the request may be replayed
    converse    the request goes out, with its body or, where that is not in hand yet, while that comes; then `respond`
    fail        every error becomes an answer here, or a message cut short where one had begun: never a well-formed lie
    log         one line and the counters

A request may be replayed when none of it was written, or when it is idempotent (RFC 9110 §9.2.2) and all of it is
still in hand.
"""

import time
from http import HTTPStatus
from typing import TYPE_CHECKING

import trio

from sozu_trio.config.clusters import HttpFrontend
from sozu_trio.config.limits import HELD_BODY
from sozu_trio.errors import (
    BackendClosed,
    BackendTimeout,
    ClientGone,
    ExchangeError,
    LimitReached,
    NoBackend,
    RequestRefused,
)
from sozu_trio.nursery.places import MOST_HELD
from sozu_trio.proxy.answers import answer, options_answer
from sozu_trio.proxy.backends import ClusterState, Connection
from sozu_trio.proxy.body import Body
from sozu_trio.proxy.client_fields import drop_fields
from sozu_trio.proxy.connect import discard, give_back
from sozu_trio.proxy.pace import patience_for
from sozu_trio.proxy.patience import Patience
from sozu_trio.proxy.response import respond
from sozu_trio.proxy.transfer import whole
from sozu_trio.proxy.tunnels import About
from sozu_trio.proxy.upgrades import wanted_upgrade
from sozu_trio.proxy.upload import Upload, bad_body, client_gone, too_large
from sozu_trio.routing.table import ClusterEntry, Decision, Outcome, Redirect
from sozu_trio.telemetry.access_log import AccessRecord
from sozu_trio.wire.heads import NO_BODY, RequestHead
from sozu_trio.wire.write import write_request

if TYPE_CHECKING:
    from sozu_trio.proxy.http1 import HttpConnection

IDEMPOTENT = frozenset({b"GET", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"TRACE"})


class Exchange:
    """A request whose head has been read, until its response is out or its client gone."""

    __slots__ = (
        "_began", "_bytes_in", "_bytes_out", "answered", "body", "client", "close", "connection", "head", "heard_at",
        "linger", "moved", "over", "patience", "proxy", "record", "ulid", "upgrade", "upload",
    )  # fmt: skip

    def __init__(self, connection: "HttpConnection", head: RequestHead, buffer: bytes, began: float) -> None:
        proxy = self.proxy = connection.proxy
        client = self.client = connection.stream
        ulid = proxy.ids.next()
        self.connection = connection
        self.patience: Patience = connection.patience
        self.head = head
        self.ulid = ulid.encode()
        self.close = not head.keep_alive
        """The client connection ends with this exchange."""
        self.body = Body(client, head.framing, head.length, connection.listener.limits, bad_body, client_gone)
        self.body.rest = buffer[head.size :]
        self.record = AccessRecord(connection.name, connection.client_text, "HTTP", 0.0, ulid)
        self.upload: Upload | None = None
        self.upgrade = b""
        """Protocols the backend is asked to switch to."""
        self.answered = False
        """A final response has begun."""
        self.linger = False
        """More of the request may be on its way: read it for a while, so that the answer is not lost."""
        self.moved = False
        """It was upgraded, and the worker that comes next goes on with it; nothing but that is known of its end."""
        self.over = False
        """It is logged; nothing more happens to it."""
        self.heard_at = 0.0
        """When the backend began to answer, by Trio's clock."""
        self._began = began
        self._bytes_in = client.bytes_in - len(buffer)
        self._bytes_out = client.bytes_out
        if head.upgrade:
            self.upgrade = wanted_upgrade(head, connection.terms.upgrade_protocols)
        terms = connection.terms
        if head.unusual or terms.id_is_usual:
            terms.drop_id(head, buffer)
        proxy.counters.requests += 1
        proxy.counters.active_requests += 1

    async def run(self) -> None:
        """All of it. Afterwards `close` and `linger` say what becomes of the connection, `body.unused` what came next.

        A cancelled one is not over: whoever caught the cancellation knows what it meant, and calls `fail` or `cut`.
        """
        try:
            if self.connection.gone:
                raise ClientGone("closed its connection")
            self.body.begin()
            if self.proxy.rates.per_ip:
                self.proxy.take_request(self.connection.client)
            decision = self._decide()
            if decision is None:
                await self._answer_itself()
            elif decision.cluster is not None:
                if self.body.framing is not NO_BODY:
                    self._bound(decision.frontend)
                await self._forward(self._cluster(decision.cluster))
            elif decision.redirect is not None:
                await self._redirect(decision.redirect)
            elif decision.outcome is Outcome.MISDIRECTED:
                await self.answer(HTTPStatus.MISDIRECTED_REQUEST, "the connection is not for this host")
            elif decision.outcome is Outcome.DENY:
                await self.answer(HTTPStatus.UNAUTHORIZED, "denied by its frontend")
            else:
                self.proxy.counters.unrouted += 1
                await self.answer(HTTPStatus.NOT_FOUND, "no frontend")
        except ExchangeError as error:
            # A frame that is over may have it in a variable: a cycle, which would be left to the garbage collector.
            await self.fail(error.with_traceback(None))
        except OSError as error:
            await self.fail(ClientGone(error.strerror or str(error)))
        else:
            self._end()

    def cut(self, why: str) -> None:
        """The connection is about to be closed; a response that has begun must not look as if that were its end."""
        self._note(why, failed=True)
        if self.answered:
            self._cut()
        self._end()

    def _decide(self) -> Decision | None:
        """What the Table says; None for a request that ends here in any case (Max-Forwards: 0, RFC 9110 §7.6.2)."""
        head = self.head
        if head.max_forwards == 0:
            return None
        decision = self.connection.follow(self.proxy.table).find(head.host, head.path, head.method)
        self.record.tags = decision.tags
        return decision

    def _bound(self, frontend: HttpFrontend | None) -> None:
        """Raises RequestRefused (413) for a body that is known to be too large."""
        most = None if frontend is None else frontend.max_body_size
        if most is None:
            most = self.connection.listener.max_body_size
        if most:
            self.body.bound(most, too_large)

    def _cluster(self, entry: ClusterEntry) -> ClusterState:
        """The live side of a cluster of the Table, in which the client has a place from now on. Raises NoBackend,
        LimitReached.
        """
        connection = self.connection
        cluster_id = self.record.cluster_id = entry.cluster.cluster_id
        cluster = self.proxy.backends.find(cluster_id)
        if cluster is None:
            raise NoBackend(f"there is no cluster {cluster_id}")
        # Without limits, which is usual, none of them costs a call.
        if cluster.cluster.max_connections_per_ip or self.proxy.places.per_cluster:
            self.proxy.enter(connection.node, cluster.cluster, connection.client)
            self.close = self.close or len(connection.node.held) >= MOST_HELD
        if cluster.cluster.max_requests:
            self.proxy.take_request_for(cluster.cluster)
        return cluster

    async def _forward(self, cluster: ClusterState) -> None:
        connector = self.proxy.connector(cluster, self.connection.terms.backend_timeouts)
        request = self._request()
        lost: BackendClosed | None = None
        now = self._began
        while True:
            try:
                connection = connector.take_idle(now)
                if connection is None:
                    self.patience.relax()  # An attempt has a limit of its own.
                    connection = await connector.connect()
            except NoBackend as error:
                if lost:
                    raise lost from error.with_traceback(None)
                raise
            self.record.backend_id = connection.state.backend.backend_id
            self.record.backend = connection.state.address
            try:
                if self.body.framing is NO_BODY:
                    reusable = await respond(self, connection, request)
                elif self._is_whole():
                    message = (request, *whole(self.body, self.body.early, self.body.framing))
                    reusable = await respond(self, connection, b"".join(message))
                else:
                    reusable = await self._converse(connection, request)
            except BackendClosed as error:
                lost = error.with_traceback(None)
                may_replay = error.retry and self._may_replay(connection)
                connector.lost(connection)
                if not may_replay:
                    raise
                self.proxy.counters.retries += 1
                now = trio.current_time()
            except BaseException:
                discard(connection)
                raise
            else:
                if reusable:
                    give_back(connection, cluster, max(self.heard_at, self.patience.now))
                else:
                    discard(connection)
                return

    def _request(self) -> bytes:
        """The head as the backend gets it."""
        if self.connection.client_fields:
            drop_fields(self.head, self.body, self.connection.client_fields)
        request_id, lines = self.connection.forwarding.lines(self.head, self.ulid)
        self.record.x_request_id = request_id
        return write_request(self.head, lines, upgrade=self.upgrade)

    def _is_whole(self) -> bool:
        """Whether all of the request is in hand, and little enough to be kept until a response comes."""
        return self.body.ended and sum(map(len, self.body.early)) <= HELD_BODY and not self.head.expects_continue

    def _may_replay(self, connection: Connection) -> bool:
        if self.answered or self.body.started:
            return False
        return not connection.written or (self.head.method in IDEMPOTENT and self.body.ended)

    async def _converse(self, connection: Connection, request: bytes) -> bool:
        """Send the request while its response may be coming already; returns whether the connection may be used
        again.
        """
        upload = self.upload = Upload(
            self.body,
            self.proxy.pipes,
            patience=patience_for(self.proxy.wheel, self.client, self.connection.listener.min_body_rate, "in"),
            response=self.patience,
            answered=lambda: self.answered,
            waits=self.head.expects_continue and not self.body.early and not self.body.ended,
        )
        failure: ExchangeError | None = None
        reusable = done = False
        async with trio.open_nursery() as nursery:
            nursery.start_soon(upload.run, connection.stream, request, nursery.cancel_scope, name="upload")
            try:
                reusable = await respond(self, connection)
                done = True
            except ExchangeError as error:
                failure = error
            except OSError as error:
                failure = ClientGone(error.strerror or str(error))
            nursery.cancel_scope.cancel(reason="the response is complete")
        self.proxy.counters.limited(upload.limit)
        if done:
            return reusable and upload.complete
        raise upload.failure or failure or ClientGone("in its request body")

    @property
    def waits_next(self) -> bool:
        """Whether all that follows the response is a wait for the next request."""
        return not (self.close or self.body.unused or self.connection.node.listener.departure)

    @property
    def uploading(self) -> bool:
        return self.upload is not None and not self.upload.complete

    def ran_out(self) -> ExchangeError:
        """Why the connection's scope was cancelled."""
        if self.connection.gone:
            return ClientGone("closed its connection")
        if self.patience.waiting_for is self.client:
            if self.patience.too_slow:
                return ClientGone("read the response too slowly", limit="response_rate")
            return ClientGone("took too long to read the response", limit="response_time")
        return BackendTimeout("the backend took too long")

    async def _redirect(self, redirect: Redirect) -> None:
        """A client of HTTP/1.0 may have named no host, and then there is nowhere to send it."""
        if not self.head.host:
            await self.answer(HTTPStatus.BAD_REQUEST, "redirected to https, and named no host")
            return
        location = redirect.location(self.head.host, self.head.target)
        await self.answer(HTTPStatus.MOVED_PERMANENTLY, "redirected to https", failed=False, location=location)

    async def answer(
        self, status: int, why: str, *, failed: bool = True, location: bytes = b"", retry_after: int | None = None
    ) -> None:
        """Answer ourselves. The connection stays open where all of the request was read and the client did no wrong.
        `retry_after`: seconds, None = as usual with the status.
        """
        if retry_after is None:
            retry_after = self.proxy.settings.retry_after if status == HTTPStatus.SERVICE_UNAVAILABLE else 0
        self._begin_answer(status, why, failed=failed)
        data = answer(
            status,
            self.ulid.decode(),
            close=self.close,
            keep_alive_1_0=self.head.minor == 0,
            head_only=self.head.method == b"HEAD",
            retry_after=retry_after,
            id_field=self.connection.listener.sozu_id_header,
            location=location.decode("latin-1"),
            hsts=self.connection.hsts,
        )
        await self.client.send(data, self.patience)

    def _begin_answer(self, status: int, why: str, *, failed: bool) -> None:
        self.close = self.close or not self.body.ended or self.connection.draining
        self.linger = not self.body.ended
        self.answered = True
        self.record.status = status
        self._note(why, failed=failed)

    async def _answer_itself(self) -> None:
        """TRACE or OPTIONS with Max-Forwards: 0 ends here (RFC 9110 §7.6.2)."""
        if self.head.method != b"OPTIONS":
            await self.answer(HTTPStatus.METHOD_NOT_ALLOWED, "TRACE ends here")
            return
        self._begin_answer(HTTPStatus.OK, "answered for Max-Forwards: 0", failed=False)
        data = options_answer(
            self.ulid.decode(),
            self.connection.listener.sozu_id_header,
            close=self.close,
            keep_alive_1_0=self.head.minor == 0,
            hsts=self.connection.hsts,
        )
        await self.client.send(data, self.patience)

    async def fail(self, error: ExchangeError) -> None:
        """End it for `error`: with an answer, or with a message cut short."""
        self._note(str(error), failed=True)
        self.proxy.counters.failed(error)
        if isinstance(error, RequestRefused):
            self.close = self.linger = True
        elif isinstance(error, LimitReached):
            self.close = self.close or error.closes
        if self.answered or isinstance(error, ClientGone):
            self._cut()
        else:
            try:
                await self.answer(error.status, str(error), retry_after=error.retry_after)
            except OSError:
                self._cut()
        self._end()

    def _cut(self) -> None:
        """End the client connection in the middle of what it was getting, so that it cannot pass for the whole."""
        self.close = True
        self.linger = False
        self.client.abort()

    def _note(self, why: str, *, failed: bool) -> None:
        self.record.message = why
        self.record.failed = failed

    def heard(self) -> None:
        """The backend has begun to answer; it had the head when the wait for it began."""
        now = self.heard_at = self.proxy.wheel.clock()
        sent_at = self.patience.now
        self.record.service_time = sent_at - self._began
        self.record.response_time = now - sent_at

    def _end(self) -> None:
        """One line, and the counters."""
        self.over = True
        record, client, counters = self.record, self.client, self.proxy.counters
        counters.active_requests -= 1
        if self.moved:
            return
        now = self.connection.now = self.proxy.wheel.clock()
        record.request_time = now - self._began
        record.start = time.time() - record.request_time
        bytes_in = record.bytes_in = client.bytes_in - self._bytes_in - len(self.body.unused)
        bytes_out = record.bytes_out = client.bytes_out - self._bytes_out
        record.asked_for(self.head)
        if self.connection.secured is not None:
            self.connection.secured.note(record)
        counters.bytes_in += bytes_in
        counters.bytes_out += bytes_out
        counters.by_status[record.status // 100] += 1
        counters.access_lines += 1
        self.proxy.access_log.write(record)

    def about(self) -> About:
        """What the worker that comes next must know when it goes on with what was upgraded."""
        self.record.asked_for(self.head)
        lasted = trio.current_time() - self._began
        bytes_in, bytes_out = self.client.bytes_in - self._bytes_in, self.client.bytes_out - self._bytes_out
        return About(self.record, lasted, bytes_in, bytes_out)
