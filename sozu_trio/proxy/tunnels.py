"""Tunnels that may move to the worker that comes next, at any time, and those that came from the worker before.

A tunnel that is to move is paused: all that is under way stands in its attributes then (`relay.py`), and while it is
on its way nothing touches its sockets, not even a cut of its backend, which would reset them where they live on.
"""

import dataclasses
import socket
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import trio

from sozu_trio.control.moves import Tunnelled, Way
from sozu_trio.nursery.departure import depart
from sozu_trio.nursery.listener import SessionNode
from sozu_trio.proxy.backends import BackendState, Connection
from sozu_trio.proxy.connect import discard
from sozu_trio.proxy.ends import cut_short_by
from sozu_trio.proxy.relay import Tunnel
from sozu_trio.proxy.stream import Stream
from sozu_trio.telemetry.access_log import AccessRecord

if TYPE_CHECKING:
    from sozu_trio.proxy.proxy import Proxy

RECORD: Final = tuple(field.name for field in dataclasses.fields(AccessRecord))
AS_BYTES: Final = frozenset(field.name for field in dataclasses.fields(AccessRecord) if field.type in ("bytes", bytes))


@dataclasses.dataclass(frozen=True, slots=True)
class About:
    """What is to be said of a tunnel in the end: its line so far, seconds it has lasted, bytes from and to the
    client.
    """

    record: AccessRecord
    lasted: float
    bytes_in: int
    bytes_out: int


async def relay_or_move(node: SessionNode, connection: Connection, tunnel: Tunnel, about: Callable[[], About]) -> bool:
    """Relay until the tunnel has ended; True when it has moved to the worker that comes next instead, and nothing may
    be done any more that its peers would notice.
    """
    connection.kind, connection.on_cut = node.kind, tunnel.cut
    if connection.tls is not None:
        node.is_bound = True  # The keys are known to OpenSSL alone.
    if node.is_bound:
        await tunnel.run()
        return False
    while True:
        if node.listener.departure is not None and await _moves(node, connection, tunnel, about):
            return True
        node.tunnel = tunnel
        try:
            await tunnel.run()
        finally:
            node.tunnel = None
        if not tunnel.paused:
            return False


async def _moves(node: SessionNode, connection: Connection, tunnel: Tunnel, about: Callable[[], About]) -> bool:
    state = connection.state
    if state.leaving is not None or connection.is_cut:
        return False
    moved = False
    state.hide(connection)
    try:
        backend = connection.stream.sock.fileno()
        moved = await depart(node, lambda: _tunnelled(state, tunnel, about()), backend)
    finally:
        if not moved:
            state.show(connection)
    if moved:
        tunnel.client.leave()
        tunnel.backend.leave()
    return moved


def _tunnelled(state: BackendState, tunnel: Tunnel, about: About) -> Tunnelled:
    to_backend, to_client = (Way(held=held, ended=ended) for held, ended in tunnel.ways)
    return Tunnelled(
        upgraded=about.record.protocol == "WS",
        cluster_id=state.backend.cluster_id,
        backend_id=state.backend.backend_id,
        backend=state.backend.address,
        to_backend=to_backend,
        to_client=to_client,
        idle_timeout=tunnel.idle_timeout,
        idle_left=tunnel.idle_left,
        lasted=about.lasted,
        bytes_in=about.bytes_in,
        bytes_out=about.bytes_out,
        record=record_as_json(about.record),
    )


async def go_on_relaying(
    proxy: "Proxy",
    state: BackendState,
    parcel: Tunnelled,
    record: AccessRecord,
    node: SessionNode,
    sock: socket.socket | None,
) -> None:
    """Serve what came from the worker before to its end, or until it moves on. `record` is that of `parcel`,
    `sock` that to the backend.
    """
    assert sock is not None
    client, backend = Stream(node.sock, 0), Stream(sock, 0)
    client.bytes_in, client.bytes_out = parcel.bytes_in, parcel.bytes_out
    tunnel = Tunnel(
        client,
        backend,
        proxy.pipes,
        idle_timeout=parcel.idle_timeout,
        idle_left=parcel.idle_left,
        to_backend=parcel.to_backend.held,
        to_client=parcel.to_client.held,
        ended=(parcel.to_backend.ended, parcel.to_client.ended),
    )
    state.count(1)
    connection = state.use(backend)
    try:
        with node.until_killed():
            await _go_on(proxy, node, connection, tunnel, record, trio.current_time() - parcel.lasted)
    finally:
        discard(connection)
        client.close()


async def _go_on(
    proxy: "Proxy", node: SessionNode, connection: Connection, tunnel: Tunnel, record: AccessRecord, began: float
) -> None:
    client, counters = tunnel.client, proxy.counters
    upgraded = int(record.protocol == "WS")
    counters.active_requests += upgraded
    counters.tunnels += upgraded
    moved = False
    # It may have been removed, and cut, since there was a place for this here.
    connection.on_cut = tunnel.cut
    connection.state.show(connection)
    try:
        moved = await relay_or_move(
            node,
            connection,
            tunnel,
            lambda: About(record, trio.current_time() - began, client.bytes_in, client.bytes_out),
        )
        record.message = ("upgraded; " if upgraded else "") + tunnel.outcome
        record.failed = tunnel.failed is not None or tunnel.timed_out
        if tunnel.failed:
            _abort(tunnel)
    except BaseException as error:
        record.message = cut_short_by(error)
        record.failed = True
        _abort(tunnel)
        raise
    finally:
        counters.active_requests -= upgraded
        counters.tunnels -= upgraded
        if not moved:
            record.request_time = trio.current_time() - began
            if upgraded:
                record.start = time.time() - record.request_time
                counters.by_status[record.status // 100] += 1
            log_tunnel(proxy, record, client)


def _abort(tunnel: Tunnel) -> None:
    """Neither side must take what it has for the whole."""
    tunnel.backend.abort()
    tunnel.client.abort()


def log_tunnel(proxy: "Proxy", record: AccessRecord, client: Stream) -> None:
    """The line of a session whose bytes are all those of `client`, and what it adds to the counters."""
    record.bytes_in, record.bytes_out = client.bytes_in, client.bytes_out
    proxy.counters.bytes_in += client.bytes_in
    proxy.counters.bytes_out += client.bytes_out
    proxy.counters.access_lines += 1
    proxy.access_log.write(record)


def record_as_json(record: AccessRecord) -> dict[str, Any]:
    """Every member; bytes as the text of which each character is one of them."""
    members = {name: getattr(record, name) for name in RECORD}
    members["tags"] = None if record.tags is None else dict(record.tags)
    return members | {name: members[name].decode("latin-1") for name in AS_BYTES}


def record_of_json(members: Mapping[str, Any]) -> AccessRecord:
    """The record of which `record_as_json` was told. Raises ValueError where that has other members than ours."""
    if members.keys() != set(RECORD):
        raise ValueError(f"a record with other members: {sorted(members.keys() ^ set(RECORD))}")
    return AccessRecord(**{**members, **{name: members[name].encode("latin-1") for name in AS_BYTES}})
