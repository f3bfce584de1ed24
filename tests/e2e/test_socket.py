"""The control socket as a file, who may talk over it, and what is written down about them."""

import contextlib
import json
import os
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.ports import free_port
from tests.e2e.clients import PATIENCE
from tests.e2e.configurations import http_proxy
from tests.e2e.control import Control, Refused, ctl, ctl_json, socket_of
from tests.e2e.parts import SERVE, Proxy, StartProxy, wait_until

AUDIT = 'audit_logs_target = "file://audit.log"\naudit_logs_json_target = "file://audit.json"'
SECRET = "hunter2hunter2"


@contextlib.contextmanager
def control_of(proxy: Proxy) -> Iterator[Control]:
    with contextlib.closing(Control(socket_of(proxy))) as control:
        yield control


def test_a_second_proxy_never_takes_the_socket(start_proxy: StartProxy, tmp_path: Path) -> None:
    first = start_proxy(http_proxy(free_port(), 1))
    path = socket_of(first)
    mode, inode = path.lstat().st_mode, path.lstat().st_ino
    assert stat.S_ISSOCK(mode)
    assert stat.S_IMODE(mode) == 0o600
    other = tmp_path / "other.toml"
    other.write_text(http_proxy(free_port(), 1, before=f'command_socket = "{path}"'))
    with control_of(first) as control:
        run = subprocess.run(
            [*SERVE, "-c", str(other)], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        assert (run.returncode, run.stdout) == (1, "")
        assert run.stderr == f"another sozu_trio (pid {first.pid}) serves {path}\n"
        assert control.ask("status")["main"]["pid"] == first.pid
    assert path.lstat().st_ino == inode
    assert ctl_json(first, "status")["main"]["pid"] == first.pid
    assert first.stop() == 0
    assert not path.exists()


def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    config = http_proxy(free_port(), 1)
    with contextlib.closing(Proxy(config, tmp_path / "proxy")) as killed:
        assert killed.stop(signal.SIGKILL) == -signal.SIGKILL
        assert socket_of(killed).is_socket()
        with socket.socket(socket.AF_UNIX) as probe, pytest.raises(ConnectionRefusedError):
            probe.connect(str(socket_of(killed)))
    with contextlib.closing(Proxy(config, tmp_path / "proxy")) as proxy, control_of(proxy) as control:
        assert control.hello["pid"] == proxy.pid
        assert {each.name for each in proxy.folder.glob("sozu.sock*")} == {"sozu.sock", "sozu.sock.lock", "sozu.sock.d"}


def test_read_only_users_look_and_change_nothing(start_proxy: StartProxy) -> None:
    proxy = start_proxy(http_proxy(free_port(), 1, before=f"command_read_only_uids = [{os.getuid()}]\n{AUDIT}"))
    run = ctl(proxy, "cluster", "remove", "--id", "web")
    assert (run.code, run.out) == (1, "")
    assert run.err == f"read-only: uid {os.getuid()} may only look\n"
    with control_of(proxy) as control:
        assert control.hello["role"] == "read-only"
        for verb in ("shutdown", "reload", "state save", "session kill", "apply", "rollback", "logging"):
            with pytest.raises(Refused, match="read-only"):
                control.ask(verb)
        assert [each["cluster_id"] for each in control.ask("cluster list")["clusters"]] == ["web"]
        assert control.ask("plan")["difference"] is False
        assert control.ask("status")["main"]["generation"] == 1


def test_users_not_on_the_list_get_nowhere(start_proxy: StartProxy) -> None:
    proxy = start_proxy(http_proxy(free_port(), 1, before=f"command_allowed_uids = [{os.getuid() + 1}]"))
    run = ctl(proxy, "status")
    assert (run.code, run.out) == (1, "")
    assert run.err == f"unauthorized: uid {os.getuid()} is not among command_allowed_uids\n"


def test_audit_log(start_proxy: StartProxy) -> None:
    """Who did what and what came of it; nothing in it commands a terminal, passes for a line, or is secret."""
    proxy = start_proxy(http_proxy(free_port(), 1, before=AUDIT))
    evil = 'evil\x1b[2J\n2026-01-01 AUDIT result="ok" \u202e'
    with control_of(proxy) as control:
        control.ask("cluster add", {"id": "good"})
        control.ask("cluster add", {"id": evil})
        control.ask("cluster list")
        with pytest.raises(Refused) as refused:
            control.ask("cluster update", {"id": "good", "authorized-hash": [f"admin:{SECRET}"]})
        with pytest.raises(Refused):
            control.ask("backend remove", {"id": "good", "backend-id": evil})
    text, documents = proxy.folder / "audit.log", proxy.folder / "audit.json"
    wait_until(lambda: len(documents.read_text().splitlines()) == len(text.read_text().splitlines()) == 4)
    lines = text.read_text().splitlines()
    assert all(line.isprintable() for line in text.read_text().replace("\t", " ").split("\n"))
    who = f'uid={os.getuid()} pid={os.getpid()} process="'
    assert all(who in line for line in lines)
    assert 'verb="cluster add" what="cluster add id=good"' in lines[0]
    deeds = [json.loads(line) for line in documents.read_text().splitlines()]
    assert [(deed["verb"], deed["result"], deed["generation"]) for deed in deeds] == [
        ("cluster add", "ok", 2),
        ("cluster add", "ok", 3),
        ("cluster update", "refused", 3),
        ("backend remove", "refused", 3),
    ]
    assert {(deed["actor"]["uid"], deed["actor"]["pid"]) for deed in deeds} == {(os.getuid(), os.getpid())}
    everything = [*map(str, refused.value.args), proxy.output(), text.read_text(), documents.read_text()]
    assert [part for part in everything if SECRET in part] == []
    history = ctl(proxy, "history")
    assert all(line.isprintable() for line in history.out.split("\n"))
