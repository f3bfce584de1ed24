"""Main is killed: its workers serve on, and the next main goes on with them as if it had been there all the time."""

import contextlib
import os
import random
import re
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.ports import free_port
from benchmarks.processes import Process, family
from tests.e2e.clients import PATIENCE, Load, connect, curl, get, read_wrk, receive_all, receive_until, start_wrk
from tests.e2e.configurations import http_proxy
from tests.e2e.control import ctl, ctl_json
from tests.e2e.parts import SERVE, Nginx, Proxy, environment_with, wait_until
from tests.e2e.servers import SlowAnswer, serving
from tests.e2e.test_workers import serves, workers

CONNECTIONS = 8


class Lives:
    """Mains that follow one another, on one port and in one folder."""

    def __init__(self, folder: Path, backend: int, before: str = "") -> None:
        self.folder = folder / "proxy"
        self.port = free_port()
        self._backend = backend
        self._before = before
        self._all: list[Proxy] = []

    def start(self, before: str | None = None) -> Proxy:
        """`before`: other global keys than the first time."""
        text = http_proxy(self.port, self._backend, before=self._before if before is None else before)
        self._all.append(Proxy(text, self.folder))
        return self._all[-1]

    @contextlib.contextmanager
    def starting(self) -> Iterator[Process]:
        """A start that the test looks at from its first moment."""
        command = [*SERVE, "-c", "config.toml"]
        with Process(command, self.folder, name="starting", environment=environment_with({})) as process:
            yield process

    def kill(self) -> None:
        """Main, and nobody else."""
        assert self._all[-1].stop(signal.SIGKILL) == -signal.SIGKILL

    def page(self, target: str = "page") -> bytes:
        return curl(f"http://127.0.0.1:{self.port}/{target}").body

    def close(self) -> None:
        """Workers belong to the process group of the main that started them."""
        try:
            self._all[-1].close()
        finally:
            for proxy in self._all:
                proxy.process.kill()


@contextlib.contextmanager
def lives(folder: Path, backend: int, before: str = "") -> Iterator[Lives]:
    with contextlib.closing(Lives(folder, backend, before)) as found:
        yield found


@pytest.fixture
def page(nginx: Nginx) -> Nginx:
    nginx.files.joinpath("page").write_text("page")
    return nginx


def pids(proxy: Proxy) -> list[int]:
    return [each["pid"] for each in workers(proxy)]


