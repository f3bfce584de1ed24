"""The pytest plug-in: a proxy and its backends as fixtures, ended in the right order when the test is over."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import TypeVar

import pytest
import trio

from sozu_trio.testing.backends import OK, Script, ScriptedBackend, open_backend
from sozu_trio.testing.harness import RunningProxy, open_test_proxy

StartBackend = Callable[..., Awaitable[ScriptedBackend]]
StartProxy = Callable[..., Awaitable[RunningProxy]]
Opened = TypeVar("Opened")


@pytest.fixture
async def start_backend() -> AsyncIterator[StartBackend]:
    """`backend = await start_backend(script)`: a scripted backend until the test is over."""
    over = trio.Event()
    async with trio.open_nursery() as backends:

        async def start(script: Script | bytes = OK) -> ScriptedBackend:
            backend: ScriptedBackend = await backends.start(partial(_hold, open_backend(script), over))
            return backend

        yield start
        over.set()


@pytest.fixture
async def start_proxy(start_backend: StartBackend) -> AsyncIterator[StartProxy]:
    """`proxy = await start_proxy(text, **backends)`: a proxy until the test is over; see `open_test_proxy`."""
    over = trio.Event()
    async with trio.open_nursery() as proxies:

        async def start(text: str, *, log: str = "debug", **backends: object) -> RunningProxy:
            opening = open_test_proxy(text, log=log, **backends)
            proxy: RunningProxy = await proxies.start(partial(_hold, opening, over))
            return proxy

        yield start
        over.set()


async def _hold(
    opening: AbstractAsyncContextManager[Opened],
    over: trio.Event,
    *,
    task_status: trio.TaskStatus[Opened] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Keep something open in a task of its own: what holds a nursery must be closed by the task that opened it."""
    async with opening as opened:
        task_status.started(opened)
        await over.wait()
