"""Arbitrary Python runs inside a sealed worker: nothing it tries succeeds, and the worker goes on serving."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.ports import free_port
from tests.e2e.attacks import TARGETS
from tests.e2e.clients import curl
from tests.e2e.control import ctl, ctl_json
from tests.e2e.hostile_worker import VIOLATIONS
from tests.e2e.parts import SERVE, Nginx, Proxy, wait_until
from tests.e2e.secure import Authority, connect_tls
from tests.e2e.servers import serving
from tests.e2e.test_hostile_messages import all_is_well, hostile
from tests.e2e.test_workers import workers
from tests.e2e.websocket import open_websocket, serve_echo

ROOT = Path(__file__).parents[2]
ATTACKED = (sys.executable, "-m", "tests.e2e.attacked_main", "serve")
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can have workers run as somebody else")
ALL = ["no capabilities", "no_new_privs", "landlock", "seccomp"]


class Site:
    """A proxy whose workers attack, and what is behind it."""

    def __init__(self, folder: Path, nginx: Nginx, echo: int, before: str) -> None:
        folder.mkdir()
        self.nginx = nginx
        self.authority = Authority(folder / "authority")
        self.file = folder / "file"
        self.file.write_text("nobody else's")
        self.victim = subprocess.Popen(["sleep", "600"])
        self.datagrams = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.datagrams.bind(str(folder / "notify"))
        self.datagrams.setblocking(False)
        self.tls, self.http, self.tcp = free_port(), free_port(), free_port()
        targets = {
            "file": str(self.file),
            "directory": str(folder),
            "victim": self.victim.pid,
            "control": str(folder / "proxy" / "sozu.sock"),
            "datagrams": str(folder / "notify"),
        }
        try:
            environment = {TARGETS: json.dumps(targets), "PYTHONPATH": str(ROOT)}
            config = self._config(echo, before)
            self.proxy = Proxy(config, folder / "proxy", environment=environment, serve=ATTACKED)
        except BaseException:
            self._end()
            raise

    def _config(self, echo: int, before: str) -> str:
        certificate = self.authority.write("default", "localhost").lines
        return f"""
