"""TLS to backends: a real nginx behind the proxy, good, bad and in need of our certificate."""

import contextlib
import hashlib
import json
import os
import re
import socket
import ssl
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.ports import free_port
from tests.e2e.clients import curl, run_curl
from tests.e2e.configurations import http_proxy
from tests.e2e.control import ctl, ctl_json
from tests.e2e.parts import Nginx, Proxy, StartProxy, wait_until
from tests.e2e.secure import Authority, https_proxy
from tests.e2e.servers import serving
from tests.e2e.websocket import open_websocket, serve_echo

HELLO = b"hello from behind TLS\n"
SIZE = 100 << 20
StartNginx = Callable[[str], Nginx]


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


class Behind:
    """nginx with TLS on `port`."""

    def __init__(self, start_nginx: StartNginx, authority: Authority, *names: str, more: str = "", **how: Any) -> None:
        self.port = free_port()
        self.authority = authority
        self.issued = authority.write("backend", *(names or ("127.0.0.1",)), **how)
        self.nginx = start_nginx(f"""
            listen 127.0.0.1:{self.port} ssl;
            ssl_certificate {self.issued.certificate};
            ssl_certificate_key {self.issued.key};
            location /resumed {{ keepalive_timeout 0; return 200 "$ssl_protocol $ssl_session_reused"; }}
            location /client {{ return 200 "$ssl_client_s_dn"; }}
            {more}
        """)
        self.nginx.files.joinpath("hello").write_bytes(HELLO)

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(ssl.PEM_cert_to_DER_cert(self.issued.certificate.read_text())).hexdigest()

    def config(self, *lines: str) -> str:
        """A proxy before it; `lines` are those of the `tls` table."""
        return with_tls(http_proxy(free_port(), self.port), *lines)

    def trusting(self, *lines: str) -> str:
        return self.config(f'ca = "{self.authority.file}"', *lines)


def with_tls(config: str, *lines: str, cluster: str = "web") -> str:
    return f"worker_count = 1\n{config}\n[clusters.{cluster}.tls]\n" + "\n".join(lines)


def refused(proxy: Proxy, why: str) -> None:
    """A request is answered 502, and the access log and the log say `why`."""
    answer = curl(f"http://127.0.0.1:{proxy.port}/hello")
    assert answer.status == 502
    assert b"certificate" not in answer.body
    wait_until(lambda: proxy.output().count(why) >= 2)


def ok(proxy: Proxy) -> bool:
    answer = curl(f"http://127.0.0.1:{proxy.port}/hello")
    return (answer.status, answer.body) == (200, HELLO)


def test_its_address_is_verified(start_nginx: StartNginx, start_proxy: StartProxy, authority: Authority) -> None:
    behind = Behind(start_nginx, authority)
    assert ok(start_proxy(behind.trusting()))


def test_its_name_is_verified(start_nginx: StartNginx, start_proxy: StartProxy, authority: Authority) -> None:
    behind = Behind(start_nginx, authority, "api.internal")
    assert ok(start_proxy(behind.trusting('server_name = "api.internal"')))
    refused(start_proxy(behind.trusting()), "for another name (IP address mismatch")
    refused(start_proxy(behind.trusting('server_name = "b.internal"')), "for another name (Hostname mismatch")


def test_another_authority(
    start_nginx: StartNginx, start_proxy: StartProxy, authority: Authority, tmp_path: Path
) -> None:
    behind = Behind(start_nginx, authority)
    other = Authority(tmp_path / "other")
    refused(start_proxy(behind.config(f'ca = "{other.file}"')), "is from an unknown authority")
    refused(start_proxy(behind.config()), "is from an unknown authority")
    assert ok(start_proxy(behind.config("verify = false")))


def test_the_systems_authorities_are_those_that_openssl_would_ask(
    start_nginx: StartNginx, start_proxy: StartProxy, authority: Authority
) -> None:
    behind = Behind(start_nginx, authority)
    assert ok(start_proxy(behind.config(), environment={"SSL_CERT_FILE": str(authority.file)}))


def test_a_certificate_that_has_expired(start_nginx: StartNginx, start_proxy: StartProxy, authority: Authority) -> None:
    behind = Behind(start_nginx, authority, end=time.time() - 60)
    refused(start_proxy(behind.trusting()), "the backend's certificate has expired")
    assert ok(start_proxy(behind.config(f'fingerprint = "{behind.fingerprint}"')))


def test_a_pinned_certificate(start_nginx: StartNginx, start_proxy: StartProxy, authority: Authority) -> None:
    behind = Behind(start_nginx, authority)
    assert ok(start_proxy(behind.trusting(f'fingerprint = "{behind.fingerprint}"')))
    refused(start_proxy(behind.config(f'fingerprint = "{"ab" * 32}"')), f"another fingerprint: {behind.fingerprint}")


def test_a_backend_that_asks_for_our_certificate(
    start_nginx: StartNginx, start_proxy: StartProxy, authority: Authority
) -> None:
    more = f"ssl_verify_client on; ssl_client_certificate {authority.file};"
    behind = Behind(start_nginx, authority, more=more)
    ours = authority.write("ours", "proxy.example", common_name="the proxy")
    proxy = start_proxy(behind.trusting(ours.lines))
    assert curl(f"http://127.0.0.1:{proxy.port}/client").body == b"CN=the proxy"
    assert curl(f"http://127.0.0.1:{start_proxy(behind.trusting()).port}/client").status == 400


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_sessions_are_resumed(
    start_nginx: StartNginx, start_proxy: StartProxy, authority: Authority, version: str
) -> None:
    behind = Behind(start_nginx, authority, more=f"ssl_protocols {version};")
    proxy = start_proxy(behind.trusting())
    answers = [curl(f"http://127.0.0.1:{proxy.port}/resumed").body.decode() for _ in range(4)]
    assert answers == [f"{version} {each}" for each in (".", "r", "r", "r")]
    total = ctl_json(proxy, "metrics", "get")["total"]
    assert (total["backend.tls.handshakes"], total["backend.tls.resumed"]) == (4, 3)


