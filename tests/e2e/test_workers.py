"""Workers as processes: killed, stopped, replaced, and never missed for longer than it takes."""

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.ports import free_port
from benchmarks.processes import family
from tests.e2e.clients import PATIENCE, connect, curl, get, read_wrk, receive_all, start_wrk
from tests.e2e.configurations import http_proxy
from tests.e2e.control import ctl_json
from tests.e2e.parts import Nginx, Proxy, StartProxy, wait_until
from tests.e2e.servers import SlowAnswer, serving


def workers(proxy: Proxy) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ctl_json(proxy, "status")["workers"]
    return found


def serves(proxy: Proxy, worker: dict[str, Any]) -> bool:
    """Whether there is one with that id, another process, that serves by what is in force."""
    return any(
        (each["id"], each["state"]) == (worker["id"], "running") and each["pid"] != worker["pid"]
        for each in workers(proxy)
    )


def test_each_is_a_process_that_serves(nginx: Nginx, start_proxy: StartProxy) -> None:
    nginx.files.joinpath("page").write_text("page")
    proxy = start_proxy(http_proxy(free_port(), nginx.port, before="worker_count = 3"))
    found = workers(proxy)
    assert [(each["id"], each["state"], each["generation"]) for each in found] == [
        (number, "running", 1) for number in range(3)
    ]
    pids = {each["pid"] for each in found}
    assert len(pids) == 3
    assert proxy.pid not in pids
    for _ in range(30):
        assert curl(f"http://127.0.0.1:{proxy.port}/page").body == b"page"
    wait_until(lambda: proxy.output().count("INFO-ACCESS") == 30)
    counted = ctl_json(proxy, "metrics", "get")
    requests = [worker["http.requests"] for worker in counted["workers"].values()]
    assert sum(requests) == counted["total"]["http.requests"] == 30
    assert max(requests) < 30
    assert proxy.stop() == 0
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_one_that_is_killed_under_load_is_replaced(nginx: Nginx, start_proxy: StartProxy) -> None:
    """What fails is what was in flight on it: a connection that wrk has to open anew."""
    nginx.files.joinpath("page").write_text("page")
    proxy = start_proxy(http_proxy(free_port(), nginx.port))
    victim = workers(proxy)[0]
    loading = start_wrk(f"http://127.0.0.1:{proxy.port}/page", connections=16, seconds=4)
    time.sleep(1)  # in the middle of the load
    os.kill(victim["pid"], signal.SIGKILL)
    wait_until(lambda: serves(proxy, victim))
    load = read_wrk(loading, 4)
    # wrk counts each broken connection as an error of reading; nothing is refused, nothing else is answered.
    assert [error for error in load.errors if not error.startswith("Socket errors: connect 0, read")] == []
    assert "Non-2xx" not in str(load.errors)
    assert load.requests > 100
    assert f"worker {victim['id']} is gone" in proxy.output()
    assert ctl_json(proxy, "metrics", "get")["total"]["http.requests"] > load.requests / 2


def test_all_of_them_killed_are_replaced_and_know_what_was_changed_since(nginx: Nginx, start_proxy: StartProxy) -> None:
    nginx.files.joinpath("page").write_text("page")
    proxy = start_proxy(http_proxy(free_port(), 1))
    ctl_json(proxy, "backend", "add", "--id", "web", "--backend-id", "new", "--address", f"127.0.0.1:{nginx.port}")
    victims = workers(proxy)
    for victim in victims:
        os.kill(victim["pid"], signal.SIGKILL)
    wait_until(lambda: all(f"worker {victim['id']} is gone" in proxy.output() for victim in victims))
    # Whoever comes meanwhile waits in a queue that main holds.
    assert curl(f"http://127.0.0.1:{proxy.port}/page").body == b"page"
    wait_until(lambda: all(serves(proxy, victim) for victim in victims))
    assert [each["generation"] for each in workers(proxy)] == [2, 2]


