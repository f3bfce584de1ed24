"""What a file says as a State, and which of its keys wait for the next start."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from sozu_trio.config.listeners import Timeouts
from sozu_trio.config.load import load_config
from sozu_trio.config.program import Program, Settings
from sozu_trio.config.schema import FileTable
from sozu_trio.errors import ConfigError
from sozu_trio.main.declared import FOLLOWED, declared_by, read_file, waiting_for_a_start
from tests.main.running import GLOBALS, HTTP, SERVICES, TCP, write


def test_every_record_of_the_file_and_its_settings(tmp_path: Path) -> None:
    text = 'log_level = "warn"\nfront_timeout = 7\n' + GLOBALS + SERVICES
    config = load_config(write(tmp_path, text))
    state = declared_by(config)
    state.check()
    assert tuple(state.listeners.values()) == config.listeners
    assert tuple(state.clusters.values()) == config.clusters
    assert tuple(state.http_frontends.values()) == config.http_frontends
    assert tuple(state.tcp_frontends.values()) == config.tcp_frontends
    assert tuple(each for backends in state.backends.values() for each in backends.values()) == config.backends
    assert [str(address) for _, address in state.listeners] == [HTTP, TCP]
    assert (state.settings.log_level, state.settings.timeouts.front) == ("warn", 7)
    assert state.declared is None


async def test_a_file_is_read_away_from_the_loop_with_all_its_errors(tmp_path: Path) -> None:
    file = write(tmp_path)
    assert await read_file(file) == load_config(file)
    with pytest.raises(ConfigError) as caught:
        await read_file(write(tmp_path, "worker_count = -1\nmax_connections = 'many'\n"))
    assert [problem.where for problem in caught.value.problems] == ["worker_count", "max_connections"]
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        await read_file(tmp_path / "none.toml")


@pytest.mark.parametrize(
    ("changes", "lines"),
    [
        ({}, []),
        ({"settings": Settings(timeouts=Timeouts(front=7), log_level="warn", max_connections=7)}, []),
        ({"worker_count": 3, "activate_listeners": False}, []),
        (
            {"saved_state": Path("/state.json"), "shutdown_timeout": 7},
            [
                "shutdown_timeout: 7 instead of 30 takes effect at the next start or upgrade",
                "saved_state: '/state.json' instead of nothing takes effect at the next start or upgrade",
            ],
        ),
        (
            {"command_allowed_uids": (0, 1000), "saved_state": Path("/s"), "automatic_state_save": True},
            [
                "command_allowed_uids: [0, 1000] instead of nothing takes effect at the next start or upgrade",
                "saved_state: '/s' instead of nothing takes effect at the next start",
                "automatic_state_save: true instead of false takes effect at the next start",
            ],
        ),
    ],
)
def test_keys_that_wait_for_the_next_start(changes: dict[str, Any], lines: list[str]) -> None:
    before = Program()
    assert waiting_for_a_start(before, dataclasses.replace(before, **changes)) == lines


def test_the_way_back_is_told_too() -> None:
    before = Program(pid_file_path=Path("/run/pid"))
    assert waiting_for_a_start(before, Program()) == [
        "pid_file_path: nothing instead of '/run/pid' takes effect at the next start"
    ]


def test_what_is_told_are_keys_of_the_file() -> None:
    keys = {each.name for each in dataclasses.fields(FileTable)}
    told = {each.name for each in dataclasses.fields(Program)} - FOLLOWED
    assert told <= keys