worker_count = 1
sandbox = "require"
{before}
[[listeners]]
protocol = "http"
address = "127.0.0.1:{self.http}"
[[listeners]]
protocol = "https"
address = "127.0.0.1:{self.tls}"
{certificate}
[[listeners]]
protocol = "tcp"
address = "127.0.0.1:{self.tcp}"
[clusters.web]
protocol = "http"
frontends = [
  {{ address = "127.0.0.1:{self.http}", hostname = "*" }}, {{ address = "127.0.0.1:{self.tls}", hostname = "*" }},
]
backends = [{{ address = "127.0.0.1:{self.nginx.port}" }}]
[clusters.echo]
protocol = "http"
frontends = [{{ address = "127.0.0.1:{self.http}", hostname = "*", path = "/echo" }}]
backends = [{{ address = "127.0.0.1:{echo}" }}]
[clusters.nobody]
protocol = "http"
frontends = [{{ address = "127.0.0.1:{self.http}", hostname = "*", path = "/nobody" }}]
backends = [{{ address = "127.0.0.1:{free_port()}" }}]
[clusters.relay]
protocol = "tcp"
frontends = [{{ address = "127.0.0.1:{self.tcp}" }}]
backends = [{{ address = "127.0.0.1:{self.nginx.port}" }}]
"""

    def outcomes(self) -> dict[str, dict[str, str]]:
        """What the worker has told, by kind and name."""
        found: dict[str, dict[str, str]] = {}
        for line in re.findall(r"\toutcome (.*)", self.proxy.output()):
            kind, name, outcome = json.loads(line)
            found.setdefault(kind, {})[name] = outcome
        return found

    def imported(self) -> list[list[str]]:
        """What it had imported since it was sealed, at each generation."""
        return [json.loads(line) for line in re.findall(r"\tmodules (.*)", self.proxy.output())]

    def close(self) -> None:
        try:
            self.proxy.close()
        finally:
            self._end()

    def _end(self) -> None:
        self.victim.kill()
        self.victim.wait()
        self.datagrams.close()


@pytest.fixture(params=["", pytest.param('user = "nobody"\n', marks=AS_ROOT), 'sandbox_violation = "deny"\n'])
def site(request: pytest.FixtureRequest, tmp_path: Path, nginx: Nginx) -> Iterator[Site]:
    nginx.files.joinpath("page").write_text("page" * 100_000)
    with serving(serve_echo) as echo, contextlib.closing(Site(tmp_path / "site", nginx, echo, request.param)) as made:
        yield made


def serve_everybody(site: Site) -> None:
    """HTTP, TLS, an error, a WebSocket, TCP: through the one worker there is."""
    page = ("page" * 100_000).encode()
    trusting = ("--cacert", str(site.authority.file))
    assert curl(f"http://127.0.0.1:{site.http}/page").body == page
    assert curl(f"https://localhost:{site.tls}/page", *trusting).body == page
    assert curl(f"http://127.0.0.1:{site.http}/missing").status == 404
    assert curl(f"http://127.0.0.1:{site.http}/nobody").status == 503
    assert curl(f"http://127.0.0.1:{site.tcp}/page").body == page
    with open_websocket(site.http, "/echo") as client:
        client.send_message("grüß dich")
        assert client.receive() == "grüß dich"
    with socket.create_connection(("127.0.0.1", site.http)) as sock:
        sock.sendall(b"nonsense\r\n\r\n")
        assert sock.recv(1024).startswith(b"HTTP/1.1 400")


def test_no_escape_succeeds_and_it_serves_on(site: Site) -> None:
    (before,) = workers(site.proxy)
    wait_until(lambda: site.imported())
    outcomes = site.outcomes()
    assert len(outcomes["attacks"]) > 80
    assert {name: each for name, each in outcomes["attacks"].items() if not each.startswith("refused: ")} == {}
    assert {name: each for name, each in outcomes["works"].items() if not each.startswith("done: ")} == {}
    assert outcomes["left open"] == {"look at a file": f"done: {os.stat('/etc/passwd').st_size}"}
    assert site.file.read_text() == "nobody else's"
    assert site.victim.poll() is None
    with pytest.raises(BlockingIOError):
        site.datagrams.recv(1)
    serve_everybody(site)
    new = site.authority.write("new", "new.example")
    address = f"127.0.0.1:{site.tls}"
    files = ("--certificate", str(new.certificate), "--key", str(new.key))
    run = ctl(site.proxy, "certificate", "add", "--address", address, *files)
    assert run.code == 0, run.err
    connect_tls(site.tls, site.authority.context, "new.example").close()
    serve_everybody(site)
    ctl_json(site.proxy, "cluster", "add", "--id", "last")
    wait_until(lambda: len(site.imported()) >= 3)
    assert site.imported() == [[], [], []]
    (after,) = workers(site.proxy)
    assert after["pid"] == before["pid"]


def test_it_has_nothing_that_it_does_not_need(site: Site) -> None:
    (worker,) = workers(site.proxy)
    pid = worker["pid"]
    links = {int(link.name): os.readlink(link) for link in Path(f"/proc/{pid}/fd").iterdir()}
    assert links[0] == links[1] == "/dev/null"
    assert links[2] == os.readlink(f"/proc/{site.proxy.pid}/fd/2")
    assert {each.partition(":")[0] for number, each in links.items() if number > 2} <= {
        *("socket", "anon_inode", "/memfd", f"/proc/{pid}/fd", f"/proc/{pid}/statm"),
    }


def status_of(pid: int) -> dict[str, str]:
    """What the kernel says of a process."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def layers_of(worker: dict[str, Any]) -> list[str]:
    """Without versions."""
    return [re.sub(r" \d+$", "", layer) for layer in worker["sandbox"]]


