"""A session of a tcp listener: a backend of its cluster, a PROXY header for it where the cluster wants one, and both
ways relayed.

Half-close is kept: a client may shut its side and read on for hours. A session is idle only when no byte moved in
either direction.
"""

import time
from typing import TYPE_CHECKING

import trio

from sozu_trio.config.addresses import Address
from sozu_trio.config.listeners import TcpListener
from sozu_trio.errors import LimitReached, NoBackend
from sozu_trio.nursery.listener import SessionNode
from sozu_trio.proxy.backends import Connection
from sozu_trio.proxy.connect import BackendTimeouts, discard
from sozu_trio.proxy.ends import cut_short_by
from sozu_trio.proxy.relay import Tunnel
from sozu_trio.proxy.stream import Stream
from sozu_trio.proxy.tunnels import About, log_tunnel, relay_or_move
from sozu_trio.telemetry.access_log import AccessRecord
from sozu_trio.wire.proxy_protocol import ProxyHeader, encode_proxy_v2

if TYPE_CHECKING:
    from sozu_trio.proxy.proxy import Proxy


async def serve_tcp(
    proxy: "Proxy",
    node: SessionNode,
    stream: Stream,
    listener: TcpListener,
    client: Address,
    destination: Address,
    header: ProxyHeader | None,
    early: bytes,
) -> None:
    """Relay one session to its end, or until it moves; `early` came behind the PROXY header and goes first."""
    record = AccessRecord(node.name, str(client), "TCP", time.time())
    session = TcpSession(proxy, node, stream, listener, record)
    opening = _opening(header, client, destination) if session.sends_proxy else b""
    moved = False
    try:
        moved = await session.run(client, opening, early)
    except (NoBackend, LimitReached) as error:
        proxy.counters.exhausted += isinstance(error, NoBackend)
        record.message, record.failed = str(error), True
    except BaseException as error:
        record.message, record.failed = cut_short_by(error), True
        stream.abort()
        raise
    finally:
        if not moved:
            record.request_time = trio.current_time() - session.begun
            log_tunnel(proxy, record, stream)
        stream.close()


def _opening(header: ProxyHeader | None, client: Address, destination: Address) -> bytes:
    """The PROXY header for the backend: the one we got, to the byte, else one of our own."""
    return header.raw if header else encode_proxy_v2(client, destination)


class TcpSession:
    """The relay of one session and what its log line says."""

    def __init__(
        self, proxy: "Proxy", node: SessionNode, stream: Stream, listener: TcpListener, record: AccessRecord
    ) -> None:
        self.begun = trio.current_time()
        decision = proxy.table.tcp.get(listener.address)
        self._cluster_id = decision.cluster.cluster.cluster_id if decision and decision.cluster else None
        self._cluster = None if self._cluster_id is None else proxy.backends.find(self._cluster_id)
        self._proxy = proxy
        self._node = node
        self._stream = stream
        self._listener = listener
        self._record = record
        if decision:
            record.tags = decision.tags

    @property
    def sends_proxy(self) -> bool:
        return self._cluster is not None and self._cluster.cluster.send_proxy

    async def run(self, client: Address, opening: bytes, early: bytes) -> bool:
        """Connect and relay; `opening` goes to the backend before anything else, also before TLS, and then `early`.
        Whether it has moved to the worker that comes next. Raises NoBackend, LimitReached.
        """
        if self._cluster_id is None:
            raise NoBackend("the listener has no frontend")
        self._record.cluster_id = self._cluster_id
        if self._cluster is None:
            raise NoBackend(f"there is no cluster {self._cluster_id}")
        self._proxy.enter(self._node, self._cluster.cluster, client)
        timeouts = self._listener.timeouts
        limits = BackendTimeouts(timeouts.connect, timeouts.back)
        connector = self._proxy.tcp_connector(self._cluster, limits, opening)
        connector.choose(self.begun)
        connection = await connector.connect()
        self._record.service_time = trio.current_time() - self.begun
        try:
            # Within TLS it went before the handshake.
            return await self._relay(connection, early if connection.tls is not None else opening + early)
        finally:
            discard(connection)

    async def _relay(self, connection: Connection, first: bytes) -> bool:
        state = connection.state
        self._record.backend_id, self._record.backend = state.backend.backend_id, state.address
        self._proxy.counters.tcp_sessions += 1
        tunnel = Tunnel(
            self._stream,
            connection.stream,
            self._proxy.pipes,
            idle_timeout=self._listener.timeouts.tunnel,
            to_backend=first,
        )
        try:
            if await relay_or_move(self._node, connection, tunnel, self._about):
                return True
        except BaseException:
            connection.stream.abort()
            raise
        self._record.message = tunnel.outcome
        self._record.failed = tunnel.failed is not None or tunnel.timed_out
        if tunnel.failed:
            # The other side must not take what it has for the whole; nor where the session is cut.
            connection.stream.abort()
            self._stream.abort()
        return False

    def _about(self) -> About:
        return About(self._record, trio.current_time() - self.begun, self._stream.bytes_in, self._stream.bytes_out)
