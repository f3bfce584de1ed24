"""Real programs for end-to-end tests: the proxy as its users start it, nginx and Redis behind it.

Fixtures in conftest.py hand these out. All is synchronous: what is tested lives in another process.
"""

import contextlib
import functools
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

import pytest

from benchmarks.ports import free_port
from benchmarks.processes import POLL, Process, family, listens_on, says

READY = 20
"""Seconds a program may take to serve."""
SOFT_STOP = 15
"""Seconds the proxy may take to end once nobody keeps it busy."""


def require(program: str) -> str:
    """Where `program` is. Skips the test where it is not installed; in CI, which installs all of them, fails it."""
    path = shutil.which(program, path=os.environ.get("PATH", os.defpath) + ":/usr/sbin")
    if path is not None:
        return path
    if os.environ.get("CI") == "true":
        pytest.fail(f"{program} is not installed, and in CI nothing is skipped")
    pytest.skip(f"{program} is not installed")


SERVE = (sys.executable, "-m", "sozu_trio", "serve")


class Proxy:
    """`python -m sozu_trio serve -c FILE`, serving. `config` is the text of FILE.

    `environment` is added to ours; `prefix` is a command that runs it, and gets our `descriptors`; `arguments` go
    behind. What `folder` holds from an earlier one stays. Raises ProcessTrouble when it does not start.
    """

    def __init__(
        self,
        config: str,
        folder: Path,
        *,
        environment: Mapping[str, str] | None = None,
        prefix: Sequence[str] = (),
        arguments: Sequence[str] = (),
        descriptors: Sequence[int] = (),
        serve: Sequence[str] = SERVE,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "config.toml"
        file.write_text(sandboxed(config))
        self.file = file
        self.folder = folder
        self.ports = listening_ports(config)
        command = [*prefix, *serve, "-c", str(file), *arguments]
        self.process = Process(
            command,
            folder,
            name="sozu_trio",
            environment=environment_with(environment or {}),
            descriptors=descriptors,
        )
        self._stopped = False
        try:
            self.process.wait_until(says("sozu_trio ready"), READY)
        except BaseException:
            self.process.kill()
            raise

    @property
    def port(self) -> int:
        """Of the first listener."""
        return self.ports[0]

    @property
    def pid(self) -> int:
        return self.process.pid

    def rss(self) -> int:
        """Bytes resident now, children included."""
        return self.process.rss()

    def descriptors(self) -> int:
        """How many are open now, children included."""
        return sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in family(self.pid))

    @contextlib.contextmanager
    def memory(self) -> Iterator[Callable[[], int]]:
        """While the body runs, the value says how many bytes the resident memory has grown at its peak."""
        for pid in family(self.pid):
            Path(f"/proc/{pid}/clear_refs").write_text("5")  # proc(5): the peak is what is resident now
        before = self.rss()
        yield lambda: sum(map(peak_rss, family(self.pid))) - before

    def send_signal(self, sent: signal.Signals) -> None:
        os.kill(self.pid, sent)

    def output(self) -> str:
        """Standard output so far."""
        return self.process.output()

    def errors(self) -> str:
        """Standard error so far."""
        return self.process.errors()

    def stop(self, sent: signal.Signals = signal.SIGTERM, seconds: float = SOFT_STOP) -> int:
        """Send `sent` and wait for the exit code; a test that ends the proxy itself judges the code itself."""
        self._stopped = True
        return self.process.end(sent, seconds)

    def wait(self, seconds: float = SOFT_STOP) -> int:
        """Wait for the exit code, after a signal sent with `send_signal`."""
        self._stopped = True
        return self.process.wait(seconds)

    def close(self) -> None:
        """Stop softly, unless the test did. Raises ProcessTrouble unless it ran until now and then ended with 0."""
        try:
            if self._stopped:
                return
            if self.process.exit_code is not None:
                raise self.process.trouble(f"died during the test with exit code {self.process.exit_code}")
            if code := self.stop():
                raise self.process.trouble(f"ended with exit code {code}")
        finally:
            self.process.kill()