@pytest.mark.parametrize("user", ["", pytest.param("nobody", marks=AS_ROOT)])
def test_status_and_log_tell_the_layers_and_the_kernel_agrees(tmp_path: Path, nginx: Nginx, user: str) -> None:
    before = f'worker_count = 2\nsandbox = "require"\n{f"user = {json.dumps(user)}" if user else ""}'
    config = f'{before}\n[[listeners]]\nprotocol = "http"\naddress = "127.0.0.1:{free_port()}"\n'
    with contextlib.closing(Proxy(config, tmp_path / "proxy")) as proxy:
        for worker in workers(proxy):
            assert layers_of(worker) == [*(["user"] if user else []), *ALL]
            status = status_of(worker["pid"])
            assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
            assert {status[name] for name in ("CapPrm", "CapEff", "CapInh", "CapAmb")} == {"0" * 16}
            if user:
                assert status["Uid"].split()[0] != "0"
                assert status["Groups"] == ""
            said = f"WRK-{worker['id']:02}\tsandbox: {', '.join(worker['sandbox'])}"
            wait_until(lambda said=said: said in proxy.output())  # type: ignore[misc]


@AS_ROOT
def test_workers_of_another_user_are_adopted_and_upgraded(tmp_path: Path, nginx: Nginx) -> None:
    config = f"""
user = "nobody"
worker_count = 1
[[listeners]]
protocol = "http"
address = "127.0.0.1:{free_port()}"
"""
    first = Proxy(config, tmp_path / "proxy")
    (before,) = workers(first)
    assert first.stop(signal.SIGKILL) == -signal.SIGKILL
    with contextlib.closing(Proxy(config, tmp_path / "proxy")) as second:
        (after,) = workers(second)
        assert (after["pid"], after["sandbox"]) == (before["pid"], before["sandbox"])
        assert "user" in after["sandbox"]
        ctl_json(second, "upgrade", "--worker", "0")
        (new,) = workers(second)
        assert new["pid"] != before["pid"]
        assert status_of(new["pid"])["Uid"].split()[0] != "0"
    first.process.kill()


RIGHTS = 1 << 5 | 1 << 6 | 1 << 7 | 1 << 10
"""CAP_KILL, CAP_SETGID, CAP_SETUID, CAP_NET_BIND_SERVICE."""


def free_low_port() -> int:
    """One below 1024 on 127.0.0.1."""
    for port in range(1023, 512, -1):
        with contextlib.suppress(OSError), socket.socket() as sock:
            sock.bind(("127.0.0.1", port))
            return port
    raise AssertionError("all ports below 1024 are taken")


@AS_ROOT
def test_main_keeps_few_rights_and_they_are_enough_after_an_upgrade_too(tmp_path: Path) -> None:
    low = f"127.0.0.1:{free_low_port()}"
    config = f"""
user = "nobody"
worker_count = 1
[[listeners]]
protocol = "http"
address = "127.0.0.1:{free_port()}"
"""
    with contextlib.closing(Proxy(config, tmp_path / "proxy")) as proxy:
        for upgrade in (False, True):
            if upgrade:
                ctl_json(proxy, "upgrade")
            status = status_of(proxy.pid)
            assert {int(status[name], 16) for name in ("CapPrm", "CapEff", "CapBnd")} == {RIGHTS}
        ctl_json(proxy, "listener", "http", "add", "--address", low)
        ctl_json(proxy, "listener", "http", "activate", "--address", low)
        assert curl(f"http://{low}/").status == 404
        (before,) = workers(proxy)
        os.kill(before["pid"], signal.SIGKILL)
        wait_until(lambda: [each["state"] for each in workers(proxy) if each["pid"] != before["pid"]] == ["running"])
        assert status_of(workers(proxy)[0]["pid"])["Uid"].split()[0] != "0"
        assert curl(f"http://{low}/").status == 404


