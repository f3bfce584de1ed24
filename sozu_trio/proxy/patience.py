"""Deadlines that cost next to nothing to move.

A request has four waits, each with its own limit. A cancel scope for each, or one whose deadline is set anew for
each, costs 15 µs a request: Trio keeps deadlines exact and sorted. Ours are seconds and nearly always met, so they
may be a tenth of a second late. A Patience is one cancel scope for as long as its connection lives; moving its
deadline sets an attribute. A Wheel looks at it only when it may be due: a deadline that has moved on by then is put
where it now belongs.
"""

import math
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

import trio

if TYPE_CHECKING:
    from sozu_trio.proxy.stream import Stream

GRAIN = 0.1
"""Seconds a deadline may be late, as in Sōzu."""


class Patience:
    """A cancel scope with a deadline that is cheap to move, and whom the wait now going on is for."""

    __slots__ = (
        "_clock",
        "_held",
        "_wheel",
        "deadline",
        "expired",
        "now",
        "scope",
        "slot",
        "spent",
        "too_slow",
        "waiting_for",
    )

    def __init__(self, wheel: "Wheel") -> None:
        self._wheel = wheel
        self._clock = wheel.clock
        self._held = False
        self.scope = trio.CancelScope()
        self.waiting_for: Stream | None = None
        self.deadline = math.inf
        self.now = 0.0
        """When the limit was last set, by Trio's clock: for those who would ask for the time again at once."""
        self.slot: float = math.inf
        """Where the wheel will look at it; never later than the deadline."""
        self.expired = False
        """The deadline has passed, and the scope was cancelled for that."""
        self.spent = False
        """The scope was cancelled, for whatever reason, or another one is to take its place."""
        self.too_slow = False
        """It has expired because whom it waited for was slow, though not silent: `pace.py`."""

    def expect(self, stream: "Stream") -> None:
        """The wait that follows is for `stream`, and lasts at most its `timeout`."""
        self.waiting_for = stream
        self.limit(stream.timeout)

    def limit(self, seconds: float, now: float | None = None) -> None:
        """What follows lasts at most `seconds` (0 = for ever), from `now` for those who just looked at the clock."""
        now = self.now = self._clock() if now is None else now
        if not seconds or self._held:
            self.deadline = math.inf
            return
        deadline = self.deadline = now + seconds
        if deadline < self.slot:
            self._wheel.put(self)

    def relax(self) -> None:
        """The wait is over: its deadline must not end work that needs no other."""
        self.waiting_for = None
        self.deadline = math.inf

    def hold(self) -> None:
        """No deadline until `resume`: somebody else keeps the time."""
        self._held = True
        self.deadline = math.inf

    def resume(self) -> None:
        """Deadlines again; a wait that is going on has its whole time from now."""
        self._held = False
        if self.waiting_for is not None:
            self.expect(self.waiting_for)

    def cancel(self, reason: str | None = None) -> None:
        self.spent = True
        self.scope.cancel(reason=reason)

    def expire(self) -> None:
        self.expired = True
        self.cancel("out of patience")

    def is_over(self, now: float) -> bool:
        """Whether the deadline, which has passed, holds; else it is another one from now on."""
        return True

    def __enter__(self) -> Self:
        self.scope.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        self._wheel.take_out(self)
        return self.scope.__exit__(kind, value, traceback)


class Wheel:
    """Looks at each Patience when it may be due. `run` must run for deadlines to hold."""

    def __init__(self) -> None:
        self.clock: Callable[[], float] = trio.current_time
        """Trio's; while `run` runs it is asked directly, which costs a third."""
        self._slots: dict[float, dict[Patience, None]] = {}
        self._next = math.inf
        self._sleep = trio.CancelScope()

    def patience(self) -> Patience:
        return Patience(self)

    def put(self, patience: Patience) -> None:
        """Look at `patience` soon after its deadline."""
        self.take_out(patience)
        patience.slot = (patience.deadline // GRAIN + 1) * GRAIN
        self._slots.setdefault(patience.slot, {})[patience] = None
        if patience.slot < self._next:
            self._next = self._sleep.deadline = patience.slot

    def take_out(self, patience: Patience) -> None:
        if patience.slot != math.inf:
            self._slots[patience.slot].pop(patience, None)
            patience.slot = math.inf

    async def run(self) -> None:
        """Expire what is due, for ever."""
        self.clock = trio.lowlevel.current_clock().current_time
        while True:
            with trio.CancelScope(deadline=self._next) as self._sleep:
                await trio.sleep_forever()
            self._look(self.clock())

    def _look(self, now: float) -> None:
        for slot in sorted(slot for slot in self._slots if slot <= now):
            for patience in self._slots.pop(slot):
                patience.slot = math.inf
                if patience.deadline <= now and patience.is_over(now):
                    patience.expire()
                elif patience.deadline < math.inf:
                    self.put(patience)
        self._next = min(self._slots, default=math.inf)
