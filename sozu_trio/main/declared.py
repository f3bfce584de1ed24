"""What a configuration file says, as a State: what reload and a start compare with what is."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path

from sozu_trio.config.certificates import ListenerCertificate
from sozu_trio.config.load import Config, load_config
from sozu_trio.config.program import Program
from sozu_trio.config.regular import read_regular
from sozu_trio.config.values import show
from sozu_trio.main.files import in_thread
from sozu_trio.main.staying import stays
from sozu_trio.routing.state import State, declare

FOLLOWED = {"settings", "activate_listeners", "worker_count", "certificate_check_interval"}
"""Fields of Program that a reload changes at once: what State carries, and what main sees to by itself."""


def declared_by(config: Config, certificates: Iterable[ListenerCertificate] = ()) -> State:
    """The State that `config` declares, all of it of origin `file` once it is in force. `certificates`: those in the
    files it names.
    """
    return declare(
        listeners=config.listeners,
        clusters=config.clusters,
        http_frontends=config.http_frontends,
        tcp_frontends=config.tcp_frontends,
        backends=config.backends,
        settings=config.program.settings,
        certificates=certificates,
    )


async def read_file(path: Path) -> Config:
    """The configuration at `path`, a regular file, read in a thread: a large one takes seconds. Raises ConfigError."""
    return await in_thread(_read, path)


def _read(path: Path) -> Config:
    return load_config(path, read_regular)


def waiting_for_a_start(before: Program, after: Program) -> list[str]:
    """The global keys that differ and that only the next start or upgrade will follow, as lines for the operator."""
    lines = []
    for field in dataclasses.fields(Program):
        old, new = getattr(before, field.name), getattr(after, field.name)
        if old != new and field.name not in FOLLOWED:
            when = "start" if stays(field.name, before, after) else "start or upgrade"
            lines.append(f"{field.name}: {_spelled(new)} instead of {_spelled(old)} takes effect at the next {when}")
    return lines


def _spelled(value: object) -> str:
    """The value of a key as the file has it."""
    if value is None:
        return "nothing"
    return f"[{', '.join(map(show, value))}]" if isinstance(value, tuple) else show(value)
