"""wrk beside our own clients: as many requests as it gets answered, or at a pace, over connections that stay open.

Its own report knows neither a wrong body nor an answer that says `Connection: close`, after which it connects anew
without a word; so a script looks at every answer. What it cannot tell is a request that is never answered at all: that
is what our own clients are for.
"""

import contextlib
import json
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers import installed
from benchmarks.processes import Process
from benchmarks.upgrade_drill.keep_alive import Asked
from benchmarks.upgrade_drill.tally import Tally

CONNECTIONS = 64
LATEST = 60
"""Seconds after which wrk counts an answer as a failure."""
FOR_EVER = 86400
"""Seconds; it is stopped before."""
RESULT = "as JSON: "


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What one wrk has seen: answers, what failed in which way, seconds it ran and that the slowest answer took."""

    answers: int
    connect: int
    read: int
    write: int
    late: int
    wrong: int
    """Answers of another status or body."""
    closing: int
    """Answers that said `Connection: close`."""
    seconds: float
    slowest: float

    def add_to(self, tally: Tally) -> None:
        """A connection that breaks while wrk reads fails the request on it, as wrk always has one under way."""
        failures = self.connect + self.read + self.write + self.late + self.wrong
        tally.requests += self.answers + self.connect + self.read + self.write
        tally.failures += failures
        tally.closed += self.read + self.closing
        tally.slowest = max(tally.slowest, self.slowest)
        counts = {"connect": self.connect, "read": self.read, "write": self.write, "late": self.late}
        for what, count in (counts | {"wrong answer": self.wrong, "Connection: close": self.closing}).items():
            if count:
                tally.because(f"wrk: {what}", count)


class Wrk:
    """wrk at work."""

    def __init__(self, process: Process) -> None:
        self._process = process

    @property
    def ended(self) -> bool:
        """By itself: it could not connect."""
        return self._process.exit_code is not None

    def stop(self) -> Loaded:
        """Have it end, and say what it has seen. Raises ProcessTrouble when it says nothing."""
        self._process.end(signal.SIGINT)
        for line in self._process.output().splitlines():
            if line.startswith(RESULT):
                return Loaded(**json.loads(line.removeprefix(RESULT)))
        raise self._process.trouble("printed no result")


@contextlib.contextmanager
def running(asked: Asked, folder: Path, rate: float | None = None) -> Iterator[Wrk]:
    """wrk against `asked`, at `rate` requests a second if that is given, until the body ends."""
    script = folder / "wrk.lua"
    script.write_text(script_for(asked, rate))
    url = f"http://{asked.host}:{asked.port}{asked.target}"
    command = [installed("wrk"), "-t1", f"-c{CONNECTIONS}", f"-d{FOR_EVER}s", f"--timeout={LATEST}s"]
    with Process([*command, "-s", str(script), url], folder, name="wrk") as process:
        yield Wrk(process)


def script_for(asked: Asked, rate: float | None) -> str:
    """Lua. A pause is drawn anew each time, so that connections do not fall into step; it is in whole milliseconds."""
    pause = 2000 * CONNECTIONS / rate if rate else 0
    pacing = f"function delay() return math.floor(math.random() * {pause:.3f} + 0.5) end" if rate else ""
    body = "".join(f"\\{byte:03d}" for byte in asked.body or b"")
    check = f'or body ~= "{body}"' if asked.body is not None else ""
    return f"""
wrk.headers["Host"] = "{asked.authority}"
local kept
wrong, closing = 0, 0
function setup(thread) kept = thread end
{pacing}
function response(status, headers, body)
  if status ~= {asked.status} {check} then wrong = wrong + 1 end
  local connection = headers["Connection"] or headers["connection"]
  if connection and connection:lower() == "close" then closing = closing + 1 end
end
function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '{RESULT}{{"answers": %d, "connect": %d, "read": %d, "write": %d, "late": %d, "wrong": %d, "closing": %d, '
    .. '"seconds": %f, "slowest": %f}}\\n', summary.requests, errors.connect, errors.read, errors.write,
    errors.timeout, kept:get("wrong"), kept:get("closing"), summary.duration / 1e6, latency.max / 1e6))
end
"""
