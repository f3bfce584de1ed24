"""What a State of 10,000 clusters costs: loading it from the file and from the journal, and changes to it.

Each cluster has a frontend and two backends. A start is timed from the command to the ready line; a change from the
request on the control socket to its answer, for one client that sends one after the other. Last comes one change as
large as a request may be. Bars: docs/performance.md.
"""

import statistics
import sys
import tempfile
import time
from pathlib import Path

import anyio

from benchmarks.bars import Row, milliseconds
from benchmarks.measure import WrongAnswer
from benchmarks.ports import free_port
from benchmarks.processes import Process
from sozu_trio.control.client import Client, open_client

CLUSTERS = 10_000
CHANGES = 100
LARGE = 8500
"""Clusters of the large change, each with a frontend and a backend."""
FILE_BAR, JOURNAL_BAR, CHANGE_BAR, HOLD_BAR = 15.0, 10.0, 0.05, 0.02
CHANGE_AIM, HOLD_AIM = 0.01, 0.005
"""Seconds."""
LONGEST_START = 60


def rows() -> list[Row]:
    """All of it, in a folder that goes afterwards. Raises ProcessTrouble."""
    with tempfile.TemporaryDirectory(prefix="sozu_trio-bench-") as folder:
        return measure(Path(folder))


def measure(folder: Path) -> list[Row]:
    """Start, change and kill one proxy, and start it again. Raises ProcessTrouble."""
    port = free_port()
    (folder / "proxy.toml").write_text(configuration(port, CLUSTERS))
    with Process(command(), folder, name="first") as first:
        from_file = seconds_to_serve(first)
        say(f"from the file: {from_file:.1f} s, {first.rss() >> 20} MiB resident")
        changes, hold = anyio.run(change_it, folder / "sock")
        large, large_hold = anyio.run(change_much, folder / "sock", port)
        say(f"one apply of {3 * LARGE:,} changes: {large:.1f} s")
    with Process(command(), folder, name="second") as second:
        from_journal = seconds_to_serve(second)
        say(f"from the journal: {from_journal:.1f} s, {second.rss() >> 20} MiB resident")
        anyio.run(check_it, folder / "sock")
    return [
        milliseconds(f"{CLUSTERS:,} clusters from a file", from_file, FILE_BAR),
        milliseconds(f"{CLUSTERS:,} clusters from the journal", from_journal, JOURNAL_BAR),
        milliseconds("one change, median", statistics.median(changes), CHANGE_BAR, CHANGE_AIM),
        milliseconds(f"one change, slowest of {len(changes)}", max(changes), 2 * CHANGE_BAR),
        milliseconds("a worker's loop held by a change, longest", hold, HOLD_BAR, HOLD_AIM),
        milliseconds(f"a worker's loop held by one of {3 * LARGE:,}, longest", large_hold, HOLD_BAR),
    ]


def command() -> list[str]:
    return [sys.executable, "-m", "sozu_trio", "serve", "-c", "proxy.toml"]


def configuration(port: int, clusters: int) -> str:
    """The file: a listener, and `clusters` clusters with a frontend and two backends each."""
    lines = [
        'command_socket = "sock"\nsaved_state = "state.json"\nautomatic_state_save = true\nlog_level = "warn"',
        f'[[listeners]]\nprotocol = "http"\naddress = "127.0.0.1:{port}"',
    ]
    lines += [
        f'[clusters.c{n}]\nprotocol = "http"\n'
        f'frontends = [{{ address = "127.0.0.1:{port}", hostname = "app-{n}.example.com" }}]\n'
        'backends = [{ address = "127.0.0.1:9000" }, { address = "127.0.0.1:9001" }]'
        for n in range(clusters)
    ]
    return "\n".join(lines)


def seconds_to_serve(process: Process) -> float:
    began = time.monotonic()
    process.wait_until(lambda running: "sozu_trio ready" in running.output(), LONGEST_START)
    return time.monotonic() - began


async def change_it(path: Path) -> tuple[list[float], float]:
    """Seconds of each change, and the longest a worker's loop was held by one of them."""
    async with open_client(path) as client:
        changes = []
        for number in range(CHANGES):
            began = time.perf_counter()
            await client.ask(*change(number))
            changes.append(time.perf_counter() - began)
        return changes, await longest_hold(client)


async def longest_hold(client: Client) -> float:
    """Seconds, of all workers."""
    workers = (await client.ask("metrics get")).content["workers"]
    longest: int = max(each["configuration.longest_hold_us"] for each in workers.values())
    return longest / 1e6


async def change_much(path: Path, port: int) -> tuple[float, float]:
    """Seconds of a large change and the longest hold of a worker's loop since it began to serve."""
    async with open_client(path) as client:
        began = time.perf_counter()
        await client.ask("apply", {"changes": [each for number in range(LARGE) for each in new_cluster(number, port)]})
        return time.perf_counter() - began, await longest_hold(client)


def new_cluster(number: int, port: int) -> list[dict[str, object]]:
    name = f"b{number}"
    frontend = {"address": f"127.0.0.1:{port}", "hostname": f"{name}.example.com"}
    return [
        {"verb": "cluster add", "id": name},
        {"verb": "frontend http add", "cluster": name, **frontend},
        {"verb": "backend add", "id": name, "backend-id": "one", "address": "127.0.0.1:9000"},
    ]


def change(number: int) -> tuple[str, dict[str, object]]:
    """Weights, new backends, new clusters and their ends, in turn."""
    cluster = f"c{number * 97 % CLUSTERS}"
    match number % 4:
        case 0:
            return "backend add", {"id": cluster, "backend-id": "extra", "address": "127.0.0.1:9002", "weight": 7}
        case 1:
            return "cluster add", {"id": f"new-{number}"}
        case 2:
            return "cluster update", {"id": cluster, "load-balancing-policy": "random"}
        case _:
            return "cluster remove", {"id": f"new-{number - 2}"}


async def check_it(path: Path) -> None:
    """What was changed is there again."""
    async with open_client(path) as client:
        await expect(client, CLUSTERS + LARGE, 2 * CLUSTERS + CHANGES // 4 + LARGE)


async def expect(client: Client, clusters: int, backends: int) -> None:
    stats = (await client.ask("state stats")).content
    if (stats["clusters"], stats["backends"], stats["generation"]) != (clusters, backends, CHANGES + 2):
        raise WrongAnswer(f"wrong after the restart: {stats}")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
