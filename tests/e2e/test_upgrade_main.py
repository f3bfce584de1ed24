"""Main replaces itself while it serves: nobody connected notices."""

import contextlib
import os
import re
import signal
from pathlib import Path

import pytest

from benchmarks.ports import free_port
from benchmarks.processes import family
from tests.e2e.clients import connect, get, receive_until
from tests.e2e.configurations import http_proxy
from tests.e2e.control import Control, ctl, ctl_json, line_of, running, socket_of
from tests.e2e.managers import Manager
from tests.e2e.parts import Nginx, Proxy, StartProxy, wait_until
from tests.e2e.servers import SlowAnswer, serving
from tests.e2e.test_adoption import doors
from tests.e2e.test_workers import serves, workers
from tests.e2e.upgrading import Copy, fetch, fetching, links, pids, upgrade, who_serves


def states(proxy: Proxy) -> list[tuple[int, str, int]]:
    """Each worker without its process."""
    return [(worker_id, state, generation) for worker_id, _, state, generation in who_serves(proxy)]


def test_everything_is_as_before_but_the_code(page: Nginx, start_proxy: StartProxy, copy: Copy) -> None:
    proxy = start_proxy(http_proxy(free_port(), page.port), environment=copy.environment)
    ctl_json(proxy, "cluster", "add", "--id", "later")
    for _ in range(20):
        fetch(proxy)
    before, old, counted = states(proxy), pids(proxy), ctl_json(proxy, "metrics", "get")["total"]["http.requests"]
    copy.replace("__init__.py", '__version__ = "0.1.0"', '__version__ = "0.2.0"')
    with connect(proxy.port) as client:
        client.sendall(get("/page"))
        assert receive_until(client, b"page").endswith(b"page")
        answer = upgrade(proxy)
        assert (answer["before"], answer["version"]) == ("0.1.0", "0.2.0")
        client.sendall(get("/page"))
        assert receive_until(client, b"page").endswith(b"page")
    status = ctl_json(proxy, "status")["main"]
    assert (status["pid"], status["version"], status["generation"]) == (proxy.pid, "0.2.0", 2)
    assert states(proxy) == before
    assert not pids(proxy) & old
    assert {each["before"] for each in answer["workers"]} == old
    assert {each["after"] for each in answer["workers"]} == pids(proxy)
    assert ctl_json(proxy, "metrics", "get")["total"]["http.requests"] == counted + 2
    assert [each["cluster_id"] for each in ctl_json(proxy, "cluster", "list")["clusters"]] == ["web", "later"]
    assert ctl_json(proxy, "history")["generations"][0]["what"] == "cluster add id=later"
    ctl_json(proxy, "cluster", "remove", "--id", "later")
    assert {generation for _, _, _, generation in who_serves(proxy)} == {3}
    assert (
        Path(f"/proc/{proxy.pid}/cmdline")
        .read_bytes()
        .replace(b"\0", b" ")
        .strip()
        .endswith(b"-m sozu_trio serve -c " + bytes(proxy.file))
    )
    wait_until(lambda: proxy.output().count("INFO-ACCESS") == 22)
    assert proxy.output().count("sozu_trio ready") == 1
    assert "main is gone" not in proxy.output()


@pytest.mark.drill
def test_many_in_a_row_under_load_leave_nothing_behind(page: Nginx, start_proxy: StartProxy, full_drill: bool) -> None:
    proxy = start_proxy(http_proxy(free_port(), page.port))
    before, serving_before = upgrade(proxy), states(proxy)
    have_all_serve(proxy)
    descriptors, processes = own_descriptors(proxy), len(family(proxy.pid))
    with fetching(proxy) as fetched:
        away = [before["away_ms"], *(upgrade(proxy)["away_ms"] for _ in range(10 if full_drill else 3))]
    assert set(fetched) == {b"page"}
    assert states(proxy) == serving_before
    wait_until(lambda: len(family(proxy.pid)) == processes)
    assert len(doors(proxy.folder)) == 2
    have_all_serve(proxy)
    wait_until(lambda: own_descriptors(proxy) == descriptors)
    print(f"away for {away} ms under {len(fetched)} requests")


def have_all_serve(proxy: Proxy) -> None:
    """Each worker at least one client: what it opens for the first it keeps for those that follow."""
    with contextlib.ExitStack() as clients:

        def all_serve() -> bool:
            clients.enter_context(connect(proxy.port)).sendall(get("/page"))
            return all(each["sessions"] for each in workers(proxy))

        wait_until(all_serve)


def own_descriptors(proxy: Proxy) -> tuple[int, list[int]]:
    """How many main and each worker have open, apart from connections of clients and to backends, which come and go."""
    connections = {line.split()[9] for line in Path("/proc/net/tcp").read_text().splitlines()[1:]}
    count = {pid: sum(re.sub(r"\D", "", link) not in connections for link in links(pid)) for pid in family(proxy.pid)}
    return count.pop(proxy.pid), sorted(count.values())


