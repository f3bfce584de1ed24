"""scripts/upgrade-drill as operators call it, short: with nothing lost, with a worker killed, at a proxy that runs."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.ports import free_port
from benchmarks.processes import family
from tests.e2e.clients import PATIENCE
from tests.e2e.configurations import http_proxy
from tests.e2e.parts import Nginx, StartProxy, require

DRILL = (sys.executable, "-P", "-m", "benchmarks.upgrade_drill.run")
SMALL = ("--no-upgrade", "--seconds", "1", "--rate", "200", "--websockets", "10", "--streams", "5")
"""So that other tests beside it are not slowed down."""
WARMED_UP = "no upgrade"
"""How the line of progress begins that comes before anything is compared."""


class Drill:
    """One under way."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def until(self, start: str) -> None:
        """A line of progress begins with `start`."""
        assert self._process.stderr is not None
        while not (line := self._process.stderr.readline()).startswith(start):
            assert line, f"it ended before it said {start}"

    def workers(self) -> list[int]:
        """Of the proxy it has started."""
        pids = family(self._process.pid)
        return [pid for pid in pids if Path(f"/proc/{pid}/comm").read_text().startswith("sozu-trio: w")]

    def result(self) -> tuple[int, Any, str]:
        """Exit code, the JSON document, and what it said at last."""
        out, err = self._process.communicate(timeout=3 * PATIENCE)
        assert out, err
        return self._process.returncode, json.loads(out), err


@contextlib.contextmanager
def drilling(*words: str) -> Iterator[Drill]:
    for program in ("nginx", "wrk"):
        require(program)
    with subprocess.Popen(
        [*DRILL, "--json", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield Drill(process)
        finally:
            process.kill()


@pytest.mark.drill
def test_nothing_is_lost_without_an_upgrade() -> None:
    with drilling(*SMALL) as drill:
        code, found, said = drill.result()
    assert (code, found["problems"]) == (0, []), said
    seen = found["tally"]
    assert min(seen[name] for name in ("requests", "connections", "messages", "streamed")) > 100


@pytest.mark.drill
def test_a_worker_that_is_killed_is_noticed() -> None:
    with drilling(*SMALL) as drill:
        drill.until(WARMED_UP)
        os.kill(drill.workers()[0], signal.SIGKILL)
        code, found, said = drill.result()
    seen = found["tally"]
    assert code == 1
    assert "upgrade drill failed:" in said
    assert seen["closed"] > 0
    assert seen["cut"] > 0
    assert seen["wrong"] == seen["disordered"] == 0


def test_a_proxy_that_runs(nginx: Nginx, start_proxy: StartProxy) -> None:
    nginx.files.joinpath("page").write_text("page")
    proxy = start_proxy(http_proxy(free_port(), nginx.port, before='command_socket = "sozu.sock"'))
    url = f"http://127.0.0.1:{proxy.port}/page"
    with drilling("--no-upgrade", "--seconds", "1", "--config", str(proxy.file), "--url", url) as drill:
        code, found, said = drill.result()
    assert (code, found["problems"]) == (0, []), said
    assert found["tally"]["requests"] > 100
    assert found["tally"]["messages"] == 0


def test_no_proxy_there(tmp_path: Path, nginx: Nginx) -> None:
    words = ("--socket", str(tmp_path / "sock"), "--url", f"http://127.0.0.1:{nginx.port}/")
    run = subprocess.run([*DRILL, *words], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert run.returncode == 1
    assert run.stderr.splitlines()[-1].startswith("no proxy listens at ")
