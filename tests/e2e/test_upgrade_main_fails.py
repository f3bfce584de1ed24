"""Code that cannot take over from main, or fails once it has begun: what was there goes on, and who asked hears why."""

import contextlib
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.ports import free_port
from tests.e2e.configurations import http_proxy
from tests.e2e.control import Control, Refused, ctl, ctl_json, socket_of
from tests.e2e.parts import Nginx, StartProxy, wait_until
from tests.e2e.upgrading import Copy, fetch, fetching, links, pids, upgrade, who_serves

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
