"""What a worker is doing just now, read off the live tree.

    counters    {"counters": {name: value}, "listeners": {address: sessions}}
    tree        a node: {"name", "kind", "age" (s), "count"?, "children": [node]}
    sessions    [{"id", "listener", "client", "age" (s)}], the oldest first; {"limit": n} for no more than n
    drains      {address: {"sessions", "websocket", "tcp", "cut"}} of listeners that let nobody in any more: who is
                left, how many of them are upgraded and how many TCP, and how many were cut there since it began
    …           whatever else the handler knows

Answers may take in ten thousand sessions, so what is long is put together in slices between which traffic is served.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

import trio

from sozu_trio.errors import ChannelError
from sozu_trio.nursery.listener import ListenerNode, SessionNode

OLDEST = 20
"""Sessions of one listener that a tree shows."""
SLICE = 500
"""Sessions described at a time: about 2 ms."""
NOBODY_LEFT: Final = {"sessions": 0, "websocket": 0, "tcp": 0, "cut": 0}


@dataclass(slots=True, eq=False)
class Service:
    """A task of a worker that is no session, for as long as it runs."""

    name: str
    started: float = field(default_factory=trio.current_time)
    """Trio's clock."""


def tree_of(worker: Service, services: Iterable[Service], listeners: Iterable[ListenerNode]) -> dict[str, Any]:
    """The whole worker."""
    children = [_node(service.name, "service", service.started) for service in services]
    children += [_listener(node) for node in sorted(listeners, key=lambda node: (node.key, node.started))]
    return _node(worker.name, "worker", worker.started, children)


def _listener(node: ListenerNode) -> dict[str, Any]:
    accepting = [] if node.closed.is_set() else [_node("accepting", "accepting", node.started)]
    oldest = [_node(each.name, "session", each.started) for each in islice(node.sessions.values(), OLDEST)]
    connections = _node("connections", "connections", node.started, oldest) | {"count": len(node.sessions)}
    return _node(node.name, "listener", node.started, [*accepting, connections])


def _node(name: str, kind: str, started: float, children: Iterable[dict[str, Any]] = ()) -> dict[str, Any]:
    return {"name": name, "kind": kind, "age": _age(started), "children": list(children)}


def _age(started: float) -> float:
    return round(trio.current_time() - started, 3)


def sessions_by_listener(listeners: Iterable[ListenerNode]) -> dict[str, int]:
    """By address: one that was listened to twice may still have sessions of the first time."""
    counted: dict[str, int] = {}
    for node in listeners:
        address = str(node.key[1])
        counted[address] = counted.get(address, 0) + len(node.sessions)
    return counted


def drains_by_listener(listeners: Iterable[ListenerNode], cut: Mapping[str, int]) -> dict[str, dict[str, int]]:
    """By address; `cut`: how many were cut at listeners that have ended. Of an address that lets in again only those
    count whom it had before.
    """
    drains = {address: {**NOBODY_LEFT, "cut": number} for address, number in cut.items()}
    for node in listeners:
        if node.drain.started:
            drain = drains.setdefault(str(node.key[1]), {**NOBODY_LEFT})
            kinds = Counter(session.kind for session in node.sessions.values())
            found = {
                "sessions": len(node.sessions),
                "websocket": kinds["websocket"],
                "tcp": kinds["tcp"],
                "cut": node.cut,
            }
            for name, number in found.items():
                drain[name] += number
    return drains


async def list_sessions(listeners: Iterable[ListenerNode], query: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Those that were there when asked and still are. One on its way to the next worker is told of by the one that it
    comes from. Raises ChannelError for a query that is none.
    """
    limit = query.get("limit")
    if query.keys() - {"limit"} or not (limit is None or (type(limit) is int and limit >= 0)):
        raise ChannelError(f"sessions are asked for by limit only, a count: {dict(query)}")
    nodes = [node for listener in listeners for node in islice(listener.sessions.values(), limit)]
    nodes.sort(key=lambda node: node.started)
    listed = []
    for number, node in enumerate(nodes[:limit]):
        if number % SLICE == SLICE - 1:
            await trio.lowlevel.checkpoint()
        if node.name in node.listener.sessions and (node.fate is None or node.fate.is_ours):
            listed.append(_session(node))
    return listed


def _session(node: SessionNode) -> dict[str, Any]:
    return {
        "id": node.name,
        "listener": str(node.listener.key[1]),
        "client": str(node.client),
        "age": _age(node.started),
    }
