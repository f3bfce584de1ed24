"""Main replaces itself while it serves: nobody connected notices, whatever the new code is like."""

import contextlib
import os
import re
import shutil
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import sozu_trio
from benchmarks.processes import family, free_port
from tests.e2e.clients import connect, curl, get, receive_until
from tests.e2e.configurations import http_proxy
from tests.e2e.control import Control, Refused, ctl, ctl_json, line_of, running, socket_of
from tests.e2e.managers import Manager
from tests.e2e.parts import Nginx, Proxy, StartProxy, wait_until
from tests.e2e.servers import SlowAnswer, serving
from tests.e2e.test_adoption import doors
from tests.e2e.test_workers import serves, workers

PACKAGE = Path(sozu_trio.__file__).parent


class Copy:
    """The package in a folder of its own, to be served from there and then changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(PACKAGE, folder / "sozu_trio", ignore=shutil.ignore_patterns("__pycache__"))

    @property
    def environment(self) -> dict[str, str]:
        """Byte code is written, for it is what most have; here it may be switched off."""
        return {"PYTHONPATH": str(self.folder), "PYTHONDONTWRITEBYTECODE": ""}

    def append(self, module: str, code: str) -> None:
        """Add `code` at the end of a module; `first` there: whether it has taken the place of another image."""
        file = self.folder / "sozu_trio" / module
        file.write_text(f"{file.read_text()}\nimport sys\nfirst = '_sozu_trio_guard' in sys.modules\n{code}\n")

    def replace(self, module: str, old: str, new: str) -> None:
        file = self.folder / "sozu_trio" / module
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path / "code")


@pytest.fixture
def page(nginx: Nginx) -> Nginx:
    nginx.files.joinpath("page").write_text("page")
    return nginx


def fetch(proxy: Proxy) -> bytes:
    return curl(f"http://127.0.0.1:{proxy.port}/page").body


def upgrade(proxy: Proxy, *words: str) -> Any:
    return ctl_json(proxy, "upgrade", *words)


def who_serves(proxy: Proxy) -> list[tuple[int, int, str, int]]:
    return [(each["id"], each["pid"], each["state"], each["generation"]) for each in workers(proxy)]


def states(proxy: Proxy) -> list[tuple[int, str, int]]:
    """Each worker without its process."""
    return [(worker_id, state, generation) for worker_id, _, state, generation in who_serves(proxy)]


def pids(proxy: Proxy) -> set[int]:
    return {pid for _, pid, _, _ in who_serves(proxy)}


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
    descriptors, processes = own_descriptors(proxy), len(family(proxy.pid))
    with fetching(proxy) as fetched:
        away = [before["away_ms"], *(upgrade(proxy)["away_ms"] for _ in range(10 if full_drill else 3))]
    assert set(fetched) == {b"page"}
    assert states(proxy) == serving_before
    wait_until(lambda: len(family(proxy.pid)) == processes)
    assert len(doors(proxy.folder)) == 2
    wait_until(lambda: own_descriptors(proxy) == descriptors)
    print(f"away for {away} ms under {len(fetched)} requests")


def own_descriptors(proxy: Proxy) -> tuple[int, list[int]]:
    """How many main and each worker have open, apart from connections of clients and to backends, which come and go."""
    connections = {line.split()[9] for line in Path("/proc/net/tcp").read_text().splitlines()[1:]}
    count = {pid: sum(re.sub(r"\D", "", link) not in connections for link in links(pid)) for pid in family(proxy.pid)}
    return count.pop(proxy.pid), sorted(count.values())


@contextlib.contextmanager
def fetching(proxy: Proxy) -> Iterator[list[bytes]]:
    """New connections and kept ones all the while; what each request got. Anything that fails is in it, too."""
    fetched: list[bytes] = []
    enough = threading.Event()

    def fetch_on(keeping: bool) -> None:
        client = connect(proxy.port)
        while not enough.is_set():
            try:
                client.sendall(get("/page"))
                fetched.append(receive_until(client, b"page")[-4:])
                if not keeping:
                    client.close()
                    client = connect(proxy.port)
            except OSError as error:
                fetched.append(repr(error).encode())
                return
            enough.wait(0.002)
        client.close()

    threads = [threading.Thread(target=fetch_on, args=(keeping,)) for keeping in (True, True, False)]
    for thread in threads:
        thread.start()
    try:
        yield fetched
    finally:
        enough.set()
        for thread in threads:
            thread.join()
    assert fetched


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


def links(pid: int) -> list[str]:
    """What the descriptors of a process lead to."""
    found = []
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found.append(os.readlink(link))
    return found


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


PYTHON = "#!/bin/sh\n"


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (None, "where there is nothing that can be run; want an interpreter"),
        (f"{PYTHON}exit 7", "it ended with exit code 7"),
        (f"{PYTHON}echo nonsense; exit 0", "it ended without saying that it is ready\n  nonsense"),
        (f"{PYTHON}kill -9 $$", "it was ended by signal 9"),
        ("no script at all", "cannot run"),
        (f"{PYTHON}exec {sys.executable} -S -c 'import trio'", "ModuleNotFoundError: No module named 'trio'"),
    ],
    ids=["nowhere", "fails", "says nothing", "killed", "no program", "no packages"],
)
def test_what_cannot_take_over_changes_nothing(
    make: str | None, said: str, page: Nginx, start_proxy: StartProxy, tmp_path: Path
) -> None:
    proxy = start_proxy(http_proxy(free_port(), page.port))
    before = who_serves(proxy)
    python = tmp_path / "python"
    if make is not None:
        python.write_text(make)
        python.chmod(0o755)
    refused = ctl(proxy, "upgrade", "--python", str(python))
    assert refused.code == 1
    assert said in refused.err
    assert who_serves(proxy) == before
    assert "main executes" not in proxy.output()


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (lambda text: "mistake = 1", "mistake: unknown key"),
        (lambda text: f'command_socket = "other.sock"\n{text}', "command_socket: found"),
        (lambda text: f'pid_file_path = "pid"\n{text}', "pid_file_path: found"),
    ],
    ids=["broken", "another socket", "another pid file"],
)
def test_a_file_that_cannot_be_gone_on_with_changes_nothing(
    changed: Callable[[str], str], said: str, page: Nginx, start_proxy: StartProxy
) -> None:
    proxy = start_proxy(http_proxy(free_port(), page.port))
    proxy.file.write_text(changed(proxy.file.read_text()))
    with contextlib.closing(Control(socket_of(proxy))) as control, pytest.raises(Refused, match=said):
        control.ask("upgrade")
    assert fetch(proxy) == b"page"


@pytest.mark.parametrize(
    ("module", "code", "said"),
    [
        ("app.py", "if first: import nothing_of_that_name", "No module named 'nothing_of_that_name'"),
        ("cli/__init__.py", "if first: sys.exit(3)", "it ended with exit code 3"),
        (
            "nursery/adoption.py",
            "async def find_orphans(*_: object) -> None: raise ValueError('no way')",
            "ValueError: no way",
        ),
        ("cli/serve.py", "import time\nif first: time.sleep(60)", "it was not ready within 6 s"),
        (
            "nursery/adoption.py",
            "def _take(*_: object) -> None: raise ChannelError('nonsense')",
            "OperatorError: runtime_directory: the worker at",
        ),
    ],
    ids=["import error", "exit", "exception while adopting", "hang", "misreads its workers"],
)
def test_new_code_that_fails_is_replaced_by_the_old(
    module: str, code: str, said: str, page: Nginx, start_proxy: StartProxy, copy: Copy
) -> None:
    copy.replace("main/handoff.py", "LIMIT: Final = 30.0", "LIMIT: Final = 6.0")
    proxy = start_proxy(http_proxy(free_port(), page.port), environment=copy.environment)
    ctl_json(proxy, "cluster", "add", "--id", "later")
    wait_until(lambda: "sozu_trio code" in str(links(proxy.pid)))
    before = who_serves(proxy)
    copy.replace("__init__.py", '__version__ = "0.1.0"', '__version__ = "0.2.0"')
    copy.append(module, code)
    with fetching(proxy) as fetched:
        refused = ctl(proxy, "upgrade")
    assert set(fetched) == {b"page"}
    assert refused.code == 1
    assert "version 0.2.0 did not take over" in refused.err
    assert said in refused.err
    assert who_serves(proxy) == before
    assert ctl_json(proxy, "status")["main"]["version"] == "0.1.0"
    ctl_json(proxy, "cluster", "remove", "--id", "later")
    assert f"version 0.2.0 did not take over: {said}" in proxy.output().replace("ModuleNotFoundError: ", "")
    # The old code runs on, though nothing of it is left on disk, and can be upgraded once the new is mended.
    shutil.rmtree(copy.folder)
    Copy(copy.folder).replace("__init__.py", '__version__ = "0.1.0"', '__version__ = "0.3.0"')
    assert upgrade(proxy)["version"] == "0.3.0"
    assert not pids(proxy) & {pid for _, pid, _, _ in before}


@pytest.mark.parametrize(
    ("module", "old", "new", "said"),
    [
        (
            "worker_process.py",
            "    for number in MAINS_BUSINESS:\n",
            "    sys.exit(7)\n    for number in MAINS_BUSINESS:\n",
            "the successor of worker 0 does not begin: worker 0 is gone",
        ),
        (
            "worker_process.py",
            "    for number in MAINS_BUSINESS:\n",
            "    signal.pause()\n    for number in MAINS_BUSINESS:\n",
            "the successor of worker 0 does not begin: worker 0: no answer to Begin within 5 s",
        ),
        (
            "nursery/worker.py",
            "            case Prepare():\n",
            "            case Prepare():\n                import os\n                os._exit(9)\n",
            "has died before it was ready: see the log",
        ),
    ],
    ids=["does not start", "hangs", "dies before it is ready"],
)
def test_new_workers_that_fail_leave_the_old_ones_in_place(
    module: str, old: str, new: str, said: str, page: Nginx, start_proxy: StartProxy, copy: Copy
) -> None:
    before = "worker_count = 2\nworker_timeout = 5"
    copy.replace("nursery/tenure.py", "STARTING: Final = 30.0", "STARTING: Final = 5.0")
    proxy = start_proxy(http_proxy(free_port(), page.port, before=before), environment=copy.environment)
    serving_before = who_serves(proxy)
    copy.replace("__init__.py", '__version__ = "0.1.0"', '__version__ = "0.2.0"')
    copy.replace(module, old, new)
    with fetching(proxy) as fetched:
        refused = ctl(proxy, "upgrade")
    assert set(fetched) == {b"page"}
    assert refused.code == 1
    assert "main: version 0.1.0 to 0.2.0" in refused.err
    assert "but not every worker runs it" in refused.err
    assert said in refused.err
    assert who_serves(proxy) == serving_before
    assert ctl_json(proxy, "status")["leaving"] == []
    # Mended, it goes on from there.
    copy.replace(module, new, old)
    assert [each["before"] for each in upgrade(proxy)["workers"]] == [pid for _, pid, _, _ in serving_before]
    assert fetch(proxy) == b"page"
