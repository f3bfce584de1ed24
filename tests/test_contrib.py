"""What lies in contrib/ is what systemd understands, and fits our own defaults."""

import configparser
import subprocess
import sys
from pathlib import Path

import pytest

from sozu_trio.cli import parser
from sozu_trio.config.descriptors import need
from sozu_trio.config.limits import MAX_CONNECTIONS
from sozu_trio.config.load import parse_config
from tests.e2e.parts import require

CONTRIB = Path(__file__).parents[1] / "contrib"
SERVICE, SOCKET = CONTRIB / "sozu-trio.service", CONTRIB / "sozu-trio.socket"
PROGRAM = "/opt/sozu-trio/bin/sozu-trio"


@pytest.fixture(scope="module")
def service() -> configparser.SectionProxy:
    return unit(SERVICE)["Service"]


def unit(file: Path) -> configparser.ConfigParser:
    """Raises configparser.Error for a key that stands twice."""
    read = configparser.ConfigParser(interpolation=None, delimiters=("=",))
    read.optionxform = str  # type: ignore[assignment,method-assign] # keys are case-sensitive
    read.read_string(file.read_text())
    return read


def verify(folder: Path, service: str) -> str:
    """What systemd-analyze has to say about both units."""
    program = require("systemd-analyze")
    (folder / SERVICE.name).write_text(service)
    (folder / SOCKET.name).write_text(SOCKET.read_text())
    command = [program, "verify", "--man=no", str(folder / SERVICE.name), str(folder / SOCKET.name)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=60)
    return run.stdout + run.stderr


def test_systemd_understands_every_line(tmp_path: Path) -> None:
    text = SERVICE.read_text().replace(PROGRAM, sys.executable)
    assert verify(tmp_path, text) == ""
    assert "Unknown key" in verify(tmp_path, text.replace("WatchdogSec=", "WatchDogSec="))


def test_its_numbers_fit_our_defaults(service: configparser.SectionProxy, tmp_path: Path) -> None:
    program = parse_config("", "test", tmp_path).program
    assert float(service["TimeoutStopSec"]) > program.shutdown_timeout
    assert float(service["WatchdogSec"]) > program.worker_timeout
    # The descriptors of a worker: docs/limits.md.
    assert int(service["LimitNOFILE"]) > need(MAX_CONNECTIONS)
    assert 5 * float(service["RestartSec"]) > 10  # DefaultStartLimitBurst, DefaultStartLimitIntervalSec


def test_it_is_told_by_main_and_leaves_workers_alone(service: configparser.SectionProxy) -> None:
    wanted = {
        "Type": "notify",
        "NotifyAccess": "main",
        "KillMode": "process",
        "Restart": "on-failure",
        "OOMPolicy": "continue",
        "RuntimeDirectoryPreserve": "yes",
    }
    assert {key: service[key] for key in wanted} == wanted


def test_its_commands_are_ours(service: configparser.SectionProxy) -> None:
    for key, words in (("ExecStart", "serve -c FILE"), ("ExecReload", "ctl -c FILE reload")):
        program, *given = service[key].split()
        assert program == PROGRAM
        assert " ".join(given).replace("/etc/sozu-trio/config.toml", "FILE") == words
        parser().parse_args(given)


def test_the_folder_it_makes_is_where_it_runs(service: configparser.SectionProxy) -> None:
    assert service["WorkingDirectory"] == f"/run/{service['RuntimeDirectory']}"


def test_its_sockets_are_none_that_we_refuse() -> None:
    section = unit(SOCKET)["Socket"]
    assert section["BindIPv6Only"] == "ipv6-only"
    assert section["ListenStream"] == "0.0.0.0:80"
    assert not {"Accept", "ListenDatagram", "ReusePort"} & set(section)
