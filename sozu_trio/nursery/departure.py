"""Sessions on their way to a successor, as their worker sees it.

A session that gets to a place where it can move gives itself away (`depart`): its task waits there, with all
its state on its stack, until the successor has said whether it took the session. If so the task ends without a word;
if not it goes on where it was. Those that only wait, and tunnels, are woken for that, a few at a time: to cancel
thousands of tasks at once holds the loop for as long as all of them take.

Why an end of the channel without an answer means that nobody serves what was offered: `control/moves.py`.
"""

import logging
import math
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Final

import trio

from sozu_trio.config.limits import GOODBYE
from sozu_trio.control.channel import MOST_DESCRIPTORS, Channel
from sozu_trio.control.moves import KeptAlive, Learned, Offer, Offered, Parcel, Taken, Tunnelled
from sozu_trio.errors import ChannelError
from sozu_trio.nursery.link import BROKEN
from sozu_trio.nursery.listener import Fate, ListenerNode, SessionNode

log = logging.getLogger(__name__)

BATCH: Final = 24
"""Sessions woken, and offered, at a time: 16 to 32 keep the loop free (reference/feasibility.md, d)."""
BATCH_SIZE: Final = 1 << 20
"""Bytes of peers in a batch; one session that has more goes alone."""
BATCH_DESCRIPTORS: Final = MOST_DESCRIPTORS - 1
"""One is left for a message that travels in a memfd."""
PASSES: Final = 8
"""Of the scheduler, which take a task that was woken to where it can move, a tunnel out of its nursery for instance."""
LONGEST_QUEUE: Final = 1.0
"""Seconds one waits to be offered before it goes on here for now."""
MOVES: Final = "it moves to the next worker"
PAUSE: Final = 1.0
"""Seconds until sessions for which there was no room are tried again."""


@dataclass(slots=True, eq=False)
class _Offering:
    """One session, from the moment it can move until it is known whether it did."""

    node: SessionNode
    parcel: Parcel
    descriptors: list[int]
    leaving: trio.Event = field(default_factory=trio.Event)
    """It is being offered, or will not be."""
    fate: Fate = field(default_factory=lambda: Fate(is_ours=True))

    def leave(self) -> None:
        """It is being offered from now on."""
        self.node.fate = self.fate
        self.leaving.set()

    def decide(self, *, is_taken: bool) -> None:
        self.fate.is_ours = not is_taken
        self.leaving.set()
        self.fate.known.set()


