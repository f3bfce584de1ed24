"""Descriptors have run out: who accepts rests, until clients have left of themselves, or for a while.

To rest for a while alone lets in no more than are free in each: behind 12 free descriptors it took 8.5 s to get past
1,000 clients that had waited and gone. What becomes free without a word, elsewhere on the machine or because the limit
is raised, is found after EXHAUSTED_PAUSE.

What is given back on request is not for those outside at once, else who is inside would find none for a backend.
"""

import trio

from sozu_trio.config.limits import EXHAUSTED_PAUSE


class Shortage:
    """Of one worker, whose listeners all rest here."""

    __slots__ = ("_given_back", "_resting")

    def __init__(self) -> None:
        self._resting = trio.lowlevel.ParkingLot()
        self._given_back = 0

    def given_back(self) -> None:
        """A descriptor is free now that was a client's."""
        self._given_back += 1
        if self._resting:
            self._resting.unpark_all()

    async def rest(self, asked: int = 0) -> None:
        """Until more than `asked` have been given back, which were asked to be; or for EXHAUSTED_PAUSE."""
        enough = self._given_back + asked + 1
        with trio.move_on_after(EXHAUSTED_PAUSE):
            while self._given_back < enough:
                await self._resting.park()
