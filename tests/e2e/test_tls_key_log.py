"""The secrets of TLS sessions are written where `serve --tls-key-log` says, and nowhere else."""

import os
import stat
from functools import partial
from pathlib import Path

import pytest

from benchmarks.processes import ProcessTrouble
from tests.e2e.control import ctl_json
from tests.e2e.parts import Proxy, StartProxy, wait_until
from tests.e2e.secure import Authority, https_proxy, s_client

LABELS_13 = {
    *("SERVER_HANDSHAKE_TRAFFIC_SECRET", "CLIENT_HANDSHAKE_TRAFFIC_SECRET", "EXPORTER_SECRET"),
    *("SERVER_TRAFFIC_SECRET_0", "CLIENT_TRAFFIC_SECRET_0"),
}


@pytest.fixture
def config(tmp_path: Path) -> str:
    files = Authority(tmp_path / "authority").write("default", "localhost")
    return https_proxy(1, files.lines, before="worker_count = 2")


def entries(file: Path) -> set[tuple[str, ...]]:
    """(label, client's random, secret) of each line, in lower case digits."""
    lines = file.read_text().splitlines()
    assert all(line.count(" ") == 2 for line in lines), lines
    return {tuple(line.split()) for line in lines}


def has_all(file: Path, known: frozenset[tuple[str, ...]]) -> bool:
    return known <= entries(file)


def agreed(port: int, version: str, folder: Path) -> set[tuple[str, ...]]:
    """What the client itself has of a session."""
    file = folder / f"client{version}"
    s_client(port, version, "-keylogfile", str(file))
    lines = [line for line in file.read_text().splitlines() if not line.startswith("#")]
    return {tuple(line.split()) for line in lines}


def test_whoever_reads_the_file_can_decrypt_every_session(config: str, tmp_path: Path) -> None:
    """Of every worker, also of those that are started later, and of those of another image of main."""
    file = tmp_path / "keys"
    proxy = Proxy(config, tmp_path / "proxy", arguments=("--tls-key-log", str(file)))
    try:
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        wait_until(lambda: "WARN MAIN\t--tls-key-log is given" in proxy.output())
        known: set[tuple[str, ...]] = set()
        for upgrade in ((), ("upgrade", "--worker", "0"), ("upgrade",)):
            if upgrade:
                ctl_json(proxy, *upgrade)
            for version in ("-tls1_2", "-tls1_3"):
                mine = agreed(proxy.port, version, tmp_path)
                assert {label for label, *_ in mine} == ({"CLIENT_RANDOM"} if version == "-tls1_2" else LABELS_13)
                known |= mine
                wait_until(partial(has_all, file, frozenset(known)))
        assert entries(file) == known
        assert proxy.stop() == 0
    finally:
        proxy.close()


def test_the_environment_alone_does_nothing(start_proxy: StartProxy, config: str, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    proxy = start_proxy(config, environment={"SSLKEYLOGFILE": str(file)})
    for version in ("-tls1_2", "-tls1_3"):
        assert "Cipher is (NONE)" not in s_client(proxy.port, version)
    assert ctl_json(proxy, "metrics", "get")["total"]["tls.handshakes"] == 2
    assert not file.exists()


@pytest.mark.parametrize("mode", [0o644, 0o640])
def test_a_file_that_others_can_read_is_refused(config: str, tmp_path: Path, mode: int) -> None:
    file = tmp_path / "keys"
    file.touch()
    os.chmod(file, mode)
    with pytest.raises(ProcessTrouble, match=f"--tls-key-log: {file} belongs to uid .* with mode {mode:o}; want"):
        Proxy(config, tmp_path / "proxy", arguments=("--tls-key-log", str(file)))
