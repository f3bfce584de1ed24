"""What 5,000 certificates cost: loading them at a start, by `reload` and by one `apply`, and using them.

All of them have keys of their own, and a rule each. Main's loop is measured
from within (`metered.py`), those of workers measure themselves. What is timed by the clock is of use only where nothing
else wants the processors; CPU time is told beside it. Bars: docs/performance.md.
"""

import json
import socket
import ssl
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from benchmarks.bars import Row, milliseconds
from benchmarks.ports import free_port
from benchmarks.processes import TICKS, Process, cpu_ticks, family, rests
from benchmarks.state import longest_hold, say, seconds_to_serve
from sozu_trio.control.client import open_client

CERTIFICATES = 5000
USED = 1000
"""Certificates that are shown to somebody: fewer than are kept ready (`config/limits.py`)."""
LOAD_BAR, HOLD_BAR, MEMORY_BAR = 2.0, 0.02, 30 << 10
"""Seconds, seconds, bytes."""
LONGEST_CHANGE = 60


def rows() -> list[Row]:
    """All of it, in a folder that goes afterwards. Raises ProcessTrouble."""
    with tempfile.TemporaryDirectory(prefix="sozu_trio-bench-") as folder:
        return measure(Path(folder))


def measure(folder: Path) -> list[Row]:
    """Raises ProcessTrouble."""
    say(f"making {3 * CERTIFICATES:,} certificates")
    files, port = folder / "certificates", free_port()
    files.mkdir()
    write(files)
    file = folder / "proxy.toml"
    file.write_text(configuration(port, None))
    with Process(command(folder), folder, name="without") as without:
        bare, bare_cpu = seconds_to_serve(without), cpu_of_main(without)
        file.write_text(configuration(port, files))
        reloaded = anyio.run(timed, without, folder, "reload", {}, "by a reload")
    with Process(command(folder), folder, name="with") as proxy:
        loaded, loaded_cpu = seconds_to_serve(proxy), cpu_of_main(proxy)
        say(
            f"a start without any: {bare:.2f} s ({bare_cpu:.2f} s of CPU), with them: {loaded:.2f} s ({loaded_cpu:.2f})"
        )
        write(files)
        renewed = anyio.run(timed, proxy, folder, "reload", {}, "by a reload that finds all renewed")
        (folder / "batch.json").write_text(json.dumps({"changes": additions(port)}))
        applied = anyio.run(timed, proxy, folder, "apply", {"file": str(folder / "batch.json")}, "by one apply")
        used = memory(proxy, port)
    begun = [
        milliseconds(f"{CERTIFICATES:,} certificates at a start, beyond one without", loaded - bare, LOAD_BAR),
        milliseconds("main's CPU for it", loaded_cpu - bare_cpu, LOAD_BAR),
    ]
    return [*begun, *reloaded, *renewed, *applied, used]


def write(folder: Path) -> None:
    """New files, certificate and key, for each of the names."""
    for number, (certificate, key) in enumerate(issued("host")):
        folder.joinpath(f"{number}.pem").write_text(certificate)
        folder.joinpath(f"{number}.key").write_text(key)


def issued(what: str) -> Iterator[tuple[str, str]]:
    """PEM of certificates for `what`-0.example and so on, each signed by itself, and of their keys."""
    now = datetime.now(UTC)
    for number in range(CERTIFICATES):
        key = ec.generate_private_key(ec.SECP256R1())
        name = f"{what}-{number}.example"
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        builder = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(1)).not_valid_after(now + timedelta(90))
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        pem = builder.sign(key, SHA256()).public_bytes(Encoding.PEM)
        yield pem.decode(), key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def configuration(port: int, files: Path | None) -> str:
    """The file: an https listener and a rule for each name, with its certificate where there are `files`."""
    rules = []
    for number in range(CERTIFICATES):
        certificate = "" if files is None else f', certificate = "{files}/{number}.pem", key = "{files}/{number}.key"'
        rules.append(f'{{ address = "127.0.0.1:{port}", hostname = "host-{number}.example"{certificate} }},')
    return f"""
command_socket = "sock"
certificate_check_interval = 0
log_level = "warn"
[[listeners]]
protocol = "https"
address = "127.0.0.1:{port}"
[clusters.one]
protocol = "http"
frontends = [
{chr(10).join(rules)}
]
backends = [{{ address = "127.0.0.1:9000" }}]
"""


def additions(port: int) -> list[dict[str, str]]:
    """As many certificates again, as changes of a batch."""
    at = {"verb": "certificate add", "address": f"127.0.0.1:{port}"}
    return [{**at, "certificate": certificate, "key": key} for certificate, key in issued("more")]


def command(folder: Path) -> list[str]:
    return [sys.executable, "-m", "benchmarks.metered", str(folder / "meter"), "serve", "-c", "proxy.toml"]


async def timed(process: Process, folder: Path, verb: str, body: Mapping[str, Any], how: str) -> list[Row]:
    """One request: how long it took, and what it held. What was put off until main serves is done before."""
    process.wait_until(rests(), what="come to rest")
    async with open_client(folder / "sock") as client:
        began, cpu = time.monotonic(), cpu_of_main(process)
        with anyio.fail_after(LONGEST_CHANGE):
            await client.ask(verb, body)
        ended, cpu = time.monotonic(), cpu_of_main(process) - cpu
        held, held_cpu = longest_of_main(folder / "meter", began, ended)
        workers = await longest_hold(client)
    return [
        milliseconds(f"{CERTIFICATES:,} certificates {how}", ended - began, LOAD_BAR),
        milliseconds("main's CPU for it", cpu, LOAD_BAR),
        milliseconds("main's loop held meanwhile, longest", held, HOLD_BAR),
        milliseconds("the same in CPU", held_cpu, HOLD_BAR),
        milliseconds("a worker's loop held so far, longest", workers, HOLD_BAR),
    ]


def cpu_of_main(process: Process) -> float:
    """Seconds so far."""
    return cpu_ticks(process.pid) / TICKS


def longest_of_main(meter: Path, began: float, ended: float) -> tuple[float, float]:
    """Seconds that the loop was held longest between two moments of CLOCK_MONOTONIC: by the clock, and of CPU."""
    lines = [line.split(" ", 3) for line in meter.read_text().splitlines()]
    within = [(float(wall), float(cpu), who) for at, wall, cpu, who in lines if began <= float(at) <= ended]
    if not within:
        return 0.0, 0.0
    by_cpu = sorted(within, key=lambda each: -each[1])
    for wall, cpu, who in by_cpu[:3]:
        say(f"main's loop was held for {wall * 1000:.0f} ms ({cpu * 1000:.0f} ms of CPU) by {who}")
    return max(within)[0], by_cpu[0][1]


def memory(proxy: Process, port: int) -> Row:
    """Of a certificate once it is used, in the workers: each handshake is with another name."""
    workers = family(proxy.pid)[1:]
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    before = sum(map(private_memory, workers))
    for number in range(USED):
        with (
            socket.create_connection(("127.0.0.1", port)) as plain,
            context.wrap_socket(plain, server_hostname=f"host-{number}.example") as client,
        ):
            assert client.version()
    grown = sum(map(private_memory, workers)) - before
    return Row(what="memory per certificate once used", figure=grown / USED / 1024, bar=MEMORY_BAR / 1024, unit="KiB")


def private_memory(pid: int) -> int:
    """Bytes that no other process shares."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))
