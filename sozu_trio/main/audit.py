"""Who asked for what, and what came of it: one line for every verb that changes something, done or refused.

It goes to the targets of `audit_logs_target` and `audit_logs_json_target`, and into the log, at whatever level that is,
where neither is set.
Secrets are taken out before anything comes here.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

from sozu_trio.main.actors import Actor
from sozu_trio.telemetry.escape import printable
from sozu_trio.telemetry.stamp import Stamp, rfc3339

LONGEST = 2000
"""Characters of a value in a line; a refused batch may list thousands of problems."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed:
    """One attempt. `generation` is the one in force afterwards, `elapsed` in milliseconds."""

    verb: str
    what: str
    actor: Actor
    result: str
    generation: int
    elapsed: float
    client: int | None = None
    reason: str | None = None


class Audit:
    """Writes deeds; `text` and `document` take finished lines, None where no target is set."""

    def __init__(
        self,
        text: Callable[[str], None] | None,
        document: Callable[[str], None] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._text = text
        self._document = document
        self._clock = clock
        self._stamp = Stamp("MAIN")

    def record(self, deed: Deed) -> None:
        now = self._clock()
        if self._text is not None:
            self._text(self._stamp.line(now, "AUDIT", line_of(deed)))
        if self._document is not None:
            self._document(document_of(deed, now))


def line_of(deed: Deed) -> str:
    """`verb=… what=… uid=…`: every value a JSON string or a number, so that no value can pass for a member."""
    members: dict[str, str | float | None] = {
        "result": deed.result,
        "verb": deed.verb,
        "what": deed.what,
        "uid": deed.actor.uid,
        "pid": deed.actor.pid,
        "process": deed.actor.process,
        "client": deed.client,
        "generation": deed.generation,
        "elapsed_ms": round(deed.elapsed, 1),
        "reason": deed.reason,
    }
    return " ".join(f"{name}={_shown(value)}" for name, value in members.items() if value is not None)


def document_of(deed: Deed, moment: float) -> str:
    """One JSON object on one line, `moment` in seconds since the epoch."""
    members = {"time": rfc3339(moment), **asdict(deed)}
    members["actor"] = asdict(deed.actor)
    members["elapsed_ms"] = round(members.pop("elapsed"), 1)
    return json.dumps({name: value for name, value in members.items() if value is not None})


def _shown(value: str | float) -> str:
    if not isinstance(value, str):
        return str(value)
    cut = value if len(value) <= LONGEST else value[:LONGEST] + "…"
    return printable(json.dumps(cut, ensure_ascii=False))
