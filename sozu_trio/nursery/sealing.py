"""The sandbox of a worker: it seals itself, layer upon layer, before it serves anybody.

    warm up         nothing is imported or read later (`warm_up.py`)
    user            another one, where main is root and the configuration names it
    capabilities    none, nor groups
    no_new_privs    nor ever; no dump of its memory, and nobody traces it
    landlock        no files (`landlock.py`)
    seccomp         no system calls but those it needs (`seccomp.py`)

Landlock is of the thread that asks for it, so there must be one thread only. The order is that of what each layer
takes: nothing is left to the last one that an earlier one would need.
"""

import logging
import os
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

from sozu_trio.control.messages import Sandboxed
from sozu_trio.nursery.landlock import restrict_files
from sozu_trio.nursery.privileges import become, forbid_new_privileges, give_up_capabilities
from sozu_trio.nursery.sandbox import Sandbox
from sozu_trio.nursery.seccomp import filter_calls
from sozu_trio.nursery.warm_up import warm_up

log = logging.getLogger(__name__)

USER: Final = "user"
ROOT: Final = "user: not set"
"""Nobody asked for a user: workers are root then, without its rights. That is said, and refused nowhere."""


def seal(sandbox: Sandbox, *, key_log: bool = False) -> Sandboxed:
    """Seal this process, which has one thread and has opened what it needs; returns what is in force. `key_log`: it is
    to write down the secrets of TLS sessions (`tls/key_log.py`). Raises RuntimeError where there are more threads.
    """
    if sandbox.mode == "off":
        return Sandboxed()
    warm_up()
    if len(os.listdir("/proc/self/task")) != 1:
        raise RuntimeError("a thread would stay outside of the sandbox")
    layers: list[str] = []
    missing: list[str] = []
    for name, apply in _layers(sandbox, key_log):
        try:
            layers.append(apply() or name)
        except OSError as error:
            missing.append(f"{name}: {error.strerror or error}")
    refusal = ""
    if missing and sandbox.mode == "require":
        refusal = f'sandbox: found "require", but layers are missing: {"; ".join(missing)}'
    elif sandbox.identity is not None and USER not in layers:
        # Whoever names one counts on it, whatever else may be missing.
        refusal = f"workers cannot be who they are to be: {missing[0]}"
    if sandbox.identity is None and os.getuid() == 0:
        missing.insert(0, ROOT)
    return Sandboxed(layers=tuple(layers), missing=tuple(missing), refusal=refusal)


def tell(sandboxed: Sandboxed) -> None:
    """Log what is in force."""
    if sandboxed.layers or sandboxed.missing:
        missing = f"; without {'; '.join(sandboxed.missing)}" if sandboxed.missing else ""
        log.info("sandbox: %s%s", ", ".join(sandboxed.layers) or "none", missing)


def _layers(sandbox: Sandbox, key_log: bool) -> Iterator[tuple[str, Callable[[], str | None]]]:
    """The name of each, and what applies it: it may say more than the name, and raises OSError."""
    if sandbox.identity is not None:
        yield USER, partial(become, sandbox.identity)
    yield "no capabilities", give_up_capabilities
    yield "no_new_privs", forbid_new_privileges
    yield "landlock", restrict_files
    yield "seccomp", partial(filter_calls, kill=sandbox.violation == "kill", key_log=key_log)
