"""No signal ends main but those that say so, whatever goes wrong."""

import logging
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sozu_trio.main import signals
from tests.main.running import running, write


async def broken(*_args: object, **_options: object) -> None:
    raise ValueError("broken")


@pytest.mark.parametrize(
    ("number", "what"), [(signal.SIGUSR2, "replace_main"), (signal.SIGHUP, "reload_file")], ids=["SIGUSR2", "SIGHUP"]
)
async def test_a_mistake_of_ours_is_logged(
    tmp_path: Path, number: signal.Signals, what: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def come() -> AsyncIterator[int]:
        yield number

    monkeypatch.setattr(signals, what, broken)
    async with running(write(tmp_path)) as main:
        # Main's log has handlers of its own, and hands nothing on.
        monkeypatch.setattr(logging.getLogger("sozu_trio.main.signals"), "handlers", [caplog.handler])
        await signals.obey(come(), main.parts, lambda: None)
    assert f"{number.name}: internal error" in caplog.text
    assert "ValueError: broken" in caplog.text
