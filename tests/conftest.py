"""What tests of all packages share: virtual time without a word in each test, `pytestmark =
pytest.mark.virtual_time`, and whether drills are in earnest.
"""

import inspect
import os
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest
import trio
from trio.testing import MockClock

LONG = 20_000.0
"""Virtual seconds a test may take. A proxy looks after itself once a second, so much more would be a real wait."""
STEPS = 2000


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "virtual_time: async tests run in virtual time, so that one that hangs fails at once"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.get_closest_marker("virtual_time") and inspect.iscoroutinefunction(getattr(item, "obj", None)):
            item.add_marker(pytest.mark.trio(run=run_in_virtual_time), append=False)


@pytest.fixture
def full_drill() -> bool:
    """Whether a drill should run in full, as scripts/drill asks, or in its short version with generous limits."""
    return os.environ.get("SOZU_TRIO_DRILL") == "full"


def run_in_virtual_time(
    test: Callable[[], Awaitable[None]],
    *,
    clock: trio.abc.Clock | None,
    instruments: Sequence[trio.abc.Instrument],
) -> Any:
    """Run `test` with its fixtures; time jumps to the next deadline when nothing else is left to do."""

    async def watch(scope: trio.CancelScope) -> None:
        # In steps: what the kernel still has under way gets a moment of real time in each.
        for _ in range(STEPS):
            await trio.sleep(LONG / STEPS)
        scope.cancel(reason="the test hangs")

    async def bounded() -> None:
        with trio.CancelScope() as scope:
            trio.lowlevel.spawn_system_task(watch, scope)
            await test()
        if scope.cancelled_caught:
            raise trio.TooSlowError

    return trio.run(bounded, clock=clock or MockClock(autojump_threshold=0), instruments=instruments)
