"""A worker as main sees it: a channel to ask over, what is known of it, and what it reports unasked."""

import contextlib
import logging
import math
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, NamedTuple, Protocol

import trio

from sozu_trio.control.channel import Channel, DescriptorsLost, close_all
from sozu_trio.control.messages import (
    Ask,
    Counted,
    HandedOver,
    Happened,
    Lines,
    Logged,
    Look,
    Reply,
    Report,
    Sandboxed,
    Stopped,
    Stranded,
)
from sozu_trio.errors import Blame, ChannelError, OperatorError
from sozu_trio.nursery.answers import check_answer
from sozu_trio.nursery.attention import Attention
from sozu_trio.nursery.cuts import Removed
from sozu_trio.nursery.own_lines import own_lines
from sozu_trio.routing.state import ListenerKey
from sozu_trio.telemetry.claims import Claims
from sozu_trio.telemetry.counters import Counters, read_counters
from sozu_trio.telemetry.escape import printable

log = logging.getLogger(__name__)

LONGEST_REASON: Final = 10_000
"""Characters of why a worker has refused something."""


class HasDescriptor(Protocol):
    """What can travel with a question."""

    def fileno(self) -> int: ...


class MakeAsk(Protocol):
    """Makes a question, once its serial is known."""

    def __call__(self, *, serial: int) -> Ask: ...


class WorkerRefused(OperatorError):
    """A worker could not do what main asked; nothing of it has happened there."""

    blame: ClassVar[Blame] = "us"


