"""Real processes: those that serve, those that end too early or not at all, and what they and their children cost."""

import signal
import socket
import sys
from pathlib import Path

import pytest

from benchmarks.ports import free_port
from benchmarks.processes import Process, ProcessTrouble, listens_on, rests, says


def python(code: str, folder: Path) -> Process:
    return Process([sys.executable, "-c", code], folder)


def test_ends_as_it_chooses(tmp_path: Path) -> None:
    code = "import signal; print('ready', flush=True); signal.sigwait({signal.SIGTERM}); raise SystemExit(7)"
    blocked = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})\n"
    with python(blocked + code, tmp_path) as process:
        process.wait_until(says("ready"))
        assert process.exit_code is None
        assert process.end() == 7
        assert process.output() == "ready\n"


def test_serves_a_port(tmp_path: Path) -> None:
    port = free_port()
    code = f"import socket, time\nwith socket.create_server(('127.0.0.1', {port})): time.sleep(60)"
    with python(code, tmp_path) as process:
        process.wait_until(listens_on(port))
    assert not listens_on(port)(process)


def test_ended_before_it_served(tmp_path: Path) -> None:
    with (
        python("raise SystemExit('no luck')", tmp_path) as process,
        pytest.raises(ProcessTrouble, match=r"ended with exit code 1 before it served\n    no luck"),
    ):
        process.wait_until(says("ready"))


def test_never_serves(tmp_path: Path) -> None:
    with (
        python("import time; time.sleep(60)", tmp_path) as process,
        pytest.raises(ProcessTrouble, match=r"did not serve within 0\.1 s"),
    ):
        process.wait_until(says("ready"), 0.1)


def test_does_not_end(tmp_path: Path) -> None:
    ignore = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    with python(f"{ignore}; print('ready', flush=True); time.sleep(60)", tmp_path) as process:
        process.wait_until(says("ready"))
        with pytest.raises(ProcessTrouble, match=r"did not end within 0\.1 s of SIGTERM"):
            process.end(seconds=0.1)
    assert process.exit_code == -signal.SIGKILL


def test_children_count(tmp_path: Path) -> None:
    code = """
import subprocess, sys, time
spin = "import time\\nwhile time.process_time() < 0.3: pass\\n"
subprocess.run([sys.executable, "-c", spin], check=True)
child = subprocess.Popen([sys.executable, "-c", spin + "print('ready', flush=True); time.sleep(60)"])
time.sleep(60)
"""
    with python(code, tmp_path) as process:
        process.wait_until(says("ready"))
        assert process.cpu_seconds() > 0.55  # an ended child and a living one
        assert process.rss() > 2 * 4 * 2**20


def test_rests_when_it_has_nothing_more_to_do(tmp_path: Path) -> None:
    code = """
import threading, time
def spin():
    while time.thread_time() < 0.4: pass
threading.Thread(target=spin).start()
time.sleep(60)
"""
    with python(code, tmp_path) as process:
        process.wait_until(rests(), what="come to rest")
        assert process.cpu_seconds() > 0.35


def test_never_rests(tmp_path: Path) -> None:
    with (
        python("while True: pass", tmp_path) as process,
        pytest.raises(ProcessTrouble, match=r"did not come to rest within 1 s"),
    ):
        process.wait_until(rests(), 1, what="come to rest")


def test_port_is_free() -> None:
    with socket.create_server(("127.0.0.1", free_port())):
        pass
