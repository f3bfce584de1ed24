"""The listeners of a worker: where it accepts for itself, where on sockets it was lent, and who still drains."""

import os
import socket
from collections import Counter
from collections.abc import Collection

import trio

from sozu_trio.errors import ChannelError
from sozu_trio.nursery.listener import Doorkeeping, ListenerNode, serve_listener
from sozu_trio.routing.state import ListenerKey


class Listening:
    """What a worker listens on. Raises ChannelError where main and it are not of one mind about that."""

    def __init__(self, doors: Doorkeeping) -> None:
        self.listeners: dict[ListenerKey, ListenerNode] = {}
        """Those that accept."""
        self.lent: dict[tuple[int, ListenerKey], ListenerNode] = {}
        """Those that accept on sockets of other workers, by the worker's id too."""
        self.nodes: set[ListenerNode] = set()
        """These and those that still drain."""
        self.cut_at: Counter[str] = Counter()
        """How many sessions were cut, by the address of their listener, of those listeners that have ended."""
        self._doors = doors

    async def listen(self, key: ListenerKey, descriptors: list[int], listeners: trio.Nursery) -> None:
        """Take what is listened on out of `descriptors` and accept on it."""
        known = self.listeners.get(key)
        node = self._node(key, known, descriptors)
        if node is not known:
            self.listeners[key] = node
            await listeners.start(self._serve, node, name=node.name)

    async def borrow(self, owner: int, key: ListenerKey, descriptors: list[int], listeners: trio.Nursery) -> None:
        """Accept on the socket of another worker as well."""
        if key not in self.listeners:
            raise ChannelError(f"not listening at {key[1]}")
        known = self.lent.get((owner, key))
        node = self._node(key, known, descriptors)
        if node is not known:
            self.lent[owner, key] = node
            await listeners.start(self._serve, node, name=f"{node.name} of worker {owner}")

    async def give_back(self, owner: int, key: ListenerKey) -> None:
        """Accept no more on what was lent; whoever came in that way stays."""
        node = self.lent.pop((owner, key), None)
        if node is not None:
            node.accepting.cancel(reason="the worker whose socket it is accepts again")
            await node.closed.wait()

    def _node(self, key: ListenerKey, known: ListenerNode | None, descriptors: list[int]) -> ListenerNode:
        """The one for the socket in `descriptors`: `known`, where main never heard that it was there."""
        if len(descriptors) != 1:
            raise ChannelError(f"{len(descriptors)} descriptors came to listen on")
        if known is not None:
            if os.path.samestat(os.fstat(known.sock.fileno()), os.fstat(descriptors[0])):
                return known
            raise ChannelError(f"already listening at {key[1]}")
        sock = socket.socket(fileno=descriptors[0])
        descriptors.clear()
        sock.setblocking(False)
        return ListenerNode(key, sock)

    async def _serve(
        self,
        node: ListenerNode,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        self.nodes.add(node)
        try:
            await serve_listener(node, self._doors, task_status=task_status)
        finally:
            self.cut_at[str(node.key[1])] += node.cut
            self.nodes.discard(node)

    async def unlisten(self, key: ListenerKey, grace: float | None) -> None:
        """Stop accepting for `key`, have sessions drain, and cut them after `grace` seconds (None = never)."""
        # Out of the map at once: the address may be listened to again while old sessions still drain.
        self.listeners.pop(key, None)
        self.lent = {name: node for name, node in self.lent.items() if node.key != key}
        for node in [node for node in self.nodes if node.key == key]:
            node.stop(grace)
            # Whoever was in the queue begins under a Table that knows the listener: the next one comes after our reply.
            await node.closed.wait()

    def wake(self, keys: Collection[ListenerKey]) -> None:
        """Have whoever only waits at the listeners `keys` look at what they are now."""
        for node in [node for node in self.nodes if node.key in keys]:
            for scope in node.drain.idle:
                node.drain.wake(scope, "its listener is another one now")

    def forget(self) -> None:
        """None accepts any more."""
        self.listeners.clear()
        self.lent.clear()
