"""A connection to a backend of a cluster: reused or new, with other backends tried where one refuses.

Back-off and load are kept by `backends.py`; this file awaits. Addresses are numeric, so a connect is one system call
and one wait: `trio.open_tcp_stream` would open a nursery and a task per attempt.
"""

import errno
import logging
import math
import os
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import trio
from trio.lowlevel import wait_writable

from sozu_trio.config.addresses import Address
from sozu_trio.config.limits import CONNECT_ATTEMPTS, EXHAUSTED_PAUSE
from sozu_trio.errors import BackendInsecure, BackendsFull, HandshakeFailed, NoBackend
from sozu_trio.nursery.accept import EXHAUSTED
from sozu_trio.proxy.backends import BackendState, ClusterState, Connection, NoRoom
from sozu_trio.proxy.queueing import Place, Queue
from sozu_trio.proxy.secure_backend import secure
from sozu_trio.proxy.stream import Stream
from sozu_trio.proxy.tls_stream import TlsStream
from sozu_trio.telemetry.counters import Counters
from sozu_trio.telemetry.plural import count
from sozu_trio.tls.client_contexts import ClientTls
from sozu_trio.tls.client_failures import too_long

log = logging.getLogger(__name__)

OUR_FAULT = EXHAUSTED | {errno.EADDRNOTAVAIL}
"""Errors that say nothing about the backend: it does not go into back-off for them."""


@dataclass(frozen=True, slots=True)
class BackendTimeouts:
    """How long to wait for a backend, in seconds (0 = for ever)."""

    connect: float
    back: float


