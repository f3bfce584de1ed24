"""What main leaves behind is found and ended."""

import sys
from pathlib import Path

import pytest

from benchmarks.processes import Process, ProcessTrouble, says
from benchmarks.upgrade_drill import stage


def test_nothing_is_left(tmp_path: Path) -> None:
    stage.end_what_is_left(tmp_path)


def test_what_is_left_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage, "LAST", 0.1)
    code = "import time; print('ready', flush=True); time.sleep(60)"
    with Process([sys.executable, "-c", code], tmp_path) as process:
        process.wait_until(says("ready"))
        assert stage.running_in(tmp_path) == [process.pid]
        with pytest.raises(ProcessTrouble, match=f"had been stopped: {process.pid}$"):
            stage.end_what_is_left(tmp_path)
        assert process.wait() < 0