class Departure:
    """One channel to one successor, for as long as it lasts."""

    def __init__(
        self,
        channel: Channel[Taken],
        nodes: Collection[ListenerNode],
        learned: Learned,
        report: Callable[[int, int], Awaitable[None]],
        report_stranded: Callable[[int], Awaitable[None]],
    ) -> None:
        """`nodes`: listeners whose sessions are to move, also as they change. `learned` is said first.
        `report(moved, left)` is called when everybody who was there then has been looked at, and
        `report_stranded(left)` after that, where the channel ends while sessions are left.
        """
        self.moved = 0
        self.looked = trio.Event()
        """Everybody who was here at first has been looked at, and that was reported; the worker must not end before."""
        self._channel = channel
        self._nodes = nodes
        self._learned = learned
        self._report = report
        self._report_stranded = report_stranded
        self._is_over = False
        """The channel has ended, or is of no use any more."""
        self._is_finished = False
        self._scope = trio.CancelScope()
        self._asking = trio.Lock()
        """One offer at a time."""
        self._asked_at = math.inf
        """When the offer was made that is not answered yet."""
        self._room = 0
        self._queue: deque[_Offering] = deque()
        self._offered: list[_Offering] = []
        self._something = trio.Event()
        """There is something in the queue."""
        self._settled = trio.Event()
        """A batch has been decided, and whatever came meanwhile waits for the next one."""
        self._again = trio.Event()
        """There was one who could have moved, had there been room."""

    async def give(
        self, node: SessionNode, content: KeptAlive | Tunnelled | None = None, backend: int | None = None
    ) -> bool:
        """Move the session of `node`, whose second socket is `backend`; whether it is gone.

        If so the caller lets go of its descriptors by `notify_closing` and close, and by nothing that would reach the
        peers: the connections live on. Until the session is offered it may be cancelled as ever; from then on nothing
        cancels it before its fate is known.
        """
        descriptors = [node.sock.fileno()] if backend is None else [node.sock.fileno(), backend]
        if self._is_over or node.stays or node.is_bound or not self._can_offer(len(descriptors)):
            return False
        offering = _Offering(node, _parcel(node, content), descriptors)
        self._queue.append(offering)
        self._something.set()
        if await self._is_offered(offering):
            with trio.CancelScope(shield=True):
                await offering.fate.known.wait()
        return not offering.fate.is_ours

    async def _is_offered(self, offering: _Offering) -> bool:
        """Wait until it is, or will not be; False where it has waited too long, and is out of the queue."""
        try:
            with trio.move_on_after(LONGEST_QUEUE):
                await offering.leaving.wait()
        except trio.Cancelled:
            # One that was offered after it had been cancelled, but before it ran, may be served by the successor. If it
            # is not, its next wait is cancelled.
            if not offering.leaving.is_set():
                raise
        finally:
            if not offering.leaving.is_set():
                self._queue.remove(offering)
                self._again.set()
        return offering.leaving.is_set()

    def _can_offer(self, descriptors: int) -> bool:
        """Whether there is room, and an answer to be had soon: whoever could wait for it is better served here."""
        if descriptors <= self._room and trio.current_time() < self._asked_at + LONGEST_QUEUE:
            return True
        self._again.set()
        return False

    async def run(self) -> None:
        """Move whoever can be moved until `finish`, or the end of the channel; which is closed then."""
        try:
            with closing(self._channel), self._scope:
                await self._move_all()
        finally:
            # Where the worker itself is cut short nobody is left to go on with what was offered.
            self._end(is_taken=True)

    async def _move_all(self) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._carry, name="departing sessions")
            try:
                await self._ask(self._learned)
                await self._wake_all()
                await _let_them_run()
            finally:
                with trio.move_on_after(GOODBYE, shield=True):
                    await self._tell()
                self.looked.set()
            while not self._is_over:
                await self._again.wait()
                await self._try_again()
            await self._tell_stranded()
            nursery.cancel_scope.cancel(reason="the successor's channel has ended")

    async def _tell(self) -> None:
        if self._is_finished:
            return
        left = self._left()
        log.info("%d sessions have moved to the next worker, %d are left for now", self.moved, left)
        await self._report(self.moved, left)

    async def _tell_stranded(self) -> None:
        if not self._is_finished and (left := self._left()):
            await self._report_stranded(left)

    def _left(self) -> int:
        return sum(len(node.sessions) for node in self._nodes)

    async def _try_again(self) -> None:
        """In a while, for those for whom there was no room."""
        if not self._is_over:
            await trio.sleep(PAUSE)
            self._again = trio.Event()
            await self._ask(Offered(parcels=()))
            await self._wake_all()

    async def _wake_all(self) -> None:
        """Have everybody who can move do so, as long as there is room."""
        nodes = [node for node in self._nodes if node.departure is self]
        waiting = list(chain.from_iterable(map(_movable, nodes)))
        for start in range(0, len(waiting), BATCH):
            if self._is_over or not self._room:
                self._again.set()
                return
            for wake in waiting[start : start + BATCH]:
                wake()
            await _let_them_run()
            while self._queue or self._offered:
                await self._settled.wait()

    async def _carry(self) -> None:
        """Offer what is in the queue, batch after batch."""
        while not self._is_over:
            if self._queue:
                await self._offer_batch()
            else:
                self._something = trio.Event()
                await self._something.wait()
        self._again.set()

    async def _offer_batch(self) -> None:
        # The others that were woken at the same time get here meanwhile.
        await _let_them_run()
        async with self._asking:
            self._offered = self._next_batch()
            if self._offered:
                await self._ask_locked(
                    Offered(parcels=tuple(each.parcel for each in self._offered)),
                    list(chain.from_iterable(each.descriptors for each in self._offered)),
                )
        self._settled.set()
        self._settled = trio.Event()

    def _next_batch(self) -> list[_Offering]:
        """Taken out of the queue, from now on shielded. Whoever has no room goes on here."""
        batch: list[_Offering] = []
        size = descriptors = 0
        most = min(self._room, BATCH_DESCRIPTORS)
        while self._queue and len(batch) < BATCH:
            offering = self._queue[0]
            if offering.node.is_killed:
                # It ends here, at its next wait: the successor would know nothing of that.
                self._queue.popleft().decide(is_taken=False)
                continue
            size += offering.parcel.size
            descriptors += len(offering.descriptors)
            if batch and (size > BATCH_SIZE or descriptors > most):
                break
            self._queue.popleft()
            if descriptors > most:
                self._again.set()
                offering.decide(is_taken=False)
                break
            offering.leave()
            batch.append(offering)
        return batch

    async def _ask(self, message: Offer) -> None:
        async with self._asking:
            if not self._is_over:
                await self._ask_locked(message)

    async def _ask_locked(self, message: Offer, descriptors: Collection[int] = ()) -> None:
        """Say `message`, and hear who of those now offered is taken."""
        self._asked_at = trio.current_time()
        answer = await self._answer(message, list(descriptors))
        self._asked_at = math.inf
        if answer is None:
            log.warning("the successor is gone: %d sessions that were on their way go on here", len(self._offered))
            self._end(is_taken=False)
            return
        self._room = answer.room
        offered, self._offered = self._offered, []
        self.moved += len(answer.taken)
        for place, offering in enumerate(offered):
            if place in answer.refused:
                _keep(offering)
            elif place not in answer.taken:
                self._again.set()
            offering.decide(is_taken=place in answer.taken)

    async def _answer(self, message: Offer, descriptors: list[int]) -> Taken | None:
        """None when the channel has ended, so that nobody has taken anything."""
        try:
            await self._channel.send(message, descriptors)
        except OSError as error:
            if error.errno in BROKEN:
                return None
            # ETOOMANYREFS: too many descriptors of this user are on their way; or none is free for a large message.
            log.warning("no session can move for now: %s", error.strerror)
            return Taken(taken=(), refused=(), room=0)
        try:
            received = await self._channel.receive()
        except OSError:
            return None
        except ChannelError as error:
            # It may have taken them all. That two serve one connection is worse than that nobody does.
            log.error("the successor makes no sense, and may serve %d sessions: %s", len(self._offered), error)
            self._end(is_taken=True)
            return None
        return None if received is None else received[0]

    def finish(self) -> None:
        """Move nobody any more. Those that are offered already wait for their answer."""
        self._is_over = self._is_finished = True
        self._empty_queue()
        if not self._offered:
            self._scope.cancel(reason="nobody moves any more")

    def _end(self, *, is_taken: bool) -> None:
        self._is_over = True
        self._room = 0
        self._empty_queue()
        offered, self._offered = self._offered, []
        for offering in offered:
            offering.decide(is_taken=is_taken)
        for node in self._nodes:
            if node.departure is self:
                node.departure = None
        self._again.set()

    def _empty_queue(self) -> None:
        while self._queue:
            self._queue.popleft().decide(is_taken=False)
        self._something.set()


