"""Where a drill takes place: a real proxy before real backends, started for it; or a proxy that runs already."""

import contextlib
import os
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.peers import HOST, SMALL, backend_serving
from benchmarks.ports import free_port
from benchmarks.processes import POLL, Process, ProcessTrouble, says
from benchmarks.upgrade_drill import echo
from benchmarks.upgrade_drill.keep_alive import Asked

STOP = 40
"""Seconds the proxy may take to end once nobody is connected."""
LAST = 5
"""Seconds its workers may live longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A proxy that serves, and what its clients may do there."""

    socket: Path
    """Its control socket."""
    target: Sequence[str]
    """The words that tell ctl which proxy."""
    pages: tuple[Asked, ...]
    echo: Asked | None = None
    stream: tuple[str, int] | None = None
    folder: Path | None = None
    """For files of the drill; None where the proxy is not ours."""


@contextlib.contextmanager
def own_stage(workers: int) -> Iterator[Stage]:
    """Started, and ended softly with the body. Raises ProcessTrouble, also where it died or ends with an error."""
    with tempfile.TemporaryDirectory(prefix="sozu_trio-drill-") as home, backend_serving(Path(home), b"") as nginx:
        http, tcp = free_port(), free_port()
        folder = Path(home, "proxy")
        folder.mkdir()
        with echoing(Path(home)) as ports:
            file = folder / "config.toml"
            file.write_text(configuration(folder, workers, (http, tcp), (nginx, *ports)))
            command = [sys.executable, "-m", "sozu_trio", "serve", "-c", str(file)]
            with Process(command, folder, name="sozu_trio") as process:
                process.wait_until(says("sozu_trio ready"))
                yield Stage(
                    socket=folder / "sozu.sock",
                    target=("--socket", str(folder / "sozu.sock")),
                    pages=(Asked(host="127.0.0.1", port=http, authority=HOST, body=SMALL),),
                    echo=Asked(host="127.0.0.1", port=http, authority=HOST, target="/echo", status=101),
                    stream=("127.0.0.1", tcp),
                    folder=Path(home),
                )
                if process.exit_code is not None:
                    raise process.trouble(f"died with exit code {process.exit_code}")
                if code := process.end(seconds=STOP):
                    raise process.trouble(f"ended with exit code {code}")
                end_what_is_left(folder)


def end_what_is_left(folder: Path) -> None:
    """Raises ProcessTrouble where main has left processes behind, which run in its folder. They are killed."""
    deadline = time.monotonic() + LAST
    while (left := running_in(folder)) and time.monotonic() < deadline:
        time.sleep(POLL)
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if left:
        raise ProcessTrouble(f"processes outlived main, which had been stopped: {', '.join(map(str, left))}")


def running_in(folder: Path) -> list[int]:
    """The processes whose current directory is `folder`."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if entry.joinpath("cwd").readlink() == folder:
                found.append(int(entry.name))
    return found


@contextlib.contextmanager
def echoing(folder: Path) -> Iterator[tuple[int, int]]:
    """The ports of the backend of WebSockets and of that of TCP sessions while the body runs. Raises ProcessTrouble."""
    ports = free_port(), free_port()
    with Process([sys.executable, "-m", echo.__name__, *map(str, ports)], folder, name="echo") as process:
        process.wait_until(says(echo.READY))
        yield ports


def configuration(folder: Path, workers: int, listening: tuple[int, int], backends: tuple[int, int, int]) -> str:
    """A TOML file: `listening` are the ports for HTTP and TCP, `backends` those of nginx, WebSockets and TCP."""
    http, tcp = (f"127.0.0.1:{port}" for port in listening)
    nginx, messages, streams = (f'[{{ address = "127.0.0.1:{port}" }}]' for port in backends)
    return f"""
command_socket = "{folder}/sozu.sock"
worker_count = {workers}
log_target = "stderr"
access_logs_target = "file://{folder}/access.log"
saved_state = "{folder}/state.json"
automatic_state_save = true

[[listeners]]
protocol = "http"
address = "{http}"

[[listeners]]
protocol = "tcp"
address = "{tcp}"

[clusters.pages]
protocol = "http"
frontends = [{{ address = "{http}", hostname = "{HOST}" }}]
backends = {nginx}

[clusters.messages]
protocol = "http"
frontends = [{{ address = "{http}", hostname = "{HOST}", path = "/echo" }}]
backends = {messages}

[clusters.streams]
protocol = "tcp"
frontends = [{{ address = "{tcp}" }}]
backends = {streams}
"""
