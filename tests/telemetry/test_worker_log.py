"""The log of a worker's process: its name, and the level main was told, by whomever."""

import logging

import pytest

from sozu_trio.config.program import Program, Settings
from sozu_trio.telemetry.worker_log import WorkerLog

log = logging.getLogger("sozu_trio.nursery")


@pytest.fixture
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOZU_LOG", raising=False)


def say(worker_log: WorkerLog) -> list[str]:
    log.debug("detail")
    log.warning("trouble")
    return [line.partition("\t")[2] for line in worker_log.lines.take(10)]


@pytest.mark.usefixtures("_no_environment")
def test_lines_have_the_name_of_the_worker() -> None:
    worker_log = WorkerLog()
    with worker_log.serve(7, colored=False):
        log.warning("trouble")
    (line,) = worker_log.lines.take(2)
    assert " WARN WRK-07\ttrouble" in line


@pytest.mark.usefixtures("_no_environment")
def test_the_level_is_that_of_the_file_until_the_state_says_another_one() -> None:
    worker_log = WorkerLog()
    with worker_log.serve(0, colored=False):
        worker_log.begin(Program(settings=Settings(log_level="warn")))
        assert say(worker_log) == ["trouble"]
        worker_log.follow(Settings(log_level="warn"))
        assert say(worker_log) == ["trouble"]
        worker_log.follow(Settings(log_level="debug"))
        assert say(worker_log) == ["detail", "trouble"]
        worker_log.follow(Settings(log_level="warn"))
        assert say(worker_log) == ["trouble"]


def test_the_environment_of_the_start_outweighs_the_file_but_not_the_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOZU_LOG", "debug")
    worker_log = WorkerLog()
    with worker_log.serve(0, colored=False):
        worker_log.begin(Program(settings=Settings(log_level="warn")))
        worker_log.follow(Settings(log_level="warn"))
        assert say(worker_log) == ["detail", "trouble"]
        worker_log.follow(Settings(log_level="error"))
        assert say(worker_log) == []