def test_long_bodies_both_ways_through_https(
    start_nginx: StartNginx, start_proxy: StartProxy, authority: Authority, tmp_path: Path
) -> None:
    behind = Behind(start_nginx, authority)
    listener = authority.write("default", "localhost").lines
    config = with_tls(https_proxy(behind.port, listener), f'ca = "{authority.file}"')
    proxy = start_proxy(config)
    sent, got = tmp_path / "sent", tmp_path / "got"
    sent.write_bytes(os.urandom(1 << 20) * (SIZE >> 20))
    url = f"https://localhost:{proxy.port}/long"
    run_curl("--cacert", str(authority.file), "--upload-file", str(sent), url)
    run_curl("--cacert", str(authority.file), "--output", str(got), url)
    hashes = {hashlib.sha256(path.read_bytes()).hexdigest() for path in (sent, behind.nginx.files / "long", got)}
    assert len(hashes) == 1


@contextlib.contextmanager
def secure_echo(authority: Authority) -> Iterator[int]:
    """The port of a WebSocket server within TLS."""
    files = authority.write("echo", "127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)

    def serve(sock: socket.socket) -> None:
        with context.wrap_socket(sock, server_side=True) as secured:
            serve_echo(secured)

    with serving(serve) as port:
        yield port


def test_a_websocket_also_while_its_worker_is_upgraded(start_proxy: StartProxy, authority: Authority) -> None:
    with secure_echo(authority) as port:
        proxy = start_proxy(with_tls(http_proxy(free_port(), port), f'ca = "{authority.file}"'))
        with open_websocket(proxy.port) as client:
            client.send_message("before")
            assert client.receive() == "before"
            ctl_json(proxy, "upgrade", "--worker", "0")
            client.send_message(b"x" * 100_000)
            assert client.receive() == b"x" * 100_000
            client.close(1000, "done")


def test_over_the_socket_and_no_key_is_shown(
    start_nginx: StartNginx, start_proxy: StartProxy, authority: Authority
) -> None:
    more = f"ssl_verify_client on; ssl_client_certificate {authority.file};"
    behind = Behind(start_nginx, authority, "api.internal", more=more)
    ours = authority.write("ours", "proxy.example")
    proxy = start_proxy(f"worker_count = 1\n{http_proxy(free_port(), behind.port)}")
    assert not ok(proxy)
    options = ("--tls-ca", str(authority.file), "--tls-certificate", str(ours.certificate), "--tls-key", str(ours.key))
    ctl_json(proxy, "cluster", "update", "--id", "web", "--tls-server-name", "api.internal", *options)
    assert ok(proxy)
    shown = json.dumps([ctl_json(proxy, *verb) for verb in (("cluster", "list"), ("state", "dump"), ("history",))])
    key = ours.key.read_text().splitlines()[1]
    assert key not in shown + proxy.output() + proxy.errors() + ctl(proxy, "cluster", "list").out
    (cluster,) = ctl_json(proxy, "cluster", "list")["clusters"]
    assert (cluster["tls"]["server_name"], cluster["tls"]["verify"]) == ("api.internal", True)
    saved = proxy.folder / "saved.json"
    ctl_json(proxy, "state", "save", "-f", str(saved))
    assert stat.S_IMODE(saved.stat().st_mode) == 0o600
    assert key in saved.read_text()
    ctl_json(proxy, "cluster", "update", "--id", "web", "--no-tls")
    assert not ok(proxy)
    ctl_json(proxy, "state", "load", "-f", str(saved))
    assert ok(proxy)


def test_wrong_options_are_told(start_proxy: StartProxy, authority: Authority) -> None:
    proxy = start_proxy(http_proxy(free_port(), free_port()))
    ours = authority.write("ours", "proxy.example")
    for options, why in (
        (("--tls-certificate", str(ours.certificate)), "tls-key: missing"),
        (("--tls-ca", str(ours.key)), "tls-ca: no certificate in PEM form: this is a private key"),
        (("--no-tls-verify", "--tls-ca", str(authority.file)), "tls-ca: found it and tls-verify = false"),
        (("--no-tls", "--tls-server-name", "a.example"), "tls-server-name: found it and tls = false"),
        (("--tls-server-name", "a b"), "tls-server-name: found 'a b'; want a host name or an IP address"),
    ):
        run = ctl(proxy, "cluster", "add", "--id", "x", *options)
        assert (run.code, why in run.err) == (1, True), run.err


def test_a_reload_reads_the_files_again(
    start_nginx: StartNginx, start_proxy: StartProxy, authority: Authority, tmp_path: Path
) -> None:
    behind = Behind(start_nginx, authority)
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(Authority(tmp_path / "other").file.read_bytes())
    proxy = start_proxy(behind.config(f'ca = "{bundle}"'))
    assert not ok(proxy)
    bundle.write_bytes(authority.file.read_bytes())
    ctl_json(proxy, "reload")
    wait_until(lambda: ok(proxy))
    bundle.write_text("garbage")
    run = ctl(proxy, "reload")
    assert re.search(r"clusters\.web\.tls\.ca: .*bundle\.pem: no certificate in PEM form", run.err)
    assert ok(proxy)
