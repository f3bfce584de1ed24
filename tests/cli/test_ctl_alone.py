"""What ctl and its siblings do without a proxy: usage, the check of a file, completion, and what they load."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sozu_trio.cli import main
from tests.tls.parts import issue

Capture = pytest.CaptureFixture[str]

WRONG = [
    ["-c", "a", "--socket", "b", "status"],
    ["config", "check"],
    ["--timeout", "-1", "status"],
    ["--timeout", "nan", "status"],
    ["status", "now"],
    ["backend", "add", "--weight", "heavy"],
    ["backend", "add"],
    ["backend"],
    [],
    ["frontend", "http", "add", "--address", "127.0.0.1:1", "--hostname", "h", "cluster", "api"],
    ["frontend", "http", "add", "--address", "127.0.0.1:1", "--hostname", "h"],
    ["shutdown", "--hard", "--drain-timeout", "1"],
    [
        "frontend",
        "http",
        "add",
        "--address",
        "a",
        "--hostname",
        "h",
        "--path-prefix",
        "/",
        "--path-equals",
        "/",
        "deny",
    ],
    ["completion", "tarot"],
    ["rollback", "yesterday"],
    ["explain", "http://h/", "--header", "novalue"],
    ["frontend", "tcp", "add", "--id", "a", "--address", "a", "--tags", "novalue"],
    ["cluster", "list", "--id", "a", "--domain", "b"],
    ["session", "li"],
    ["status", "--js"],
]


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_wrong_usage(words: list[str], capfd: Capture) -> None:
    try:
        code: object = main(["ctl", *words])
    except SystemExit as end:
        code = end.code
    out, err = capfd.readouterr()
    assert (code, out) == (2, "")
    assert "error: " in err
    assert "Traceback" not in err


FAULTY = "max_connectoins = 5\nworker_count = 0\n"


def test_config_check(tmp_path: Path, capfd: Capture) -> None:
    file = tmp_path / "proxy.toml"
    file.write_text("")
    assert main(["ctl", "-c", str(file), "config", "check"]) == 0
    assert capfd.readouterr().out == f"{file}: valid: 0 listeners, 0 clusters, 0 backends\n"
    assert main(["ctl", "-c", str(file), "--json", "config", "check"]) == 0
    counts = {"listeners": 0, "clusters": 0, "backends": 0}
    assert json.loads(capfd.readouterr().out) == {"file": str(file), **counts, "notices": []}
    file.write_text(FAULTY)
    assert main(["ctl", "-c", str(file), "--json", "config", "check"]) == 1
    out, err = capfd.readouterr()
    assert {each["where"] for each in json.loads(out)["problems"]} == {"max_connectoins", "worker_count"}
    assert len(err.splitlines()) == 2
    assert all(line.startswith(f"{file}: ") for line in err.splitlines())


def test_config_check_reads_the_authorities_of_clients(tmp_path: Path, capfd: Capture) -> None:
    file = tmp_path / "proxy.toml"
    asking = 'client_auth = "required"\nclient_ca = "clients.pem"'
    file.write_text(f'[[listeners]]\nprotocol = "https"\naddress = "127.0.0.1:443"\n{asking}\n')
    assert main(["ctl", "-c", str(file), "config", "check"]) == 1
    said = f"listeners[0].client_ca: cannot read {tmp_path}/clients.pem: No such file or directory"
    assert said in capfd.readouterr().err
    tmp_path.joinpath("clients.pem").write_bytes(issue(common_name="one", authority=True).pem)
    assert main(["ctl", "-c", str(file), "config", "check"]) == 0


def test_completion(capfd: Capture) -> None:
    assert main(["ctl", "completion", "bash"]) == 0
    script = capfd.readouterr().out
    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0
    assert "health-check" in script


LAZY = """
import sys
from sozu_trio.cli import main, parser
parser()
assert not {"rich", "shtab", "anyio"} & set(sys.modules), sys.modules.keys()
from sozu_trio.cli import serve
assert not {"rich", "shtab"} & set(sys.modules), sys.modules.keys()
"""


def test_serve_loads_nothing_that_draws() -> None:
    subprocess.run([sys.executable, "-c", LAZY], check=True)


def test_as_a_program_it_never_ends_in_a_traceback(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sozu_trio", "ctl", "--json", "status"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"no proxy listens at {tmp_path / 'sozu.sock'}")
    assert ended.stderr.count("\n") == 1
