"""A connection of an https listener: PROXY header where one is expected, TLS, then HTTP/1 within it.

All of the handshake is done by the connection's own task, within the shorter one of the listener's `request_timeout`
and `front_timeout`, and within HANDSHAKE. From its first byte on such a session cannot move to the worker that comes
next, because its keys are known to OpenSSL alone: it is served here, and ends after its next response. Whoever waits
for none has a last call first, since a request may be on its way.
"""

import contextlib
import dataclasses
import math
import time

import trio

from sozu_trio.config.addresses import Address
from sozu_trio.config.limits import GOODBYE, HANDSHAKE, LAST_CALL
from sozu_trio.config.listeners import HttpListener, HttpsListener
from sozu_trio.errors import HandshakeFailed, ProxyHeaderError
from sozu_trio.nursery.departure import Departure
from sozu_trio.nursery.listener import SessionNode
from sozu_trio.proxy.client_fields import fields_of
from sozu_trio.proxy.exchange import Exchange
from sozu_trio.proxy.first_word import hears_first_word, is_speaking
from sozu_trio.proxy.forwarding import Forwarding
from sozu_trio.proxy.http1 import HttpConnection
from sozu_trio.proxy.linger import linger
from sozu_trio.proxy.proxy import Proxy
from sozu_trio.proxy.proxy_header import take_proxy_header, who_and_where
from sozu_trio.proxy.secured import Routes, Secured
from sozu_trio.proxy.stream import Stream
from sozu_trio.proxy.tls_stream import TlsStream
from sozu_trio.routing.client_fields import client_fields
from sozu_trio.routing.resolver import Shown, covers
from sozu_trio.routing.table import Table
from sozu_trio.telemetry.access_log import TlsFacts
from sozu_trio.telemetry.counters import Counters
from sozu_trio.tls.contexts import ServerSocket
from sozu_trio.tls.identity import ClientIdentity, client_identity
from sozu_trio.wire.proxy_protocol import ProxyHeader


async def accept_https(proxy: Proxy, node: SessionNode, listener: HttpsListener) -> "HttpsConnection | bool":
    """The connection of `node` after its handshake, to be run. False where it has ended before; True where it has not
    begun, because its listener speaks no TLS any more. Raises HandshakeFailed, ProxyHeaderError, OSError.
    """
    timeouts = (listener.timeouts.front, listener.timeouts.request)
    limit = min((seconds for seconds in timeouts if seconds), default=math.inf)
    plain = Stream(node.sock, listener.timeouts.front)
    if not await hears_first_word(plain, limit, node):
        return False
    # It may have changed while the client had nothing to say.
    now = proxy.table.listeners.get(node.listener.key) or listener
    if not isinstance(now, HttpsListener):
        return True
    listener = now
    node.is_bound = True
    deadline = min(node.started + limit, trio.current_time() + HANDSHAKE)
    header = None
    if listener.expect_proxy:
        header = await _proxy_header(plain, deadline)
        if header is None or not await _goes_on(plain, deadline):
            return False
    client, destination = who_and_where(node, header)
    if header is not None and not proxy.places.arrive(node.held, client.host):
        proxy.counters.refused_sources += 1
        return False
    contexts = proxy.tls.contexts(listener, proxy.table)
    contexts.forget_expired(time.time())
    node.sock = sock = contexts.wrap(node.sock, destination.host)
    stream = TlsStream(sock, listener.timeouts.front)
    try:
        await _shake_hands(stream, deadline)
        identity = _identity(sock, listener)
    except HandshakeFailed as error:
        proxy.counters.handshake_failed(error.kind)
        raise
    finally:
        if proxy.tls.key_log is not None:
            proxy.tls.key_log.pass_on()
    if identity is not None:
        contexts.remember(identity.not_after)
    facts = _with_client(stream.facts(), identity)
    _count(proxy.counters, facts, sock.shown)
    secured = Secured(listener, facts, sock.shown, fields_of(identity, listener) if identity else ())
    return HttpsConnection(proxy, node, stream, listener, client, destination, secured)


async def _proxy_header(stream: Stream, deadline: float) -> ProxyHeader | None:
    with trio.move_on_at(deadline):
        return await take_proxy_header(stream)
    raise ProxyHeaderError("the PROXY header took too long")


