"""Main and its workers as seen from outside: over the control socket 20 times a second, and in /proc."""

import contextlib
import itertools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import trio

from benchmarks.processes import family
from sozu_trio.control.client import open_client
from sozu_trio.errors import ControlError

EVERY = 0.05
"""Seconds between two looks."""
WEIGHED = 5
"""Looks from one at the memory to the next: it takes the kernel some milliseconds."""
AGAIN = 0.005
"""Seconds until the next try when nobody is at the control socket."""
DRAINING = frozenset({"stopping", "stopped"})
"""States of workers that take no new connections any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What main and all it started take: bytes of memory (PSS; None where that must not be read), descriptors."""

    memory: int | None
    descriptors: int
    of_main: int
    """Descriptors."""
    workers: int
    """Those that do not only drain."""


class Watch:
    """What has been seen since it began."""

    def __init__(self, path: Path) -> None:
        """`path`: the control socket."""
        self.most_workers = 0
        """At a time, without those that only drain."""
        self.peak = 0
        """Bytes of memory."""
        self.status: dict[str, Any] = {}
        """The last one."""
        self._path = path
        self._seen: dict[int, str] = {}
        self._away = 0.0
        self._asked = math.inf
        """Since when somebody waits."""

    @property
    def away(self) -> float:
        """Seconds the control plane has let somebody wait at most, however often they had to connect anew."""
        return max(self._away, trio.current_time() - self._asked)

    async def run(self, *, task_status: trio.TaskStatus[None]) -> NoReturn:
        """Look until cancelled. Raises ControlError where nobody answers the first time."""
        async with open_client(self._path) as client:
            self._take((await client.ask("status")).content)
        task_status.started()
        while True:
            with contextlib.suppress(ControlError):
                async with open_client(self._path) as client:
                    for number in itertools.count():
                        self._asked = min(self._asked, trio.current_time())
                        self._take((await client.ask("status")).content)
                        self._away, self._asked = self.away, math.inf
                        if number % WEIGHED == 0:
                            await self._weigh()
                        await trio.sleep(EVERY)
            self._asked = min(self._asked, trio.current_time())
            await trio.sleep(AGAIN)

    def begin(self) -> None:
        """What is compared begins now: forget how it was at most."""
        self._away, self.most_workers, self.peak = 0.0, 0, 0

    async def sample(self) -> Sample:
        """As it is now."""
        memory, descriptors = await trio.to_thread.run_sync(measured, self._pids())
        _, of_main = await trio.to_thread.run_sync(measured, [self.status["main"]["pid"]])
        return Sample(memory=memory, descriptors=descriptors, of_main=of_main, workers=self._workers())

    def left_behind(self, *, draining: bool) -> list[int]:
        """Processes that were seen, live still, and are neither main nor one of its workers now.

        `draining`: whether workers that only drain count, because nobody is connected any more.
        """
        workers = [each for each in self.status["workers"] if not (draining and each["state"] in DRAINING)]
        current = {self.status["main"]["pid"], *(worker["pid"] for worker in workers)}
        return sorted(pid for pid, began in self._seen.items() if pid not in current and birth(pid) == began)

    def _take(self, status: dict[str, Any]) -> None:
        self.status = status
        self.most_workers = max(self.most_workers, self._workers())

    def _workers(self) -> int:
        return sum(worker["state"] not in DRAINING for worker in self.status["workers"])

    async def _weigh(self) -> None:
        memory, _ = await trio.to_thread.run_sync(measured, self._pids())
        self.peak = max(self.peak, memory or 0)

    def _pids(self) -> list[int]:
        pids = {worker["pid"] for worker in self.status["workers"]}
        with contextlib.suppress(OSError):
            pids |= set(family(self.status["main"]["pid"]))
        for pid in pids:
            if began := birth(pid):
                self._seen[pid] = began
        return sorted(pids)


def measured(pids: list[int]) -> tuple[int | None, int]:
    """Bytes of memory, each page divided among those who share it, and open descriptors of those that live."""
    memory, descriptors = 0, 0
    try:
        for pid in pids:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                memory += pss(pid)
                descriptors += len(list(Path(f"/proc/{pid}/fd").iterdir()))
    except PermissionError:
        return None, 0
    return memory, descriptors


def pss(pid: int) -> int:
    """Bytes. Raises FileNotFoundError, ProcessLookupError, PermissionError."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def birth(pid: int) -> str:
    """When it was started, in ticks since the machine was; empty where it has ended, reaped or not."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]
