"""Certificates of clients as curl and openssl show them, while everything around them changes."""

import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509 import load_pem_x509_certificate

from benchmarks.ports import free_port
from tests.e2e.clients import PATIENCE, curl, get
from tests.e2e.control import ctl, ctl_json
from tests.e2e.parts import Proxy, StartProxy, require, wait_until
from tests.e2e.secure import Authority, Files, https_proxy, s_client
from tests.e2e.servers import serving, show_head

LIES = ("X-Client-Subject: CN=root", "x-client-san: DNS:root", "X-Client-Fingerprint: 00", "X_Client_Subject: CN=root")
VERSIONS = (("--tlsv1.3",), ("--tls-max", "1.2"))


@dataclass
class House:
    """A proxy before a backend that answers with the head it got, and whoever signs certificates of clients."""

    proxy: Proxy
    servers: Authority
    clients: Authority
    strangers: Authority
    plain: int
    """The port of its http listener, which leads to the same backend."""

    def options(self, shown: Files | None, *more: str) -> tuple[str, ...]:
        certificate = ("--cert", str(shown.certificate), "--key", str(shown.key)) if shown else ()
        return "--cacert", str(self.servers.file), *certificate, *more

    def told(self, shown: Files | None, *more: str) -> dict[str, str]:
        """What the backend is told of a client that lies."""
        lies = [word for lie in LIES for word in ("--header", lie)]
        answer = curl(f"https://localhost:{self.proxy.port}/", *self.options(shown, *more), *lies)
        assert answer.status == 200
        return said_of_client(answer.body)

    def is_refused(self, shown: Files | None, *more: str) -> bool:
        """Whether curl gets nothing, of whichever version of TLS."""
        url = f"https://localhost:{self.proxy.port}/"
        command = [
            require("curl"),
            "--silent",
            "--show-error",
            "--max-time",
            str(PATIENCE),
            *self.options(shown, *more),
            url,
        ]
        run = subprocess.run(command, capture_output=True, timeout=2 * PATIENCE, check=False)
        assert run.returncode in (0, 35, 55, 56, 60), run.stderr
        return run.returncode != 0 and run.stdout == b""

    def update(self, *options: str) -> None:
        ctl_json(self.proxy, "listener", "https", "update", "--address", f"127.0.0.1:{self.proxy.port}", *options)

    def counted(self, kind: str) -> int:
        found: int = ctl_json(self.proxy, "metrics", "get")["total"][f"tls.handshake.failed.{kind}"]
        return found


def said_of_client(head: bytes) -> dict[str, str]:
    fields = (line.partition(": ") for line in head.decode().split("\r\n"))
    return {name.lower(): value for name, _, value in fields if "client" in name.lower()}


@pytest.fixture
def house(start_proxy: StartProxy, tmp_path: Path) -> Iterator[House]:
    servers, clients, strangers = (Authority(tmp_path / name, name) for name in ("servers", "clients", "strangers"))
    lines = servers.write("default", "localhost").lines
    asking = f'client_auth = "required"\nclient_ca = "{clients.file}"'
    plain = free_port()
    with serving(show_head) as port:
        more = f"""
[[listeners]]
protocol = "http"
address = "127.0.0.1:{plain}"
[clusters.plain]
protocol = "http"
frontends = [{{ address = "127.0.0.1:{plain}", hostname = "*" }}]
backends = [{{ address = "127.0.0.1:{port}" }}]
"""
        before = 'worker_count = 1\nlog_level = "info"'
        proxy = start_proxy(https_proxy(port, f"{lines}\n{asking}", before=before, after=more))
        yield House(proxy, servers, clients, strangers, plain)


def test_who_is_served_and_what_the_backend_is_told(house: House) -> None:
    good = house.clients.write("good", "anna.example", common_name="anna")
    bad = {
        "certificate has expired": house.clients.write("old", common_name="old", end=time.time() - 10),
        "unable to get local issuer certificate": house.strangers.write("false", common_name="anna"),
    }
    told = {
        "x-client-subject": "CN=anna",
        "x-client-san": "DNS:anna.example",
        "x-client-fingerprint": fingerprint(good),
    }
    for version in VERSIONS:
        assert house.told(good, *version) == told
        assert house.is_refused(None, *version)
        assert all(house.is_refused(each, *version) for each in bad.values())
    assert (house.counted("no_certificate"), house.counted("invalid_certificate")) == (2, 4)
    wait_until(lambda: all(f"is not good ({why})" in house.proxy.output() for why in bad))
    house.update("--client-auth", "optional")
    for version in VERSIONS:
        assert house.told(good, *version) == told
        assert house.told(None, *version) == {}
        assert all(house.is_refused(each, *version) for each in bad.values())


