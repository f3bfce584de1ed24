"""Which proxy is meant, and how long it may be silent."""

from pathlib import Path

import pytest

from sozu_trio.cli.ctl_target import Target, find_target
from sozu_trio.errors import OperatorError


def written(folder: Path, text: str) -> Path:
    file = folder / "proxy.toml"
    file.write_text(text)
    return file


def test_without_a_word_about_it() -> None:
    assert find_target(None, None, None, patient=False) == Target(socket=Path.cwd() / "sozu.sock", timeout=30)


def test_by_its_path() -> None:
    assert find_target(None, Path("a.sock"), 2.5, patient=False) == Target(socket=Path("a.sock"), timeout=2.5)


def test_by_the_proxys_file_whatever_else_is_wrong_with_it(tmp_path: Path) -> None:
    text = 'command_socket = "run/a.sock"\nctl_command_timeout = 1500\nworker_count = 0\nlisteners = 5\nnonsense = 1\n'
    found = find_target(written(tmp_path, text), None, None, patient=False)
    assert found == Target(socket=tmp_path / "run/a.sock", timeout=1.5)


def test_a_file_that_says_neither(tmp_path: Path) -> None:
    found = find_target(written(tmp_path, ""), None, None, patient=False)
    assert found == Target(socket=Path.cwd() / "sozu.sock", timeout=30)


@pytest.mark.parametrize(
    ("given", "patient", "timeout"),
    [(None, True, None), (4, True, 4), (0, True, None), (0, False, None), (None, False, 30)],
)
def test_time_limits(given: float | None, patient: bool, timeout: float | None) -> None:
    assert find_target(None, None, given, patient=patient).timeout == timeout


def test_zero_in_the_file_is_none_too(tmp_path: Path) -> None:
    assert find_target(written(tmp_path, "ctl_command_timeout = 0"), None, None, patient=False).timeout is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("command_socket = 5", "command_socket: found 5; want a path"),
        (f'command_socket = "{"a" * 120}"', "want at most 103"),
        ("ctl_command_timeout = true", "ctl_command_timeout: found true"),
        ("command_socket = ", "Invalid value"),
        ("x = " + "[" * 5000, "nested too deeply"),
        ("\udcff", "invalid start byte"),
    ],
)
def test_a_file_that_does_not_say_it_right(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "proxy.toml"
    file.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(OperatorError) as error:
        find_target(file, None, None, patient=False)
    assert str(error.value).startswith(f"{file}: ")
    assert said in str(error.value)


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(OperatorError, match="/nowhere: cannot be read: No such file or directory"):
        find_target(Path("/nowhere"), None, None, patient=False)
