"""Free ports: nobody listens there, and no two are given the same."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.ports import PORTS, free_port

ROOT = Path(__file__).parents[2]


@pytest.fixture
def last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> range:
    """All that there are: so far from the first one that no other test gets them."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr("benchmarks.ports.PORTS", PORTS[-3:])
    return PORTS[-3:]


def test_each_is_another_one_in_all_processes() -> None:
    command = [sys.executable, "-c", "from benchmarks.ports import *; print(*(free_port() for _ in range(100)))"]
    asking = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    given = {free_port() for _ in range(100)}.union(*(map(int, each.communicate()[0].split()) for each in asking))
    assert len(given) == 300
    assert given < set(PORTS)


def test_after_the_last_comes_the_first(last: range) -> None:
    assert [free_port() for _ in range(6)] == [*last, *last]


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_where_somebody_listens_is_left_out(host: str, last: range) -> None:
    with socket.create_server((host, last[1])):
        assert [free_port() for _ in range(4)] == [last[0], last[2]] * 2