def fingerprint(files: Files) -> str:
    return load_pem_x509_certificate(files.certificate.read_bytes()).fingerprint(SHA256()).hex()


def test_nobody_says_it_at_another_listener(house: House) -> None:
    lies = [word for lie in LIES for word in ("--header", lie)]
    head = curl(f"http://localhost:{house.plain}/", *lies).body
    assert head.startswith(b"GET / HTTP/1.1")
    assert said_of_client(head) == {}
    house.update("--client-subject-header", "", "--client-san-header", "X-San")
    assert said_of_client(curl(f"http://localhost:{house.plain}/", *lies).body) == {
        "x-client-subject": "CN=root",
        "x-client-san": "DNS:root",
        "x_client_subject": "CN=root",
    }


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_no_session_of_before_gets_past_other_authorities(house: House, tmp_path: Path, version: str) -> None:
    good = house.clients.write("good", common_name="anna")
    shown = ("-cert", str(good.certificate), "-key", str(good.key), version, "-ign_eof", "-servername", "localhost")
    kept, request = str(tmp_path / "session"), get(fields=["Connection: close"])

    def ask(*options: str) -> str:
        return s_client(house.proxy.port, *shown, *options, given=request)

    assert "New, TLSv1" in ask("-sess_out", kept)
    resumed = ask("-sess_in", kept)
    assert "Reused, TLSv1" in resumed
    assert "X-Client-Subject: CN=anna" in resumed
    house.update("--client-ca", str(house.strangers.file))
    refused = ask("-sess_in", kept)
    assert "Reused" not in refused
    assert "HTTP/1.1 200" not in refused
    assert "alert unknown ca" in refused


def test_a_reload_reads_the_authorities_again(house: House) -> None:
    good = house.clients.write("good", common_name="anna")
    other = house.strangers.write("other", common_name="bert")
    house.clients.file.write_bytes(house.strangers.file.read_bytes())
    assert house.told(good)["x-client-subject"] == "CN=anna"
    ctl_json(house.proxy, "reload")
    assert house.told(other)["x-client-subject"] == "CN=bert"
    assert house.is_refused(good)
    house.clients.file.write_bytes(b"garbage")
    refused = ctl(house.proxy, "reload")
    assert refused.code == 1
    assert f"listeners[0].client_ca: {house.clients.file}: no certificate in PEM form" in refused.err
    assert house.told(other)["x-client-subject"] == "CN=bert"


def test_what_ctl_says_and_what_is_saved(house: House, tmp_path: Path) -> None:
    good = house.clients.write("good", common_name="anna")
    (https,) = ctl_json(house.proxy, "listener", "list", "--https")["listeners"]
    assert https["client_auth"] == "required"
    assert https["client_ca"].startswith("1 authority (")
    (dumped, _) = ctl_json(house.proxy, "state", "dump")["listeners"]
    assert dumped["client_ca"] == https["client_ca"]
    assert f"required, {https['client_ca']}" in " ".join(ctl(house.proxy, "listener", "list", "--https").out.split())
    saved = tmp_path / "saved.json"
    ctl_json(house.proxy, "state", "save", "--file", str(saved))
    house.update("--client-auth", "none")
    assert house.told(None)["x-client-subject"] == "CN=root", "nobody is known any more, and nothing is dropped"
    ctl_json(house.proxy, "state", "load", "--file", str(saved))
    assert house.is_refused(None)
    assert house.told(good)["x-client-subject"] == "CN=anna"
    address = f"127.0.0.1:{house.proxy.port}"
    for options, said in (
        (("--client-ca", str(good.certificate)), "is no authority: want certificates whose basic constraints say CA"),
        (("--client-ca", str(tmp_path / "nowhere")), "nowhere: cannot be read: No such file or directory"),
        (("--client-auth", "none", "--client-ca", str(house.clients.file)), "client-ca: found authorities, which do"),
    ):
        refused = ctl(house.proxy, "listener", "https", "update", "--address", address, *options)
        assert (refused.code, said in refused.err) == (1, True), refused.err


def test_workers_to_come_ask_for_them_as_well(house: House) -> None:
    good = house.clients.write("good", common_name="anna")
    ctl_json(house.proxy, "upgrade")
    assert house.is_refused(None)
    assert house.told(good)["x-client-subject"] == "CN=anna"
