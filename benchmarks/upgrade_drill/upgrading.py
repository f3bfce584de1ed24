"""Upgrades as operators ask for them, by `ctl` in a process of its own."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import trio

LONGEST = 600
"""Seconds one call of ctl may take."""
CTL = (sys.executable, "-P", "-m", "sozu_trio", "ctl")

Kind = Literal["everything", "workers"]


class UpgradeFailed(Exception):
    """ctl did not end with 0; the message has its words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upgrader:
    """Whom to upgrade: `target` are the words that tell ctl which proxy; `python`: the new interpreter, if another."""

    kind: Kind
    target: Sequence[str]
    python: str | None = None
    ctl: Sequence[str] = CTL

    async def upgrade(self) -> Any:
        """Once, with everything that `kind` is about. Returns what ctl answered. Raises UpgradeFailed."""
        more = ["--python", self.python] if self.python else []
        if self.kind == "everything":
            return await self._ctl("upgrade", *more)
        workers = (await self._ctl("status"))["workers"]
        return [await self._ctl("upgrade", "--worker", str(worker["id"])) for worker in workers]

    async def _ctl(self, *words: str) -> Any:
        command = [*self.ctl, *self.target, "--json", *words]
        with trio.move_on_after(LONGEST):
            done = await trio.run_process(
                command, stdin=subprocess.DEVNULL, capture_stdout=True, capture_stderr=True, check=False
            )
            if done.returncode:
                said = (done.stderr or done.stdout).decode(errors="replace").strip()
                raise UpgradeFailed(f"ctl {' '.join(words)}: exit code {done.returncode}: {said}")
            return answer_in(done.stdout)
        raise UpgradeFailed(f"ctl {' '.join(words)}: not done within {LONGEST} s")


def answer_in(output: bytes) -> Any:
    """The one JSON document that ctl prints. Raises UpgradeFailed."""
    try:
        return json.loads(output)
    except ValueError as error:
        raise UpgradeFailed(f"ctl printed no JSON: {output!r:.200}") from error
