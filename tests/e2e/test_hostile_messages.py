"""Somebody has taken over one of two workers and says what he likes to main, which nobody else notices."""

import contextlib
import json
import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.ports import free_port
from tests.e2e.clients import curl
from tests.e2e.configurations import http_proxy
from tests.e2e.control import ctl, ctl_json
from tests.e2e.hostile_worker import ALLOWED, ANSWERS, DEED, DEEDS, FLOOD, SILENCE
from tests.e2e.parts import Nginx, Proxy, wait_until
from tests.e2e.test_workers import serves, workers

ROOT = Path(__file__).parents[2]
HOSTILE = (sys.executable, "-m", "tests.e2e.hostile_main", "hostile_worker", "serve")
LOOKS = (("tree",), ("session", "list"), ("metrics", "get"), ("listener", "list"), ("backend", "list"), ("status",))
LINE = re.compile(r"[0-9T:.Z-]+ [0-9]+ [A-Z-]+ (MAIN|WRK-[0-9]{2})\t.*|sozu_trio ready: .*|\t.*")


@contextlib.contextmanager
def hostile(nginx: Nginx, folder: Path, deed: str, more: str = "") -> Iterator[Proxy]:
    """A proxy whose worker 1 does `deed` once it serves; it has to stop as it should."""
    nginx.files.joinpath("page").write_text("page")
    folder.joinpath("allowed").touch()
    environment = {DEED: deed, ALLOWED: str(folder / "allowed"), "PYTHONPATH": str(ROOT)}
    config = http_proxy(free_port(), nginx.port, before=f"worker_count = 2\n{more}")
    with contextlib.closing(Proxy(config, folder / "proxy", environment=environment, serve=HOSTILE)) as proxy:
        wait_until(lambda: "it is done" in proxy.errors() or deed in ANSWERS)
        yield proxy


def all_is_well(proxy: Proxy) -> None:
    """Both workers serve, everything can be looked at and changed, and main is the process it was."""
    assert [(each["id"], each["state"]) for each in workers(proxy)] == [(0, "running"), (1, "running")]
    for _ in range(10):
        assert curl(f"http://127.0.0.1:{proxy.port}/page").body == b"page"
    for words in LOOKS:
        run = ctl(proxy, *words)
        assert run.code == 0, run.err
    ctl_json(proxy, "cluster", "add", "--id", "another")
    assert ctl_json(proxy, "status")["main"]["pid"] == proxy.pid


def sum_of_requests(proxy: Proxy) -> int:
    total: int = ctl_json(proxy, "metrics", "get")["total"]["http.requests"]
    return total


@pytest.mark.parametrize("deed", DEEDS)
def test_who_talks_nonsense_is_replaced(deed: str, nginx: Nginx, tmp_path: Path) -> None:
    with hostile(nginx, tmp_path, deed) as proxy:
        wait_until(lambda: re.search(r"worker 1 \(pid \d+\) is replaced", proxy.output()))
        wait_until(lambda: [each["state"] for each in workers(proxy)] == ["running"] * 2)
        all_is_well(proxy)
        assert sum_of_requests(proxy) == 10
        assert proxy.output().count("is replaced") == 1
        assert all(LINE.fullmatch(line) for line in proxy.output().splitlines())
        assert "\tforged" not in proxy.output()


@pytest.mark.parametrize("deed", ANSWERS)
def test_who_answers_nonsense_is_replaced(deed: str, nginx: Nginx, tmp_path: Path) -> None:
    with hostile(nginx, tmp_path, deed) as proxy:
        first = ctl(proxy, "--json", "tree")
        assert (first.code, first.err) == (0, "")
        assert [each["name"] for each in json.loads(first.out)["workers"]] == ["worker 0"]
        wait_until(lambda: "worker 1: no answer to a look at tree" in proxy.output())
        wait_until(lambda: [each["state"] for each in workers(proxy)] == ["running"] * 2)
        all_is_well(proxy)


def test_who_does_not_confirm_the_first_generation_is_replaced(nginx: Nginx, tmp_path: Path) -> None:
    """The start goes on, and is over once its successor accepts."""
    with hostile(nginx, tmp_path, SILENCE, "worker_timeout = 2") as proxy:
        assert "but not all of it is confirmed: worker 1: no answer to Commit within 2 s" in proxy.output()
        assert re.search(r"worker 1 \(pid \d+\) is replaced", proxy.output())
        all_is_well(proxy)


def test_who_says_too_much_disturbs_nobody(nginx: Nginx, tmp_path: Path) -> None:
    """What it floods main with is in the way of its own answers only: where it has none in time it is replaced."""
    with hostile(nginx, tmp_path, FLOOD, "worker_timeout = 10") as proxy:
        ctl_json(proxy, "cluster", "list")
        assert ctl_json(proxy, "status")["main"]["pid"] == proxy.pid
        (flooding,) = [each for each in workers(proxy) if each["id"] == 1]
        with contextlib.suppress(ProcessLookupError):
            os.kill(flooding["pid"], signal.SIGKILL)
        wait_until(lambda: serves(proxy, flooding))
        all_is_well(proxy)


def test_main_can_be_replaced_after_it(nginx: Nginx, tmp_path: Path) -> None:
    with hostile(nginx, tmp_path, "drop lines beyond measure") as proxy:
        wait_until(lambda: re.search(r"worker 1 \(pid \d+\) is replaced", proxy.output()))
        wait_until(lambda: [each["state"] for each in workers(proxy)] == ["running"] * 2)
        ctl_json(proxy, "upgrade")
        all_is_well(proxy)