def sandboxed(config: str) -> str:
    """`config`, with every layer required of workers where this kernel has them, unless SOZU_TRIO_SANDBOX says another
    mode. A system call that is not allowed kills, for an error might go unnoticed.
    """
    if "sandbox =" in config:
        return config
    mode = os.environ.get("SOZU_TRIO_SANDBOX") or ("require" if has_all_layers() else "auto")
    return f'sandbox = "{mode}"\nsandbox_violation = "kill"\n{config}'


@functools.cache
def has_all_layers() -> bool:
    """Whether a process can be sealed here with all there is."""
    script = "from sozu_trio.nursery.sealing import *; raise SystemExit(len(seal(Sandbox(mode='require')).refusal))"
    return subprocess.run([sys.executable, "-c", script], check=False, timeout=60).returncode == 0


class StartProxy(Protocol):
    """The fixture `start_proxy`: a Proxy until the test is over."""

    def __call__(
        self, config: str, *, environment: Mapping[str, str] | None = None, prefix: Sequence[str] = ()
    ) -> Proxy: ...


def environment_with(more: Mapping[str, str]) -> dict[str, str]:
    """Ours without what would change how the proxy logs, and `more`."""
    return {name: value for name, value in os.environ.items() if name != "SOZU_LOG"} | dict(more)


def peak_rss(pid: int) -> int:
    """Bytes resident at most so far."""
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


def wait_until(happened: Callable[[], object], seconds: float = 20) -> None:
    """Look until it has happened. Raises AssertionError after `seconds`."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, f"it did not happen within {seconds} s"
        time.sleep(POLL)


def listening_ports(config: str) -> tuple[int, ...]:
    """The ports of listeners, then those only frontends name, in the order of the file."""
    parsed = tomllib.loads(config)
    frontends = [
        frontend for cluster in parsed.get("clusters", {}).values() for frontend in cluster.get("frontends", ())
    ]
    addresses = [entry["address"] for entry in [*parsed.get("listeners", ()), *frontends]]
    return tuple(dict.fromkeys(int(address.rpartition(":")[2]) for address in addresses))


class Nginx:
    """A real nginx on 127.0.0.1:`port`. It serves `files` at /; `server` is put into its server block."""

    def __init__(self, folder: Path, server: str = "") -> None:
        program = require("nginx")
        self.port = free_port()
        self.files = folder / "files"
        self.files.mkdir(parents=True)
        file = folder / "nginx.conf"
        file.write_text(nginx_configuration(self.port, server))
        self.process = Process([program, "-p", str(folder), "-c", str(file)], folder, name="nginx")
        serve_or_kill(self.process, self.port)

    def close(self) -> None:
        end(self.process)


class Redis:
    """A real Redis on 127.0.0.1:`port`, with nothing on disk."""

    def __init__(self, folder: Path) -> None:
        program = require("redis-server")
        folder.mkdir(parents=True)
        self.port = free_port()
        command = [program, "--bind", "127.0.0.1", "--port", str(self.port), "--save", "", "--appendonly", "no"]
        self.process = Process(command, folder, name="redis")
        serve_or_kill(self.process, self.port)

    def close(self) -> None:
        end(self.process)


def serve_or_kill(process: Process, port: int) -> None:
    try:
        process.wait_until(listens_on(port), READY)
    except BaseException:
        process.kill()
        raise


def end(process: Process) -> None:
    try:
        process.end()
    finally:
        process.kill()


def nginx_configuration(port: int, server: str) -> str:
    """As root it stays root: as nobody it could not enter pytest's folders. PUT stores a file, for upload tests."""
    user = "user root;" if os.geteuid() == 0 else ""
    return f"""
{user}
worker_processes 1;
daemon off;
pid nginx.pid;
error_log stderr;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path temporary;
  proxy_temp_path temporary;
  fastcgi_temp_path temporary;
  uwsgi_temp_path temporary;
  scgi_temp_path temporary;
  client_max_body_size 0;
  default_type application/octet-stream;
  server {{
    listen 127.0.0.1:{port};
    root files;
    dav_methods PUT;
    {server}
  }}
}}
"""