def is_there(pid: int) -> bool:
    """Whether it runs; nobody may have waited for one whose main has died."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def await_successor(proxy: Proxy, victim: dict[str, Any]) -> None:
    wait_until(lambda: serves(proxy, victim), 20)


def doors(folder: Path) -> list[Path]:
    return list((folder / "sozu.sock.d").glob("worker-*"))


def test_nobody_notices_and_the_next_main_adopts(tmp_path: Path, page: Nginx) -> None:
    with lives(tmp_path, page.port) as main:
        proxy = main.start()
        ctl_json(proxy, "cluster", "add", "--id", "later")
        before = workers(proxy)
        loading = start_wrk(f"http://127.0.0.1:{main.port}/page", connections=16, seconds=4)
        time.sleep(1)  # in the middle of the load
        main.kill()
        assert main.page() == b"page"
        proxy = main.start()
        after = workers(proxy)
        assert [(each["id"], each["pid"], each["state"]) for each in after] == [
            (each["id"], each["pid"], "running") for each in before
        ]
        assert {each["generation"] for each in after} == {2}
        assert [each["cluster_id"] for each in ctl_json(proxy, "cluster", "list")["clusters"]] == ["web", "later"]
        assert ctl_json(proxy, "history")["generations"][0]["what"] == "cluster add id=later"
        load = read_wrk(loading, 4)
        assert load.errors == []
        assert load.requests > 100
        assert ctl_json(proxy, "metrics", "get")["total"]["http.requests"] > load.requests
        assert family(proxy.pid) == [proxy.pid]
        assert proxy.stop() == 0
        assert not any(map(is_there, (each["pid"] for each in after)))
        assert doors(main.folder) == []


@pytest.mark.parametrize("left", [1, 2])
def test_what_a_main_that_was_away_should_have_logged_is_logged(tmp_path: Path, page: Nginx, left: int) -> None:
    """Also by workers that have no place under the next one."""
    with lives(tmp_path, page.port, before='log_target = "file://log"') as main:
        main.start()
        main.kill()
        for _ in range(20):
            assert main.page() == b"page"
        main.start(f'log_target = "file://log"\nworker_count = {left}')
        wait_until(lambda: (main.folder / "log").read_text().count("INFO-ACCESS") == 20)


def test_sessions_go_on_from_one_main_to_the_next(tmp_path: Path) -> None:
    slow = SlowAnswer()
    with serving(slow) as backend, lives(tmp_path, backend) as main:
        main.start()
        with connect(main.port) as client:
            client.sendall(get("/"))
            assert slow.asked.wait(PATIENCE)
            main.kill()
            proxy = main.start()
            assert sum(each["sessions"] for each in workers(proxy)) == 1
            slow.answer.set()
            assert receive_until(client, b"slow")
        assert proxy.stop() == 0


def test_those_whom_nobody_adopts_finish_what_they_have_and_end(tmp_path: Path) -> None:
    slow = SlowAnswer()
    with serving(slow) as backend, lives(tmp_path, backend, before="orphan_timeout = 0.5") as main:
        orphans = pids(main.start())
        with connect(main.port) as client:
            client.sendall(get("/"))
            assert slow.asked.wait(PATIENCE)
            main.kill()
            wait_until(lambda: sum(map(is_there, orphans)) == 1)
            with pytest.raises(ConnectionRefusedError):
                connect(main.port)
            slow.answer.set()
            assert receive_all(client).endswith(b"slow")
        wait_until(lambda: not any(map(is_there, orphans)))
        proxy = main.start()
        assert not set(pids(proxy)) & set(orphans)
        assert len(doors(main.folder)) == 2


def test_an_adopted_one_that_is_killed_is_replaced(tmp_path: Path, page: Nginx) -> None:
    with lives(tmp_path, page.port) as main:
        main.start()
        main.kill()
        proxy = main.start()
        for victim in workers(proxy):
            os.kill(victim["pid"], signal.SIGKILL)
            assert main.page() == b"page"
            await_successor(proxy, victim)
        assert len(doors(main.folder)) == 2


def test_one_that_is_stuck_is_not_adopted(tmp_path: Path, page: Nginx) -> None:
    with lives(tmp_path, page.port, before="worker_timeout = 3") as main:
        victim = workers(main.start())[0]
        main.kill()
        os.kill(victim["pid"], signal.SIGSTOP)
        proxy = main.start()
        assert serves(proxy, victim)
        assert f"(pid {victim['pid']}) does not answer within 3 s: it is killed" in proxy.output()
        assert main.page() == b"page"
        assert len(doors(main.folder)) == 2


def test_one_that_died_in_between_is_replaced(tmp_path: Path, page: Nginx) -> None:
    with lives(tmp_path, page.port) as main:
        victim, other = workers(main.start())
        main.kill()
        os.kill(victim["pid"], signal.SIGKILL)
        proxy = main.start()
        assert serves(proxy, victim)
        assert pids(proxy)[1] == other["pid"]
        assert main.page() == b"page"


def test_a_start_that_fails_leaves_them_alone(tmp_path: Path, page: Nginx) -> None:
    with lives(tmp_path, page.port) as main:
        proxy = main.start()
        before = pids(proxy)
        main.kill()
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            more = f'[[listeners]]\nprotocol = "tcp"\naddress = "{address}"\n'
            proxy.file.write_text(proxy.file.read_text() + more)
            refused = start_in_vain(proxy)
        assert f"cannot listen on {address}" in refused
        assert main.page() == b"page"
        assert pids(main.start()) == before


def start_in_vain(proxy: Proxy, file: Path | None = None) -> str:
    """What a start says that fails."""
    command = [*SERVE, "-c", str(file or proxy.file)]
    run = subprocess.run(command, cwd=proxy.folder, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert run.returncode == 1
    return run.stderr


def test_settings_and_workers_that_the_file_says_otherwise(tmp_path: Path, page: Nginx) -> None:
    with lives(tmp_path, page.port, before="worker_count = 3\norphan_timeout = 100") as main:
        first, *others = pids(main.start())
        main.kill()
        proxy = main.start("worker_count = 1\norphan_timeout = 50")
        assert pids(proxy) == [first]
        assert "worker 0 goes on with the settings it began with: orphan_timeout" in proxy.output()
        wait_until(lambda: not any(map(is_there, others)))
        wait_until(lambda: len(doors(main.folder)) == 1)
        for _ in range(10):
            assert main.page() == b"page"


def test_what_changed_over_the_socket_is_kept_without_a_saved_state(tmp_path: Path, page: Nginx) -> None:
    """As long as somebody serves by it; a start of everything begins with the file."""
    with lives(tmp_path, 1) as main:
        proxy = main.start()
        ctl_json(proxy, "backend", "add", "--id", "web", "--backend-id", "new", "--address", f"127.0.0.1:{page.port}")
        main.kill()
        proxy = main.start()
        assert main.page() == b"page"
        assert [each["backend_id"] for each in ctl_json(proxy, "backend", "list")["backends"]][-1] == "new"
        assert proxy.stop() == 0
        proxy = main.start()
        assert ctl_json(proxy, "status")["main"]["generation"] == 1
        assert len(ctl_json(proxy, "backend", "list")["backends"]) == 1


def broken(load: Load) -> int:
    """How many connections were cut. Fails the test for anything else that went wrong."""
    if not load.errors:
        return 0
    (error,) = load.errors
    found = re.fullmatch(r"Socket errors: connect 0, read (\d+), write (\d+), timeout 0", error)
    assert found is not None, error
    return int(found[1]) + int(found[2])


def test_death_of_a_worker_while_main_comes_back(tmp_path: Path, page: Nginx) -> None:
    """One is missing and takes a while to start; another one dies meanwhile. The third serves on all the time."""
    with lives(tmp_path, page.port, before="worker_count = 3") as main:
        first, second, third = workers(main.start())
        main.kill()
        os.kill(first["pid"], signal.SIGKILL)
        with main.starting() as process:
            wait_until(lambda: f"worker 1 (pid {second['pid']}) is adopted" in process.output())
            os.kill(second["pid"], signal.SIGKILL)
            wait_until(lambda: "sozu_trio ready" in process.output(), 20)
            for _ in range(30):
                assert main.page() == b"page"
            assert f"worker 2 (pid {third['pid']}) is adopted" in process.output()
            process.end()


def test_another_proxy_does_not_take_them(tmp_path: Path, page: Nginx) -> None:
    """It has another control socket, but by mistake the same directory."""
    with lives(tmp_path, page.port, before='runtime_directory = "run"') as main:
        proxy = main.start()
        before = pids(proxy)
        file = proxy.folder / "other.toml"
        file.write_text(f'command_socket = "other.sock"\n{proxy.file.read_text()}')
        refused = start_in_vain(proxy, file)
        assert f"another sozu_trio (pid {proxy.pid}) has its workers in {proxy.folder}/run" in refused
        assert pids(proxy) == before
        assert main.page() == b"page"


@pytest.mark.drill
def test_killed_again_and_again_under_load(tmp_path: Path, page: Nginx, *, full_drill: bool) -> None:
    """Main or a worker, at random. What fails is what was in flight on a worker that was killed."""
    kills = 20 if full_drill else 4
    with lives(tmp_path, page.port, before="worker_timeout = 5") as main:
        proxy = main.start()
        seconds = kills * 2 + 2
        loading = start_wrk(f"http://127.0.0.1:{main.port}/page", connections=CONNECTIONS, seconds=seconds)
        mains = 0
        for number in range(kills):
            ctl_json(proxy, "cluster", "add", "--id", f"c{number}")
            if random.random() < 0.5:
                mains += 1
                main.kill()
                proxy = main.start()
            else:
                victim = random.choice(workers(proxy))
                os.kill(victim["pid"], signal.SIGKILL)
                await_successor(proxy, victim)
        load = read_wrk(loading, seconds)
        assert broken(load) <= CONNECTIONS * (kills - mains)
        clusters = [each["cluster_id"] for each in ctl_json(proxy, "cluster", "list")["clusters"]]
        assert clusters == ["web", *(f"c{number}" for number in range(kills))]
        assert {each["generation"] for each in workers(proxy)} == {kills + 1}
        assert len(doors(main.folder)) == 2
        left = set(pids(proxy))
        assert ctl(proxy, "shutdown").code == 0
        assert proxy.wait() == 0
        wait_until(lambda: not any(map(is_there, left)))
        print(f"{mains} kills of main and {kills - mains} of workers under {load.requests} requests; {load.errors}")
