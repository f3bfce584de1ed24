"""The sandbox that the configuration asks for, as main tells it to a worker, which seals itself (`sealing.py`)."""

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

from sozu_trio.config.program import Program
from sozu_trio.nursery.identity import Identity, identity_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandbox:
    """What the configuration asks for, with names looked up."""

    mode: Literal["require", "auto", "off"] = "auto"
    violation: Literal["deny", "kill"] = "deny"
    identity: Identity | None = None

    def argument(self) -> str:
        """For a command line."""
        return json.dumps(asdict(self))


def sandbox_of(program: Program, source: str) -> Sandbox:
    """What `program` asks for, which is from `source`. Raises ConfigError for a user that cannot be had."""
    identity = identity_of(program.user, program.group, source)
    return Sandbox(mode=program.sandbox, violation=program.sandbox_violation, identity=identity)


def read_sandbox(argument: str) -> Sandbox:
    """What `argument` has made."""
    told: dict[str, Any] = json.loads(argument)
    identity = told.pop("identity")
    return Sandbox(**told, identity=None if identity is None else Identity(**identity))