def test_without_a_sandbox_there_is_none(tmp_path: Path) -> None:
    config = f'sandbox = "off"\n[[listeners]]\nprotocol = "http"\naddress = "127.0.0.1:{free_port()}"\n'
    with contextlib.closing(Proxy(config, tmp_path / "proxy")) as proxy:
        for worker in workers(proxy):
            assert (worker["sandbox"], worker["unsandboxed"]) == ([], [])
            assert status_of(worker["pid"])["Seccomp"] == "0"
    assert not re.search(r"WRK-\d\d\tsandbox", proxy.output())


HIDDEN = 'import sys\nsys.modules["pyseccomp"] = None\n'


@pytest.mark.parametrize("mode", ["require", "auto"])
def test_a_layer_that_is_missing_is_named(tmp_path: Path, mode: str) -> None:
    tmp_path.joinpath("sitecustomize.py").write_text(HIDDEN)
    config = tmp_path / "config.toml"
    config.write_text(f'sandbox = "{mode}"\n[[listeners]]\nprotocol = "http"\naddress = "127.0.0.1:{free_port()}"\n')
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    if mode == "require":
        command = [*SERVE, "-c", str(config)]
        run = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert run.returncode == 1
        assert 'sandbox: found "require", but layers are missing: seccomp: libseccomp cannot be loaded' in run.stderr
        return
    with contextlib.closing(Proxy(config.read_text(), tmp_path / "proxy", environment=environment)) as proxy:
        for worker in workers(proxy):
            assert layers_of(worker) == ALL[:-1]
            assert any(each.startswith("seccomp: libseccomp cannot be loaded") for each in worker["unsandboxed"])


def test_where_violations_kill_one_that_attacks_is_killed_and_replaced(tmp_path: Path, nginx: Nginx) -> None:
    (violation,) = VIOLATIONS
    with hostile(nginx, tmp_path, violation, 'sandbox = "require"\nsandbox_violation = "kill"') as proxy:
        wait_until(lambda: re.search(r"worker 1 \(pid \d+\) is replaced", proxy.output()))
        assert "SIGSYS" in proxy.output()
        wait_until(lambda: [each["state"] for each in workers(proxy)] == ["running"] * 2)
        all_is_well(proxy)


def test_where_violations_kill_one_that_does_what_it_should_is_not(tmp_path: Path, nginx: Nginx) -> None:
    nginx.files.joinpath("page").write_text("page")
    port = free_port()
    config = f"""
sandbox = "require"
sandbox_violation = "kill"
[[listeners]]
protocol = "http"
address = "127.0.0.1:{port}"
[clusters.web]
protocol = "http"
frontends = [{{ address = "127.0.0.1:{port}", hostname = "*" }}]
backends = [{{ address = "127.0.0.1:{nginx.port}" }}]
"""
    with contextlib.closing(Proxy(config, tmp_path / "proxy")) as proxy:
        before = {each["pid"] for each in workers(proxy)}
        for _ in range(10):
            assert curl(f"http://127.0.0.1:{port}/page").body == b"page"
        ctl_json(proxy, "upgrade", "--worker", "0")
        assert curl(f"http://127.0.0.1:{port}/page").body == b"page"
        after = workers(proxy)
        assert len({each["pid"] for each in after} & before) == 1
        assert all("seccomp (kill)" in each["sandbox"] for each in after)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ('user = "nobody-of-that-name"', "user: found 'nobody-of-that-name', whom this machine does not know"),
        ('group = "nogroup"', "group: found 'nogroup' without user"),
        ('sandbox = "yes"', "sandbox: found 'yes'; want 'require', 'auto' or 'off'"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, keys: str, message: str) -> None:
    tmp_path.joinpath("config.toml").write_text(keys)
    for more in ((), ("--check",)):
        command = [*SERVE, "-c", "config.toml", *more]
        run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert run.returncode == 1
        if os.geteuid() == 0 or "user" not in keys:
            assert message in run.stderr