async def depart(
    node: SessionNode, content: Callable[[], KeptAlive | Tunnelled | None], backend: int | None = None
) -> bool:
    """Give the session of `node` away, as `Departure.give` does, where it departs; whether it is gone.

    Another successor may have come while one was tried.
    """
    tried = None
    while (departure := node.listener.departure) is not None and departure is not tried:
        if await departure.give(node, content(), backend):
            return True
        tried = departure
    return False


async def _let_them_run() -> None:
    """Until those that were woken are where they can move, and those that moved have ended."""
    for _ in range(PASSES):
        await trio.lowlevel.checkpoint()


def _parcel(node: SessionNode, content: KeptAlive | Tunnelled | None) -> Parcel:
    transport, address = node.listener.key
    return Parcel(
        transport=transport,
        address=address,
        name=node.name,
        peer=node.peer,
        age=trio.current_time() - node.started,
        held=dict(node.held),
        kept_alive=content if isinstance(content, KeptAlive) else None,
        tunnelled=content if isinstance(content, Tunnelled) else None,
    )


def _keep(offering: _Offering) -> None:
    """The successor has no place for this session: it ends here, as soon as it may."""
    node = offering.node
    node.stays = True
    if offering.parcel.tunnelled is None:
        # Its listener is not there any more.
        node.listener.stop(None)


def _movable(listener: ListenerNode) -> Iterable[Callable[[], None]]:
    """What wakes each session of `listener` that can move."""
    for scope in listener.drain.idle:
        yield partial(listener.drain.wake, scope, MOVES)
    for session in listener.sessions.values():
        if session.tunnel is not None:
            yield partial(_wake_tunnel, session)


def _wake_tunnel(session: SessionNode) -> None:
    if session.tunnel is not None:
        session.tunnel.cancel(reason=MOVES)