def test_one_that_is_stuck_is_replaced(nginx: Nginx, start_proxy: StartProxy) -> None:
    nginx.files.joinpath("page").write_text("page")
    proxy = start_proxy(http_proxy(free_port(), nginx.port, before="worker_timeout = 1"))
    victim = workers(proxy)[1]
    os.kill(victim["pid"], signal.SIGSTOP)
    wait_until(lambda: serves(proxy, victim), 20)
    assert f"worker {victim['id']}: no answer to Beat within 1 s: it is killed." in proxy.output()
    for _ in range(10):
        assert curl(f"http://127.0.0.1:{proxy.port}/page").body == b"page"


def test_a_second_signal_ends_one_that_is_stuck(start_proxy: StartProxy) -> None:
    """Where nothing else would: neither is waited for its answers with a limit, nor for its sessions."""
    proxy = start_proxy(http_proxy(free_port(), 1, before="worker_timeout = 0\nshutdown_timeout = 0"))
    stuck = workers(proxy)[1]["pid"]
    os.kill(stuck, signal.SIGSTOP)
    proxy.send_signal(signal.SIGTERM)
    wait_until(lambda: "SIGTERM: stopping" in proxy.output())
    assert proxy.stop(signal.SIGTERM) == 0
    assert "SIGTERM again: cutting every session" in proxy.output()
    assert "worker 1 has not ended in time: it is killed" in proxy.output()
    with pytest.raises(ProcessLookupError):
        os.kill(stuck, 0)


def test_signals_to_the_whole_group_are_for_main(start_proxy: StartProxy) -> None:
    """As a terminal sends them on Ctrl-C."""
    slow = SlowAnswer()
    with serving(slow) as backend:
        proxy = start_proxy(http_proxy(free_port(), backend))
        with connect(proxy.port) as client:
            client.sendall(get("/"))
            assert slow.asked.wait(PATIENCE)
            os.killpg(proxy.pid, signal.SIGINT)
            wait_until(lambda: "SIGINT: stopping" in proxy.output())
            slow.answer.set()
            assert receive_all(client).endswith(b"slow")
        assert proxy.wait() == 0


def test_lines_of_a_worker_are_in_the_log_with_its_name(start_proxy: StartProxy) -> None:
    proxy = start_proxy(http_proxy(free_port(), 1, before='log_level = "debug"\nworker_count = 1'))
    curl(f"http://127.0.0.1:{proxy.port}/")
    wait_until(lambda: " DEBUG WRK-00\t" in proxy.output())
    ctl_json(proxy, "logging", "warn")
    said = proxy.output().count(" DEBUG WRK-00\t")
    curl(f"http://127.0.0.1:{proxy.port}/")
    wait_until(lambda: proxy.output().count("-ACCESS WRK-00") == 2)
    assert proxy.output().count(" DEBUG WRK-00\t") == said


def titles(proxy: Proxy) -> list[str]:
    pids = [each["pid"] for each in workers(proxy)]
    return [Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode() for pid in pids]


def test_they_have_telling_names(start_proxy: StartProxy) -> None:
    proxy = start_proxy(http_proxy(free_port(), 1))
    assert titles(proxy) == [f"sozu-trio: worker {worker} (generation 1)" for worker in (0, 1)]
    ctl_json(proxy, "cluster", "add", "--id", "another")
    assert titles(proxy) == [f"sozu-trio: worker {worker} (generation 2)" for worker in (0, 1)]
    assert Path(f"/proc/{proxy.pid}/comm").read_text() == "sozu-trio: main\n"
    assert str(proxy.file).encode() in Path(f"/proc/{proxy.pid}/cmdline").read_bytes()


def test_main_as_process_one_reaps_what_others_leave(start_proxy: StartProxy) -> None:
    """As the nearest subreaper, which is the same without a container."""
    script = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER
if os.fork() == 0:
    if os.fork() == 0:
        os.execv("/bin/sleep", ["sleep", "1"])
    os._exit(0)
os.execv(sys.argv[1], sys.argv[1:])
"""
    proxy = start_proxy(http_proxy(free_port(), 1), prefix=[sys.executable, "-c", script])
    wait_until(lambda: len(family(proxy.pid)) == 1 + len(workers(proxy)))