async def _goes_on(stream: Stream, deadline: float) -> bool:
    """Whether the client has not closed after its header, as load balancers do that only look whether we are there."""
    with trio.move_on_at(deadline):
        return await is_speaking(stream)
    return True  # The handshake then took too long, and is told of.


async def _shake_hands(stream: TlsStream, deadline: float) -> None:
    with trio.move_on_at(deadline):
        await stream.handshake()
        return
    raise HandshakeFailed("timeout", "TLS handshake: it took too long")


def _identity(sock: ServerSocket, listener: HttpsListener) -> ClientIdentity | None:
    """Raises HandshakeFailed."""
    if listener.tls.client_auth == "none":
        return None
    return client_identity(sock, required=listener.tls.client_auth == "required", now=time.time())


def _with_client(facts: TlsFacts, identity: ClientIdentity | None) -> TlsFacts:
    if identity is None:
        return facts
    return dataclasses.replace(facts, client_subject=identity.subject, client_fingerprint=identity.fingerprint)


def _count(counters: Counters, facts: TlsFacts, shown: Shown | None) -> None:
    counters.tls_handshakes += 1
    counters.tls_1_2 += facts.version == "TLSv1.2"
    counters.tls_1_3 += facts.version == "TLSv1.3"
    counters.agreed_on(facts.cipher)
    counters.tls_resumed += facts.resumed
    counters.tls_default += shown is not None and _is_stopgap(shown, facts.server_name or "")


def _is_stopgap(shown: Shown, name: str) -> bool:
    """Whether what was shown is the default, and not for the name that was asked for."""
    return shown.why == "default" and not all(covers(each, name) for each in shown.certificates)


class HttpsConnection(HttpConnection):
    """One client connection that speaks HTTP/1 within TLS."""

    __slots__ = ("_departure", "_own_fields")

    secured: Secured
    stream: TlsStream

    def __init__(
        self,
        proxy: Proxy,
        node: SessionNode,
        stream: TlsStream,
        listener: HttpsListener,
        client: Address,
        destination: Address,
        secured: Secured,
    ) -> None:
        """After the handshake."""
        super().__init__(proxy, node, stream, listener, client, destination, b"")
        self.secured = secured
        self._forward_identity()
        self._own_fields = client_fields([listener])
        self._routes: Routes = secured
        self._departure: Departure | None = None
        """Whom it had its last call for."""

    @property
    def draining(self) -> bool:
        return self._drain.started or self.node.listener.departure is not None or self.outdated

    @property
    def _is_known(self) -> bool:
        return bool(self.secured.facts.client_fingerprint)

    def _can_begin_anew(self) -> bool:
        return False

    def _routes_in(self, table: Table) -> Routes:
        self.secured.routes = table.http.get(self.listener.address, self.secured.routes)
        return self.secured

    def _client_fields_in(self, table: Table) -> frozenset[bytes]:
        """Those of its own listener also where that has changed since."""
        return table.client_fields | self._own_fields

    def _adopt(self, listener: HttpListener) -> None:
        super()._adopt(listener)
        if self.secured is not None:
            assert isinstance(listener, HttpsListener)
            self.secured.adopt(listener)
            self._forward_identity()

    def _forward_identity(self) -> None:
        """Have backends told who the client is, by the names of when it came."""
        if self.secured.identity:
            self.forwarding = Forwarding(self.listener, self.client, self._destination, self.secured.identity)

    async def _moves(self) -> bool:
        departure = self.node.listener.departure
        if departure is not self._departure:
            self._departure = departure
            self.now = trio.current_time()
        return False

    def _idle_timeout(self) -> float:
        return LAST_CALL if self.node.listener.departure is not None else super()._idle_timeout()

    async def _part(self, exchange: Exchange) -> None:
        if not self.stream.is_closed:
            # Any client may have sent its close_notify, and closing with that unread would reset the connection.
            with contextlib.suppress(ConnectionError):
                await linger(self.stream)
        if not self.stream.is_finished:
            with trio.move_on_after(GOODBYE):
                await self.stream.finish()