def test_who_asks_hears_each_step_and_the_others_are_let_go(page: Nginx, start_proxy: StartProxy) -> None:
    proxy = start_proxy(http_proxy(free_port(), page.port))
    with (
        contextlib.closing(Control(socket_of(proxy))) as asking,
        contextlib.closing(Control(socket_of(proxy))) as idle,
        contextlib.closing(Control(socket_of(proxy))) as listening,
    ):
        listening.send("events")
        assert listening.receive()["content"]["kind"] == "EVENTS_SUBSCRIBED"
        number = asking.send("upgrade")
        replies = [asking.receive()]
        while replies[-1]["status"] == "processing":
            replies.append(asking.receive())
        assert {reply["id"] for reply in replies} == {number}
        assert {reply["status"] for reply in replies[:-1]} == {"processing"}
        said = [str(reply["message"]).partition(":")[0] for reply in replies[1:-1]]
        assert said == ["main", *("worker 0",) * 2, *("worker 1",) * 2]
        assert replies[-1]["status"] == "ok"
        assert asking.ask("status")["main"]["pid"] == proxy.pid
        assert listening.receive()["content"]["kind"] == "MAIN_UPGRADE"
        last = listening.receive()
        assert (last["status"], last["message"]) == ("ok", "main is replaced: ask again")
        for each in (idle, listening):
            with pytest.raises(ConnectionError):
                each.receive()


def test_requests_begun_before_are_answered_and_workers_can_still_be_fewer(start_proxy: StartProxy) -> None:
    slow = SlowAnswer()
    with serving(slow) as backend:
        proxy = start_proxy(http_proxy(free_port(), backend, before="worker_count = 3"))
        with connect(proxy.port) as client:
            client.sendall(get())
            assert slow.asked.wait(20)
            upgrade(proxy)
            slow.answer.set()
            assert receive_until(client, b"slow").endswith(b"slow")
        proxy.file.write_text(proxy.file.read_text().replace("worker_count = 3", "worker_count = 1"))
        assert "worker_count 1" in str(ctl_json(proxy, "reload")["changed"])
        wait_until(lambda: len(workers(proxy)) == 1)
        upgrade(proxy)
        assert len(workers(proxy)) == 1


def test_a_worker_that_dies_afterwards_is_reaped_told_of_and_replaced(page: Nginx, start_proxy: StartProxy) -> None:
    proxy = start_proxy(http_proxy(free_port(), page.port))
    upgrade(proxy)
    victim = workers(proxy)[0]
    os.kill(victim["pid"], signal.SIGKILL)
    wait_until(lambda: serves(proxy, victim))
    assert f"worker {victim['id']} (pid {victim['pid']}) has ended with SIGKILL" in proxy.output()
    assert victim["pid"] not in family(proxy.pid)
    assert fetch(proxy) == b"page"


def test_later_workers_run_the_code_that_main_runs(page: Nginx, start_proxy: StartProxy, copy: Copy) -> None:
    proxy = start_proxy(http_proxy(free_port(), page.port), environment=copy.environment)

    def kill_one() -> None:
        victim = workers(proxy)[0]
        os.kill(victim["pid"], signal.SIGKILL)
        wait_until(lambda: serves(proxy, victim))

    wait_until(lambda: "sozu_trio code" in str(links(proxy.pid)))
    copy.append("worker_process.py", "raise SystemExit('this is new')")
    kill_one()
    assert fetch(proxy) == b"page"
    refused = ctl(proxy, "upgrade")
    assert refused.code == 1
    assert "this is new" in refused.err
    kill_one()


def test_sigusr2_does_the_same(page: Nginx, start_proxy: StartProxy) -> None:
    proxy = start_proxy(http_proxy(free_port(), page.port))
    before, old = states(proxy), pids(proxy)
    proxy.send_signal(signal.SIGUSR2)
    wait_until(lambda: 'result="ok" verb="upgrade"' in proxy.output())
    assert "main: version 0.1.0 to 0.1.0, away for" in proxy.output()
    assert states(proxy) == before
    assert not pids(proxy) & old


def test_signals_of_the_meantime_are_obeyed_afterwards(page: Nginx, start_proxy: StartProxy) -> None:
    proxy = start_proxy(http_proxy(free_port(), page.port))
    with running(proxy, "upgrade") as asking:
        assert "is ready to take over" in line_of(asking)
        wait_until(lambda: "main executes" in proxy.output())
        proxy.send_signal(signal.SIGHUP)
        assert "main: version" in line_of(asking)
    wait_until(lambda: "SIGHUP: " in proxy.output())


def test_systemd_is_told(page: Nginx, tmp_path: Path) -> None:
    with Manager(tmp_path / "managed") as manager:
        config = http_proxy(free_port(), page.port)
        with contextlib.closing(manager.start(config, watchdog=10_000_000)) as proxy:
            manager.hear("READY=1")
            upgrade(proxy)
            manager.hear("RELOADING=1")
            assert manager.hear("READY=1")[:2] == ["READY=1", f"MAINPID={proxy.pid}"]
            upgrade(proxy)
            manager.hear("RELOADING=1")
            manager.hear("READY=1")
