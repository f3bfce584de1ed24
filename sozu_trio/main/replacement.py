"""Main executes another program in its own place, under its process id: the step from which on nobody answers until the
new image does. Whatever keeps it from being taken leaves everything as it was.
"""

import logging
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, Never, Protocol

import trio

from sozu_trio.config.limits import GOODBYE
from sozu_trio.control.conversation import Handover
from sozu_trio.control.heirlooms import Heirlooms
from sozu_trio.control.protocol import Id
from sozu_trio.errors import OperatorError
from sozu_trio.main.handoff import Handoff, execute
from sozu_trio.main.held_signals import HeldSignals
from sozu_trio.main.launch import Launch
from sozu_trio.nursery.kept_code import KeptCode

log = logging.getLogger(__name__)

LAST_ANSWERS: Final = 0.25
"""Seconds that control clients get for answers under way."""


class Pauses(Protocol):
    """What is asked of the control server."""

    async def pause(self, grace: float, but: int | None = None, request: Id = 0) -> Handover | None: ...
    def resume(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The client of the control socket, by its number, and the request of it that is to be answered afterwards."""

    client: int
    request: Id


class Replacement:
    """What it takes to be replaced: how main was started, its code, what it leaves."""

    def __init__(
        self,
        launch: Launch,
        code: KeptCode,
        heirlooms: Heirlooms,
        flush: Callable[[], Awaitable[None]],
        environment: Mapping[str, str],
    ) -> None:
        """`flush` has everything written that was logged. `environment`: variables that this image has taken out."""
        self.launch = launch
        self.code = code
        self.control: Pauses
        """Set once there is one."""
        self.under_way = False
        self.signals = HeldSignals()
        self._heirlooms = heirlooms
        self._flush = flush
        self._environment = environment

    async def execute(
        self,
        executable: str,
        code: int,
        asked: Asked | None,
        handoff: Callable[[Mapping[str, int], Handover | None, float], Handoff],
    ) -> Never:
        """Leave off answering, and have `executable` run the zip in descriptor `code`. `handoff` makes the record of
        the descriptors to be left, the client who waits, and the time from which on nobody answers.

        Raises OperatorError; it answers again then.
        """
        away_since = time.monotonic()
        client, why = None, ""
        try:
            client = await self._pause(asked)
            log.info("main executes %s in its place", executable)
            with trio.move_on_after(GOODBYE):
                await self._flush()
            await self.signals.leave_to_kernel()
            record = handoff(self._heirlooms.held, client, away_since)
            error = execute(record, executable, code, self.code.descriptor, {**os.environ, **self._environment})
            why = error.strerror or str(error)
        except* (OSError, RuntimeError) as missing:  # no descriptor, no memory, no thread
            why = ", ".join(map(str, missing.exceptions))
        finally:
            if client is not None:
                os.close(client.descriptor)
            self.control.resume()
            with trio.move_on_after(GOODBYE, shield=True):
                await self.signals.give_back()
        raise OperatorError(f"python: cannot execute {executable}: {why}; nothing has changed")

    async def _pause(self, asked: Asked | None) -> Handover | None:
        if asked is None:
            return await self.control.pause(LAST_ANSWERS)
        return await self.control.pause(LAST_ANSWERS, asked.client, asked.request)
