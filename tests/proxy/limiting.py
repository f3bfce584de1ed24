"""What tests of limits share: which limits were passed, and another listener for connections that are open."""

from dataclasses import replace

import trio

from sozu_trio.config.listeners import HttpListener
from sozu_trio.routing.drains import Drains
from sozu_trio.testing import RunningProxy


async def passed(proxy: RunningProxy) -> dict[str, int]:
    """The limits that were passed so far, by the names of their counters without `limits.`, and how often."""
    await proxy.supervisor.look("counters")
    counts = proxy.supervisor.counters().snapshot()
    return {
        name.removeprefix("limits."): count for name, count in counts.items() if name.startswith("limits.") and count
    }


async def sessions(proxy: RunningProxy) -> int:
    """Client connections that are open."""
    await proxy.supervisor.look("counters")
    return proxy.supervisor.counters().sessions


async def change_listener(proxy: RunningProxy, **fields: object) -> None:
    """Have these fields of its only listener say something else."""
    state = proxy.supervisor.state
    ((key, listener),) = state.listeners.items()
    assert isinstance(listener, HttpListener)
    changed = replace(listener, **fields)  # type: ignore[arg-type]
    await proxy.supervisor.change(
        replace(state, listeners={key: changed}), proxy.supervisor.generation + 1, drains=Drains()
    )
    await trio.sleep(0.01)
