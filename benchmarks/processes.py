"""Processes of other programs: start one, wait until it serves, read its CPU and memory, end it in bounded time.

Each is a process group of its own, so that what it started ends with it. Its output goes to files: no pipe can fill up.
Used by the benchmarks and by tests/e2e.
"""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
POLL = 0.02
"""Seconds between two looks at a process that is starting."""
QUIET = 0.5
"""Seconds without CPU time after which a process is taken to rest."""


class ProcessTrouble(Exception):
    """A process did not start, serve or end as it should; the message holds its last lines."""


class Process:
    """A running program. Leaving its `with` kills whatever is left of it; `end` is the polite way."""

    def __init__(
        self,
        command: Sequence[str],
        folder: Path,
        *,
        name: str = "process",
        environment: Mapping[str, str] | None = None,
        descriptors: Sequence[int] = (),
    ) -> None:
        """`descriptors` are of ours, and it gets them under the same numbers."""
        self.name = name
        self._output, self._errors = folder / f"{name}.out", folder / f"{name}.err"
        with self._output.open("wb") as output, self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                process_group=0,
                pass_fds=descriptors,
            )
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def exit_code(self) -> int | None:
        """None while it runs; minus the signal's number when a signal ended it."""
        return self._process.poll()

    def output(self) -> str:
        """What it wrote to standard output so far."""
        return self._output.read_text(errors="replace")

    def errors(self) -> str:
        """What it wrote to standard error so far."""
        return self._errors.read_text(errors="replace")

    def wait_until(self, ready: Callable[[Self], bool], seconds: float = 20, *, what: str = "serve") -> None:
        """Wait until `ready(process)`. Raises ProcessTrouble when it ends before, or `seconds` have passed and it did
        not do `what`.
        """
        deadline = time.monotonic() + seconds
        while not ready(self):
            if self.exit_code is not None:
                raise self.trouble(f"ended with exit code {self.exit_code} before it served")
            if time.monotonic() > deadline:
                raise self.trouble(f"did not {what} within {seconds} s")
            time.sleep(POLL)

    def end(self, sent: signal.Signals = signal.SIGTERM, seconds: float = 10) -> int:
        """Send a signal and wait for the exit code. Raises ProcessTrouble after `seconds`."""
        self._process.send_signal(sent)
        return self.wait(seconds, f" of {sent.name}")

    def wait(self, seconds: float = 10, since: str = "") -> int:
        """Wait for the exit code. Raises ProcessTrouble after `seconds`; `since` ends its sentence."""
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise self.trouble(f"did not end within {seconds} s{since}") from None

    def kill(self) -> None:
        """End it and its children at once; nothing happens when they have ended."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()

    def trouble(self, what: str) -> ProcessTrouble:
        """An exception that says `what`, with the last lines of both outputs."""
        last = [*self.output().splitlines()[-5:], *self.errors().splitlines()[-20:]]
        return ProcessTrouble("\n    ".join([f"{self.name} {what}", *last]))

    def cpu_seconds(self) -> float:
        """User and system time so far: its own, its living children's, and what ended children left behind."""
        return sum(cpu_ticks(pid) for pid in family(self.pid)) / TICKS

    def rss(self) -> int:
        """Bytes of memory resident now, children included; pages they share count once for each."""
        return PAGE * sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in family(self.pid))


def family(pid: int) -> list[int]:
    """`pid` and its living descendants."""
    # A child of a thread that ends meanwhile goes to another one, where it may be seen again.
    children = dict.fromkeys(child for task in Path(f"/proc/{pid}/task").iterdir() for child in _children(task))
    return [pid, *(member for child in children for member in family(child))]


def _children(task: Path) -> list[int]:
    """Of one thread, none where it has ended."""
    try:
        return [int(child) for child in task.joinpath("children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def cpu_ticks(pid: int) -> int:
    """utime, stime, cutime and cstime of proc(5); the name before them may hold spaces and parentheses."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15]))


def listens_on(port: int) -> Callable[[Process], bool]:
    """Ready when 127.0.0.1:`port` accepts a connection."""

    def ready(process: Process) -> bool:
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", port)) == 0

    return ready


def rests() -> Callable[[Process], bool]:
    """Ready when it has used no CPU time for QUIET seconds: what it has put off until it serves is done."""
    spent, since = -1.0, 0.0

    def ready(process: Process) -> bool:
        nonlocal spent, since
        used, now = process.cpu_seconds(), time.monotonic()
        if used != spent:
            spent, since = used, now
        return now - since >= QUIET

    return ready


def says(start: str) -> Callable[[Process], bool]:
    """Ready when a line of standard output begins with `start`."""

    def ready(process: Process) -> bool:
        return any(
            line.startswith(start) and line.endswith("\n") for line in process.output().splitlines(keepends=True)
        )

    return ready