class WorkerSilent(WorkerRefused):
    """No answer came, or none in time: whether it has happened, or will yet, is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerStatus:
    """One worker, for an operator."""

    id: int
    pid: int
    state: str
    """running, behind (not known to serve by the generation in force), not answering, stopping, leaving (it has a
    successor), or stopped.
    """
    generation: int | None
    """The one it has confirmed; None when that is not known."""
    sessions: int
    seconds_left: float | None = None
    """Of one that leaves: how long until what it has is cut; None = never."""
    sandbox: tuple[str, ...] = ()
    """The layers around it."""
    unsandboxed: tuple[str, ...] = ()
    """Those that are not, and why."""


class Who(NamedTuple):
    """Which worker; in order, those that serve come first."""

    leaving: bool
    """A successor of the same id serves in its place."""
    worker_id: int
    pid: int

    @property
    def text(self) -> str:
        """For an operator."""
        return f"{self.worker_id}, leaving (pid {self.pid})" if self.leaving else str(self.worker_id)


@dataclass(slots=True, eq=False)
class _Question:
    ask: Ask
    answered: trio.Event = field(default_factory=trio.Event)
    reply: Reply | None = None

    def answer(self, reply: Reply) -> None:
        if self.reply is None:
            self.reply = reply
            self.answered.set()


class WorkerHandle:
    """Main's end of one worker."""

    def __init__(
        self,
        worker_id: int,
        pid: int,
        channel: Channel[Report],
        on_lines: Callable[[Lines | Logged], None],
        on_event: Callable[[Happened], None],
        *,
        patience: float = math.inf,
    ) -> None:
        """`patience`: seconds `ask_in_time` waits for each answer."""
        self.worker_id = worker_id
        self.pid = pid
        self.stopped: Stopped | None = None
        self.generation: int | None = None
        """The one it serves by, as far as it has confirmed that; None = to be told everything anew."""
        self.prepared: int | None = None
        """The generation it has made ready and is not told to serve by yet, if there is one."""
        self.listening: set[ListenerKey] = set()
        """Where it accepts, as far as it has confirmed that."""
        self.uncut: dict[Removed, float] = {}
        """Removed backends it has not confirmed that it will cut, and after how many seconds it is to."""
        self.counters = Counters()
        """As it told them last."""
        self.sandbox = Sandboxed()
        """As it has said."""
        self.stopping = False
        """It was told to stop."""
        self.leaving = False
        """A successor of the same id serves in its place."""
        self.successor: WorkerHandle | None = None
        """Whom it was told to hand over to."""
        self.told_at = -math.inf
        """When it was told last, by Trio's clock."""
        self.leaves_at = math.inf
        """When it cuts what it still has then, by Trio's clock."""
        self.handed_over: HandedOver | None = None
        """What it said when it had looked once at all that it could hand over."""
        self.has_looked = trio.Event()
        """It has said that, or is gone."""
        self.stranded = False
        """Its channel to the successor has ended, and it has sessions left."""
        self.on_stranded: Callable[[], None] = lambda: None
        """Called then."""
        self.over = False
        """It has said its last, or is gone."""
        self.answering = True
        """It has not let a question wait for longer than `patience` since it answered last."""
        self.patience = patience
        self.region = -1
        """Where it counts what all count together (`nursery/regions.py`); below 0 before it has been told."""
        # One that is a task of main is main.
        self._claims = None if pid == os.getpid() else Claims(worker_id, pid)
        self._channel = channel
        self._on_lines = on_lines
        self._on_event = on_event
        self._asked = self._answered = 0
        """The serials of the last question, and of the last one that was answered."""
        self._waiting: dict[int, _Question] = {}

    @property
    def who(self) -> Who:
        return Who(self.leaving, self.worker_id, self.pid)

    @property
    def descriptor(self) -> int:
        """Of the channel."""
        return self._channel.fileno()

    def leave(self, grace: float | None) -> None:
        """It cuts what it still has after `grace` seconds; None = never."""
        self.leaves_at = math.inf if grace is None else trio.current_time() + grace

    def may_hand_over(self, successor: "WorkerHandle") -> bool:
        """Whether it is to be told to, again or at last."""
        return not self.over and not self.stopping and (self.stranded or self.successor is not successor)

    async def ask(self, make: MakeAsk, sent: Iterable[HasDescriptor] = ()) -> Any:
        """Send what `make` makes and wait for its reply; returns the content of that. Raises WorkerRefused with the
        worker's reason, or when it ended without one.
        """
        serial = self._asked = self._asked + 1
        question = self._waiting[serial] = _Question(make(serial=serial))
        try:
            if not self.over:
                await self._send(question.ask, sent)
                await question.answered.wait()
        except (OSError, trio.ClosedResourceError) as error:
            raise WorkerRefused(f"worker {self.worker_id} cannot be told: {error}") from error
        finally:
            del self._waiting[serial]
        if question.reply is None:
            raise WorkerSilent(f"worker {self.worker_id} has stopped")
        if question.reply.failure is not None:
            raise WorkerRefused(f"worker {self.worker_id}: {printable(question.reply.failure[:LONGEST_REASON])}")
        return question.reply.content

    async def ask_in_time(self, make: MakeAsk, sent: Iterable[HasDescriptor] = (), *, at_least: float = 0) -> Any:
        """As `ask`. Raises WorkerSilent when the answer takes too long; it may take `at_least` so many seconds."""
        patience = max(self.patience, at_least)
        with trio.move_on_after(patience):
            return await self.ask(make, sent)
        self.answering = False
        what = type(make(serial=0)).__name__
        raise WorkerSilent(f"worker {self.worker_id}: no answer to {what} within {patience:g} s")

    async def _send(self, ask: Ask, sent: Iterable[HasDescriptor]) -> None:
        copies: list[int] = []
        try:
            # A stop may close ours while the message waits, and its number may be another's then.
            copies.extend(os.dup(each.fileno()) for each in sent)
            # A broken pipe is not yet the end of it: `run` still hears what the worker said last, and then wakes us.
            with contextlib.suppress(BrokenPipeError):
                await self._channel.send(ask, copies)
        finally:
            close_all(copies)

    async def run(self) -> None:
        """Take what the worker says, until it has said its last; then close the channel. Raises ChannelError when it
        goes without a word or makes no sense.
        """
        attention = Attention()
        try:
            await self._receive()
            while self.stopped is None:
                await attention.pay(self._channel.reading_since)
                await self._receive()
        finally:
            self.over = True
            self.has_looked.set()
            self._channel.close()
            self.counters.close_gauges()
            for question in self._waiting.values():
                question.answered.set()

    async def _receive(self) -> None:
        try:
            received = await self._channel.receive()
        except DescriptorsLost as loss:
            log.error("worker %d: %s", self.worker_id, loss)
            self._lose(loss.message)
            return
        except ChannelError as error:
            raise ChannelError(f"worker {self.worker_id}: {error}") from error
        if received is None:
            raise ChannelError(f"worker {self.worker_id} is gone")
        report, descriptors = received
        close_all(descriptors)
        self._take(report)

    def _lose(self, message: object) -> None:
        """Something long was said and could not be read: lines, or the answer to a Look."""
        if isinstance(message, Report):
            self._take(message)
            return
        for serial, question in self._waiting.items():
            if isinstance(question.ask, Look):
                question.answer(Reply(serial=serial, failure="its answer was lost: no descriptor free for it"))

    def _take(self, report: Report) -> None:
        match report:
            case Reply():
                self._take_reply(report)
            case Sandboxed():
                self.sandbox = report
            case Lines() | Logged():
                self._take_lines(report)
            case Happened():
                self._on_event(report)
            case Counted():
                self._count(report)
            case HandedOver():
                self.handed_over = report
                self.has_looked.set()
            case Stranded():
                self.stranded = True
                self.on_stranded()
            case Stopped():
                self.stopped = report

    def _take_lines(self, report: Lines | Logged) -> None:
        try:
            self._on_lines(report if self._claims is None else own_lines(report, self._claims))
        except ChannelError as error:
            raise ChannelError(f"worker {self.worker_id}: {error}") from error

    def _take_reply(self, reply: Reply) -> None:
        """Raises ChannelError for an answer to what was not asked or was answered before, and for what is none."""
        if not self._answered < reply.serial <= self._asked:
            raise ChannelError(f"worker {self.worker_id} answers {reply.serial}, which nobody has asked")
        self._answered = reply.serial
        self.answering = True
        for serial, question in self._waiting.items():
            if serial == reply.serial:
                if reply.failure is None:
                    self._check(question.ask, reply.content)
                question.answer(reply)
            elif serial < reply.serial:
                # Answers come in the order of questions, so this one's never will.
                question.answer(Reply(serial=serial, failure="it never read what it was asked"))

    def _check(self, ask: Ask, content: Any) -> None:
        try:
            check_answer(ask, content)
        except ChannelError as error:
            raise ChannelError(f"worker {self.worker_id}: {error}") from error

    def _count(self, report: Counted) -> None:
        try:
            self.counters = read_counters(report.counters)
        except ValueError as error:
            raise ChannelError(f"worker {self.worker_id}: {error}") from error

    @property
    def cut(self) -> int:
        """How many sessions it has said at its end that it has cut."""
        return self.stopped.cut if self.stopped else 0

    def status(self, generation: int) -> WorkerStatus:
        """What there is to say of it while main is at `generation`."""
        return WorkerStatus(
            id=self.worker_id,
            pid=self.pid,
            state=self._state(generation),
            generation=self.generation,
            sessions=self.counters.sessions,
            seconds_left=None if self.leaves_at == math.inf else max(0.0, self.leaves_at - trio.current_time()),
            sandbox=self.sandbox.layers,
            unsandboxed=self.sandbox.missing,
        )

    def _state(self, generation: int) -> str:
        if self.over:
            return "stopped"
        if not self.answering:
            return "not answering"
        if self.stopping:
            return "stopping"
        if self.leaving:
            return "leaving"
        return "running" if self.generation == generation else "behind"
