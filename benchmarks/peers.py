"""Who is measured: the proxy, reference relays that mark what its parts cost, what an operator would pick instead.

Each is started anew for every measurement, on a free port, with a folder of its own, in front of one nginx that knows
the answers.
"""

import contextlib
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.ports import free_port
from benchmarks.processes import Process, listens_on, says

HERE = Path(__file__).resolve().parent
HOST = "bench.example"
SMALL = b"hello world, this is a small body\n"
"""What the backend answers at `/` (configurations/backend.conf)."""
CLUSTERS = 1000
"""Clusters of one host each in the proxy's configuration: what it routes among while it is measured."""
COMMAND_SOCKET = "sozu.sock"
"""Of the proxy, in its folder."""
COPIED, PIPED = 262144, 1048576
"""Bytes per read, bytes per pipe of the bulk relays: where more brings nothing (docs/performance.md)."""
AS_OURSELVES = ("-g", "user root;") if os.geteuid() == 0 else ()
"""Else nginx started by root would read its files as nobody, who may not enter a temporary folder."""

Command = Callable[[Path, int, int], list[str]]
"""Folder, port to listen on, backend's port → the command line; writes its configuration into the folder."""
Beside = Callable[[Path, int], AbstractContextManager[object]]
"""Folder, backend's port → what goes on while it serves."""


def nothing(folder: Path, backend: int) -> AbstractContextManager[object]:
    """The Beside of nearly all of them."""
    return contextlib.nullcontext()


@dataclass(frozen=True, slots=True)
class Peer:
    """How one is started. `ready_line`: what it prints once it serves; empty: it says nothing, so we try to connect."""

    command: Command
    ready_line: str = ""
    beside: Beside = nothing

    @property
    def rests(self) -> bool:
        """Whether it has nothing to do while nobody asks it for anything."""
        return self.beside is nothing


def relay(program: str, *options: str) -> Peer:
    """One of the reference relays beside this file."""

    def command(folder: Path, port: int, backend: int) -> list[str]:
        return [sys.executable, str(HERE / f"{program}.py"), str(port), str(backend), *options]

    return Peer(command)


def nginx(configuration: str) -> Peer:
    def command(folder: Path, port: int, backend: int) -> list[str]:
        file = fill_in(configuration, folder, port, backend)
        return [installed("nginx"), "-p", str(folder), "-c", str(file), *AS_OURSELVES]

    return Peer(command)


def haproxy(configuration: str) -> Peer:
    def command(folder: Path, port: int, backend: int) -> list[str]:
        return [installed("haproxy"), "-f", str(fill_in(configuration, folder, port, backend))]

    return Peer(command)


def sozu_trio(
    hosts: tuple[str, ...],
    listener: str = 'protocol = "http"',
    sandbox: str = "auto",
    workers: int = 1,
    program: str = "",
) -> Peer:
    """The proxy with a cluster for each of `hosts`, its access log on; `listener`: lines of its listener's table.

    `program`: lines at the top of the file.
    """

    def command(folder: Path, port: int, backend: int) -> list[str]:
        file = folder / "config.toml"
        file.write_text(configuration_of_ours(folder, port, backend, hosts, listener, sandbox, workers, program))
        return [sys.executable, "-m", "sozu_trio", "serve", "-c", str(file)]

    return Peer(command, "sozu_trio ready")


def many_hosts(count: int) -> tuple[str, ...]:
    return (HOST, *(f"host-{number}.example" for number in range(1, count)))


def configuration_of_ours(
    folder: Path,
    port: int,
    backend: int,
    hosts: tuple[str, ...],
    listener: str,
    sandbox: str,
    workers: int,
    program: str,
) -> str:
    address, server = f"127.0.0.1:{port}", f"127.0.0.1:{backend}"
    head = f"""\
command_socket = "{folder}/{COMMAND_SOCKET}"
worker_count = {workers}
sandbox = "{sandbox}"
log_target = "stderr"
access_logs_target = "file://{folder}/access.log"
{program}

[[listeners]]
address = "{address}"
{listener}
"""
    clusters = (
        f"""
[clusters.cluster-{number}]
protocol = "http"
frontends = [{{ address = "{address}", hostname = "{host}" }}]
backends = [{{ address = "{server}" }}]
"""
        for number, host in enumerate(hosts)
    )
    return head + "".join(clusters)


def fill_in(configuration: str, folder: Path, port: int, backend: int) -> Path:
    """Write one of `configurations/` into `folder` with its ports filled in."""
    text = (HERE / "configurations" / configuration).read_text()
    file = folder / configuration
    file.write_text(text.replace("@PORT@", str(port)).replace("@BACKEND@", str(backend)))
    return file


def installed(program: str) -> str:
    """Its path. Raises SystemExit where it is missing; Debian has servers outside a user's PATH."""
    path = shutil.which(program, path=os.environ.get("PATH", os.defpath) + ":/usr/sbin")
    if path is None:
        raise SystemExit(f"not installed: {program} (Debian: apt-get install nginx-light haproxy wrk)")
    return path


@contextlib.contextmanager
def serving(peer: Peer, folder: Path, backend: int) -> Iterator[tuple[Process, int]]:
    """The started peer and the port it serves on; it has ended when the block is left. Raises ProcessTrouble."""
    folder.mkdir()
    port = free_port()
    with Process(peer.command(folder, port, backend), folder, name=folder.name) as process:
        process.wait_until(says(peer.ready_line) if peer.ready_line else listens_on(port))
        with peer.beside(folder, backend):
            yield process, port
        process.end()


@contextlib.contextmanager
def backend_serving(folder: Path, big: bytes) -> Iterator[int]:
    """The port of the nginx behind all of them; `/` answers SMALL, `/big` answers `big`."""
    files = folder / "backend" / "www"
    files.mkdir(parents=True)
    files.joinpath("big").write_bytes(big)
    port = free_port()
    command = nginx("backend.conf").command(files.parent, port, 0)
    with Process(command, files.parent, name="backend") as process:
        process.wait_until(listens_on(port))
        yield port
        process.end()


@contextlib.contextmanager
def backend_receiving(folder: Path) -> Iterator[int]:
    """The port of a backend that tells what is uploaded."""
    port = free_port()
    with Process([sys.executable, str(HERE / "upload_backend.py"), str(port)], folder, name="backend") as process:
        process.wait_until(listens_on(port))
        yield port


PEERS = {
    "sozu_trio": sozu_trio(many_hosts(CLUSTERS)),
    "floor": relay("floor_trio"),
    "h11": relay("plain_h11"),
    "splice": relay("bulk_trio", "splice", str(PIPED)),
    "copy": relay("bulk_trio", "copy", str(COPIED)),
    "nginx": nginx("nginx.conf"),
    "nginx-tuned": nginx("nginx-tuned.conf"),
    "haproxy": haproxy("haproxy.cfg"),
    "haproxy-tuned": haproxy("haproxy-tuned.cfg"),
}
