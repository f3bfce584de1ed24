"""Sessions that come from the worker before, as its successor sees it.

Their tasks are started before the answer says that they are taken, so that a listener that is removed meanwhile does
not close over them, and wait for it to be sent; until then they touch nothing (`control/moves.py` says why).
"""

import contextlib
import logging
import os
import resource
import socket
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from itertools import islice
from typing import Final

import trio

from sozu_trio.control.channel import Channel, DescriptorsLost, close_all
from sozu_trio.control.moves import Learned, Offer, Offered, Parcel, Taken
from sozu_trio.errors import ChannelError
from sozu_trio.nursery.link import BROKEN
from sozu_trio.nursery.listener import Doorkeeping, Fate, ListenerNode, Resume, SessionNode
from sozu_trio.routing.state import ListenerKey

log = logging.getLogger(__name__)

RESERVE: Final = 64
"""Descriptors kept for new connections, connections to backends and pipes."""
COUNT_AGAIN: Final = 1.0
"""Seconds after which descriptors are counted again: a list of ten thousand takes milliseconds."""
OPEN: Final = "/proc/self/fd"
"""What lists them; a worker in its sandbox has it open from before."""


class Arrival:
    """One channel from the worker before, for as long as it lasts."""

    def __init__(
        self,
        channel: Channel[Offer],
        listeners: Mapping[ListenerKey, ListenerNode],
        doors: Doorkeeping,
        learn: Callable[[Learned], Awaitable[None]],
        listing: int | str = OPEN,
    ) -> None:
        """`listeners`: where sessions may go on, also as that changes. `learn` takes what is known of backends.
        `listing`: the directory of this process's descriptors, or a descriptor of that.
        """
        self._channel = channel
        self._listeners = listeners
        self._doors = doors
        self._learn = learn
        self._spare = Spare(listing)
        self._scope = trio.CancelScope()

    def finish(self) -> None:
        """Take nobody any more, and refuse nobody: this worker leaves or stops, and another one may come that can."""
        self._scope.cancel(reason="the worker takes no sessions any more")

    async def run(self) -> None:
        """Take what is offered until the worker before has ended. Closes the channel."""
        with contextlib.closing(self._channel), self._scope:
            try:
                while await self._answer_next():
                    pass
            except ChannelError as error:
                log.error("the worker before makes no sense; it keeps the sessions it has: %s", error)
            except OSError as error:
                # It is reset, not ended, where the worker before had not read an answer.
                if error.errno not in BROKEN:
                    log.error("no answer for the worker before; it keeps the sessions it has: %s", error)
            except Exception:
                log.exception("an error of ours; the worker before keeps the sessions it has")

    async def _answer_next(self) -> bool:
        """Answer the next offer; whether there was one."""
        try:
            received = await self._channel.receive()
        except DescriptorsLost as loss:
            # Those that are lost were copies.
            log.warning("%s: the sessions stay where they are for now", loss)
            self._spare.forget()
            await self._channel.send(self._taken())
            return True
        if received is None:
            return False
        message, descriptors = received
        if isinstance(message, Offered):
            await self._take(message, descriptors)
            return True
        close_all(descriptors)
        await self._learn(message)
        await self._channel.send(self._taken())
        return True

    async def _take(self, offered: Offered, descriptors: list[int]) -> None:
        """Take those that have a place here. Raises ChannelError where sockets and sessions do not match."""
        wanted = sum(parcel.sockets for parcel in offered.parcels)
        if len(descriptors) != wanted:
            close_all(descriptors)
            raise ChannelError(f"{len(descriptors)} descriptors came for sessions that have {wanted}")
        self._spare.use(wanted)
        sockets = _sockets(descriptors)
        fate = Fate(is_ours=False)
        try:
            refused = self._begin_all(offered.parcels, sockets, fate)
            taken = sorted(set(range(len(offered.parcels))) - set(refused))
            await self._channel.send(self._taken(taken, refused))
            fate.is_ours = True
        finally:
            fate.known.set()
            for sock in sockets:
                sock.close()

    def _begin_all(self, parcels: tuple[Parcel, ...], sockets: deque[socket.socket], fate: Fate) -> list[int]:
        """Start the tasks of sessions, whose sockets are taken out of `sockets`; the places of those refused."""
        refused = []
        for place, parcel in enumerate(parcels):
            own = list(islice(sockets, parcel.sockets))
            begins = self._begin(parcel, own, fate)
            for _ in own:
                sock = sockets.popleft()
                if not begins:
                    sock.close()
            if not begins:
                refused.append(place)
        return refused

    def _taken(self, taken: list[int] | None = None, refused: list[int] | None = None) -> Taken:
        return Taken(taken=tuple(taken or ()), refused=tuple(refused or ()), room=self._spare.count())

    def _begin(self, parcel: Parcel, sockets: list[socket.socket], fate: Fate) -> bool:
        """Start the task of a session, which waits for its `fate`; whether it has a place here."""
        listener = self._listeners.get((parcel.transport, parcel.address))
        resume = self._doors.admit(parcel)
        if listener is None or listener.door is None or resume is None:
            return False
        sock, backend = (*sockets, None)[:2]
        assert sock is not None
        node = SessionNode(parcel.name, sock, tuple(parcel.peer), listener, trio.current_time() - parcel.age)
        node.fate = fate
        node.held = dict(parcel.held)
        if parcel.tunnelled is not None:
            node.kind = "websocket" if parcel.tunnelled.upgraded else "tcp"
        listener.door.take_in(node, lambda node: _go_on(node, backend, resume, fate))
        return True


async def _go_on(node: SessionNode, backend: socket.socket | None, resume: Resume, fate: Fate) -> None:
    try:
        with trio.CancelScope(shield=True):
            await fate.known.wait()
        if fate.is_ours:
            await resume(node, backend)
    finally:
        if backend is not None:
            backend.close()


def _sockets(descriptors: list[int]) -> deque[socket.socket]:
    sockets = deque(socket.socket(fileno=descriptor) for descriptor in descriptors)
    for sock in sockets:
        # They are so already, but Python does not know.
        sock.setblocking(False)
    return sockets


class Spare:
    """How many descriptors this process has to spare, about."""

    def __init__(self, listing: int | str = OPEN) -> None:
        self._listing = listing
        self._left = 0
        self._counted_at = -COUNT_AGAIN

    def count(self) -> int:
        if trio.current_time() >= self._counted_at + COUNT_AGAIN:
            most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
            if most == resource.RLIM_INFINITY:
                most = sys.maxsize
            try:
                self._left = most - len(os.listdir(self._listing)) - RESERVE
            except OSError:
                # To count them takes one.
                self._left = 0
            self._counted_at = trio.current_time()
        return max(0, self._left)

    def use(self, descriptors: int) -> None:
        """So many have come since."""
        self._left -= descriptors

    def forget(self) -> None:
        """Count anew the next time."""
        self._counted_at = -COUNT_AGAIN