class Connector:
    """The attempts of one request or session; at most `CONNECT_ATTEMPTS` of them fail."""

    # Defaults stand in the class: a connector is made for every request, and most find an idle connection at once.
    is_http = True
    opening = b""
    """What goes before TLS."""
    failures = 0
    tried: Sequence[BackendState] = ()
    _relieved = False
    _fresh = False
    _has_to_wait = False
    _refusal = ""
    """Why TLS did not come about where the last attempt failed for that."""
    _chosen: BackendState | None = None

    def __init__(
        self,
        cluster: ClusterState,
        timeouts: BackendTimeouts,
        counters: Counters,
        random: Callable[[], float],
        relieve: Callable[[], int],
    ) -> None:
        """`relieve` has descriptors closed that nobody needs, and returns how many."""
        self._cluster = cluster
        self._timeouts = timeouts
        self._counters = counters
        self._random = random
        self._relieve = relieve

    def take_idle(self, now: float) -> Connection | None:
        """Choose a backend for the next attempt; its idle connection, where it has one that may serve."""
        self.choose(now)
        return self._reuse()

    def _reuse(self) -> Connection | None:
        state = self._chosen
        if state is None or self._fresh or not (connection := state.take_idle()):
            return None
        connection.stream.timeout = self._timeouts.back
        self._counters.pool_hits += 1
        if self._cluster.availability.exhausted:
            self._cluster.recovered()
        return connection

    def choose(self, now: float) -> None:
        """Choose a backend for the next attempt; none where it has to wait for one."""
        queue = self._cluster.queue
        if queue is None:
            self._chosen = self._cluster.choose(now, self.tried)
            return
        self._has_to_wait = len(queue) > 0
        if self._has_to_wait:
            self._chosen = None
            return
        try:
            self._chosen = self._cluster.choose(now, self.tried)
        except NoRoom:
            self._chosen, self._has_to_wait = None, True

    async def _choose_later(self) -> Connection | None:
        """Choose a backend once more, in turn where those there are may have no more connections; an idle connection
        of it, where that may serve. Raises NoBackend.
        """
        queue = self._cluster.queue
        self.choose(trio.current_time())
        if queue is None or not self._has_to_wait or self.failures >= CONNECT_ATTEMPTS:
            return None
        try:
            return await self._wait_in(queue)
        except BackendsFull:
            self._counters.queue_refused += 1
            raise

    async def _wait_in(self, queue: Queue) -> Connection | None:
        counters, limit = self._counters, self._cluster.cluster.queue_timeout
        with queue.place() as place:
            counters.queued_total += 1
            counters.queued += 1
            try:
                with trio.move_on_after(limit or math.inf):
                    return await self._take_turn(queue, place)
            finally:
                counters.queued -= 1
        raise BackendsFull(f"waited {limit:g} s for a backend of cluster {self._cluster.cluster.cluster_id}")

    async def _take_turn(self, queue: Queue, place: Place) -> Connection | None:
        """What it waits for may be configured otherwise by then."""
        while True:
            await place.turn()
            if queue.cluster is None:
                raise NoBackend(f"there is no cluster {self._cluster.cluster.cluster_id} any more")
            self._cluster = queue.cluster
            try:
                self._chosen = self._cluster.choose(trio.current_time(), self.tried)
            except NoRoom:
                continue
            return self._reuse() if self.is_http else None

    async def connect(self) -> Connection:
        """A connection to the backend chosen, or to another one; a new one, unless it had to wait and one became idle
        meanwhile. Raises NoBackend when none is left to try.
        """
        if self._chosen is None and (connection := await self._choose_later()):
            return connection  # The last look may be as old as the request.
        while self.failures < CONNECT_ATTEMPTS and self._chosen is not None:
            state = self._chosen
            if stream := await self._attempt(state):
                self._counters.pool_misses += 1
                return state.use(stream, self._cluster.tls)
            if connection := await self._choose_later():
                return connection
        cluster_id = self._cluster.cluster.cluster_id
        if refusal := self._refusal or (not self.failures and self._cluster.refusal()):
            raise BackendInsecure(refusal)
        if not self.failures:
            raise NoBackend(f"cluster {cluster_id} has no backend that may be tried now")
        raise NoBackend(f"{count(self.failures, 'attempt')} to reach cluster {cluster_id} failed")

    async def _attempt(self, state: BackendState) -> Stream | None:
        self._cluster.make_room(state)
        state.count(1)
        begun = trio.current_time()
        tls, shakes_hands = self._cluster.tls, False
        try:
            with trio.move_on_after(self._timeouts.connect or math.inf):
                stream = Stream(await open_connection(state.backend.address), self._timeouts.back)
                if tls is not None:
                    shakes_hands = True
                    stream = await self._secure(stream, state, tls)
                if not state.is_cut:
                    self._connected(state, trio.current_time() - begun)
                    return stream
                stream.abort()
                raise ConnectionAbortedError(errno.ECONNABORTED, "it was removed meanwhile")
        except HandshakeFailed as error:
            self._refused(state, error)
        except OSError as error:
            if error.errno in EXHAUSTED and not self._relieved:
                return await self._try_again(state, error)
            self._failed(state, error.strerror or str(error), error.errno)
        except BaseException:
            state.count(-1)
            raise
        else:
            if shakes_hands:
                self._refused(state, too_long())
            else:
                self._failed(state, os.strerror(errno.ETIMEDOUT), errno.ETIMEDOUT)
        return None

    async def _secure(self, plain: Stream, state: BackendState, tls: ClientTls) -> TlsStream:
        stream = await secure(plain, state, tls, self.opening, http=self.is_http)
        self._counters.backend_tls_handshakes += 1
        self._counters.backend_tls_resumed += stream.facts().resumed
        return stream

    async def _try_again(self, state: BackendState, error: OSError) -> Stream | None:
        """The kernel has no more of something: have what nobody uses closed, and try once more."""
        self._relieved = True
        try:
            freed = self._relieve()
            log.warning("cannot connect to %s: %s; %d idle connections closed", state.name, error.strerror, freed)
            await trio.sleep(EXHAUSTED_PAUSE)
        finally:
            state.count(-1)
        return await self._attempt(state)

    def _connected(self, state: BackendState, seconds: float) -> None:
        if state.back_off.is_down:
            self._counters.backend_up += 1
            log.info("%s is up again", state.name)
            self._cluster.tell_of("BACKEND_UP", state)
        state.refusal = ""
        state.connected(seconds, trio.current_time())
        if self._cluster.availability.exhausted:
            self._cluster.recovered()

    def _refused(self, state: BackendState, error: HandshakeFailed) -> None:
        """TLS did not come about; said aloud once, until it does or fails otherwise."""
        self._counters.backend_handshake_failed(error.kind)
        known, why = state.refusal, str(error)
        self._failed(state, why)
        self._refusal = state.refusal = why
        if known != why:
            log.warning("%s: %s", state.name, why)

    def _failed(self, state: BackendState, why: str, code: int | None = None) -> None:
        """`code`: of errno, where it was an OSError."""
        state.count(-1)
        self.failures += 1
        self.tried = (*self.tried, state)
        self._refusal = state.refusal = ""
        self._counters.backend_errors += 1
        log.debug("%s: %s", state.name, why)
        if code in OUR_FAULT:
            return
        was_down = state.back_off.is_down
        state.back_off.fail(trio.current_time(), self._random)
        if state.back_off.is_down and not was_down:
            self._counters.backend_down += 1
            log.warning("%s is down: %s", state.name, why)
            self._cluster.tell_of("BACKEND_DOWN", state)

    def lost(self, connection: Connection) -> None:
        """`connection` ended before a response: the next one, if any, is new; a new one that ended so is a failure."""
        if isinstance(connection.stream, TlsStream) and connection.stream.lacks_certificate:
            self._counters.backend_handshake_failed("client_certificate")
        discard(connection)
        self._fresh = True
        if not connection.reused:
            self.failures += 1
            self.tried = (*self.tried, connection.state)


class TcpConnector(Connector):
    """That of a tcp session, whose protocol is not known; `opening` goes before TLS, where there is TLS."""

    is_http = False


def give_back(connection: Connection, cluster: ClusterState, now: float) -> None:
    """The connection has served its request and may serve another."""
    if connection.tls is not None:
        connection.remember()
    connection.state.requests -= 1
    connection.state.keep(connection, cluster.cluster, now)


def discard(connection: Connection) -> None:
    """The connection has served its last request."""
    if connection.tls is not None:
        connection.remember()
    connection.state.requests -= 1
    connection.state.drop(connection)


async def open_connection(address: Address) -> socket.socket:
    """A connected, non-blocking socket. Raises OSError; a cancelled or failed attempt leaves nothing open."""
    sock = socket.socket(socket.AF_INET6 if address.is_ipv6 else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            sock.connect((address.host, address.port))
        except BlockingIOError:
            await wait_writable(sock)
            if code := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise OSError(code, os.strerror(code)) from None
    except BaseException:
        sock.close()
        raise
    return sock
