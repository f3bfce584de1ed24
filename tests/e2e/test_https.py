"""https as curl, openssl, Python and WebSocket clients see it, before a real nginx."""

import contextlib
import hashlib
import os
import re
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from benchmarks.ports import free_port
from sozu_trio.config.load import parse_config
from tests.e2e.clients import PATIENCE, connect, curl, get, receive_all, run_curl
from tests.e2e.control import ctl_json
from tests.e2e.parts import Nginx, Proxy, StartProxy, require
from tests.e2e.secure import Authority, connect_tls, https_proxy, open_secure_websocket, s_client
from tests.e2e.servers import serving
from tests.e2e.websocket import serve_echo
from tests.tls.parts import key_of_kind, rsa_key

HELLO = b"hello over TLS\n"
SIZE = 100 << 20


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


@pytest.fixture
def proxy(nginx: Nginx, start_proxy: StartProxy, authority: Authority) -> Proxy:
    """Before `nginx`, with a certificate for localhost."""
    nginx.files.joinpath("hello").write_bytes(HELLO)
    return start_proxy(https_proxy(nginx.port, authority.write("default", "localhost", "127.0.0.1").lines))


def trusting(authority: Authority) -> tuple[str, str]:
    return "--cacert", str(authority.file)


def test_curl_gets_what_nginx_has(proxy: Proxy, authority: Authority) -> None:
    for host in ("localhost", "127.0.0.1"):
        answer = curl(f"https://{host}:{proxy.port}/hello", *trusting(authority))
        assert (answer.version, answer.status, answer.body) == ("HTTP/1.1", 200, HELLO)


def test_one_connection_serves_many_requests(proxy: Proxy, authority: Authority) -> None:
    url = f"https://localhost:{proxy.port}/hello"
    made = run_curl(*trusting(authority), "--write-out", "%{num_connects}\n", url, url, url).decode()
    assert re.findall(r"^\d$", made, re.MULTILINE) == ["1", "0", "0"]


@pytest.mark.parametrize("option", ["--tlsv1.3", "--tls-max=1.2"])
def test_long_bodies_both_ways(proxy: Proxy, authority: Authority, nginx: Nginx, tmp_path: Path, option: str) -> None:
    sent, got = tmp_path / "sent", tmp_path / "got"
    sent.write_bytes(os.urandom(1 << 20) * (SIZE >> 20))
    options = (*trusting(authority), *option.split("="))
    run_curl(*options, "--upload-file", str(sent), f"https://localhost:{proxy.port}/long")
    run_curl(*options, "--output", str(got), f"https://localhost:{proxy.port}/long")
    hashes = {hashlib.sha256(path.read_bytes()).hexdigest() for path in (sent, nginx.files / "long", got)}
    assert len(hashes) == 1


def test_versions_and_ciphers_also_as_they_change(proxy: Proxy) -> None:
    aes_128, aes_256 = "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384"
    for change, options, agreed in (
        ((), "-tls1_3", "TLSv1.3, Cipher is TLS_AES_256_GCM_SHA384"),
        ((), "-tls1_2", f"TLSv1.2, Cipher is {aes_256}"),
        ((), "-tls1_1", "Cipher is (NONE)"),
        (("--tls-cipher-list", aes_128), "-tls1_2", f"Cipher is {aes_128}"),
        (("--tls-cipher-list", "ECDHE-RSA-AES128-GCM-SHA256"), "-tls1_2", "Cipher is (NONE)"),
        (("--tls-versions", "TLS_V13"), "-tls1_2", "Cipher is (NONE)"),
        (("--tls-versions", "TLS_V12", "--tls-cipher-list", aes_128), "-tls1_3", "Cipher is (NONE)"),
    ):
        if change:
            ctl_json(proxy, "listener", "https", "update", "--address", f"127.0.0.1:{proxy.port}", *change)
        assert agreed in s_client(proxy.port, options), (change, options)


def test_keys_of_all_kinds(proxy: Proxy, authority: Authority) -> None:
    keys = {"rsa": rsa_key(), "large": rsa_key(4096), "ecdsa": key_of_kind("ecdsa"), "ed25519": key_of_kind("ed25519")}
    for kind, key in keys.items():
        files = authority.write(kind, f"{kind}.example", key=key)
        given = ("--certificate", str(files.certificate), "--key", str(files.key))
        ctl_json(proxy, "certificate", "add", "--address", f"127.0.0.1:{proxy.port}", *given)
        here = f"{kind}.example:{proxy.port}"
        to_us = ("--connect-to", f"{here}:127.0.0.1:{proxy.port}")
        assert curl(f"https://{here}/hello", *trusting(authority), *to_us).body == HELLO


@pytest.mark.parametrize("default", [True, False])
def test_the_name_asked_for_decides(nginx: Nginx, start_proxy: StartProxy, authority: Authority, default: bool) -> None:
    lines = authority.write("default", "localhost", common_name="default").lines if default else ""
    proxy = start_proxy(https_proxy(nginx.port, lines))
    address = f"127.0.0.1:{proxy.port}"
    for stem, name in (("exact", "a.example"), ("wild", "*.example")):
        files = authority.write(stem, name, common_name=stem)
        given = ("--certificate", str(files.certificate), "--key", str(files.key))
        ctl_json(proxy, "certificate", "add", "--address", address, *given)
    otherwise = "CN = default" if default else "unrecognized name"
    for options, expected in (
        (("-servername", "a.example"), "CN = exact"),
        (("-servername", "B.Example"), "CN = wild"),
        (("-servername", "a.b.example"), otherwise),
        (("-servername", "unknown.test"), otherwise),
        (("-noservername",), otherwise),
    ):
        assert expected in s_client(proxy.port, *options), options


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_sessions_are_resumed(
    nginx: Nginx, start_proxy: StartProxy, authority: Authority, tmp_path: Path, version: str
) -> None:
    files = authority.write("default", "localhost")
    proxy = start_proxy(https_proxy(nginx.port, files.lines, before="worker_count = 1"))
    kept, request = str(tmp_path / "session"), get(fields=["Connection: close"])
    first = s_client(proxy.port, version, "-sess_out", kept, "-ign_eof", given=request)
    assert "New, TLSv1" in first
    assert "Reused, TLSv1" in s_client(proxy.port, version, "-sess_in", kept, "-ign_eof", given=request)
    s_client(proxy.port, "-servername", "localhost", "-tls1_1")
    counted = ctl_json(proxy, "metrics", "get")["total"]
    assert (counted["tls.handshakes"], counted["tls.resumed"], counted["tls.default_cert_used"]) == (2, 1, 2)
    assert counted["tls.version.TLSv1_2" if version == "-tls1_2" else "tls.version.TLSv1_3"] == 2
    assert counted["tls.handshake.failed.version"] == 1


def test_another_host_is_misdirected(proxy: Proxy, authority: Authority) -> None:
    url = f"https://localhost:{proxy.port}/hello"
    assert curl(url, *trusting(authority), "--header", "Host: other.example").status == 421


def test_http_is_redirected_to_https_where_browsers_are_told_to_stay(
    nginx: Nginx, start_proxy: StartProxy, authority: Authority
) -> None:
    nginx.files.joinpath("hello").write_bytes(HELLO)
    http, https = free_port(), free_port()
    proxy = start_proxy(f"""
[[listeners]]
protocol = "http"
address = "127.0.0.1:{http}"
[[listeners]]
protocol = "https"
address = "127.0.0.1:{https}"
{authority.write("default", "localhost").lines}
[listeners.hsts]
enabled = true
[clusters.web]
protocol = "http"
https_redirect = true
https_redirect_port = {https}
frontends = [{{ address = "127.0.0.1:{http}", hostname = "*" }}, {{ address = "127.0.0.1:{https}", hostname = "*" }}]
backends = [{{ address = "127.0.0.1:{nginx.port}" }}]
""")
    url = f"http://localhost:{proxy.port}/hello"
    plain = curl(url)
    assert (plain.status, plain.fields["location"]) == (301, f"https://localhost:{https}/hello")
    assert "strict-transport-security" not in plain.fields
    followed = run_curl("--include", "--location", *trusting(authority), url)
    assert followed.endswith(HELLO)
    assert b"Strict-Transport-Security: max-age=31536000" in followed


def test_a_websocket_within_tls(start_proxy: StartProxy, authority: Authority) -> None:
    files = authority.write("default", "localhost")
    with serving(serve_echo) as backend:
        proxy = start_proxy(https_proxy(backend, files.lines))
        with open_secure_websocket(proxy.port, authority.context) as client:
            for message in ("hello", os.urandom(3 << 20), "again"):
                client.send_message(message)
                assert client.receive() == message
            assert client.ping(b"there?") == b"there?"
            client.close(1000, "done")
            assert client.receive() is None
            assert client.ended()


def test_an_answer_of_unknown_length_that_is_cut_is_no_whole_one(start_proxy: StartProxy, authority: Authority) -> None:
    """Nor is one that ends well taken for cut."""
    files = authority.write("default", "localhost")
    for cut in (False, True):

        def answer(sock: socket.socket, cut: bool = cut) -> None:
            sock.recv(65536)
            framing = b"Content-Length: 1000\r\n" if cut else b""
            sock.sendall(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\nsome")

        with serving(answer) as backend:
            proxy = start_proxy(https_proxy(backend, files.lines))
            with connect_tls(proxy.port, authority.context) as client:
                client.sendall(b"GET / HTTP/1.0\r\nHost: localhost\r\n\r\n")
                if cut:
                    with pytest.raises(OSError, match=r"reset|EOF"):
                        receive_all(client)
                else:
                    assert receive_all(client).endswith(b"some")


def test_clients_that_stop_in_the_handshake_delay_nobody_and_are_gone_in_time(
    nginx: Nginx, start_proxy: StartProxy, authority: Authority
) -> None:
    nginx.files.joinpath("hello").write_bytes(HELLO)
    files = authority.write("default", "localhost")
    proxy = start_proxy(https_proxy(nginx.port, f"{files.lines}\nrequest_timeout = 2"))
    stuck = [connect(proxy.port) for _ in range(1000)]
    for sock in stuck[::2]:
        sock.sendall(b"\x16\x03\x01\x02\x00\x01\x00")
    assert curl(f"https://localhost:{proxy.port}/hello", *trusting(authority), "--max-time", "2").body == HELLO
    for sock in stuck:
        with sock, contextlib.suppress(ConnectionResetError):  # Where connecting took so long that it spoke too late.
            assert sock.recv(1) == b""
    assert "Traceback" not in proxy.output()


def test_garbage_is_closed_without_an_answer(proxy: Proxy, authority: Authority) -> None:
    for data in (get(), os.urandom(1000), b"\x16\x03\x01\x00\x02hi", b"\x15\x03\x01\x00\x02\x02\x28"):
        with connect(proxy.port) as sock, contextlib.suppress(OSError):
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            assert b"HTTP" not in receive_all(sock)
    assert curl(f"https://localhost:{proxy.port}/hello", *trusting(authority)).body == HELLO
    assert "Traceback" not in proxy.output() + proxy.errors()


def test_many_clients_at_once(proxy: Proxy, authority: Authority) -> None:
    context, failures = authority.context, list[str]()

    def come() -> None:
        try:
            for _ in range(5):
                with connect_tls(proxy.port, context) as client:
                    client.sendall(get("/hello", ["Connection: close"]))
                    if not receive_all(client).endswith(HELLO):
                        failures.append("not all of it")
        except OSError as error:
            failures.append(str(error))

    threads = [threading.Thread(target=come) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert failures == []


def test_the_page_about_it_shows_what_works(nginx: Nginx, start_proxy: StartProxy, tmp_path: Path) -> None:
    nginx.files.joinpath("index.html").write_bytes(HELLO)
    page = (Path(__file__).parents[2] / "docs" / "https.md").read_text()
    ports = {"8080": str(free_port()), "8443": str(free_port()), "9001": str(nginx.port)}
    config, tls_to_backends = re.findall(r"^```toml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    (cluster,) = parse_config(config + tls_to_backends, "https.md", tmp_path).clusters
    assert cluster.tls is not None
    (openssl,) = re.findall(r"^    (openssl .*)", page, re.MULTILINE)
    (fetch,) = re.findall(r"^    curl (.*)", page, re.MULTILINE)
    for old, new in ports.items():
        config, fetch = config.replace(old, new), fetch.replace(old, new)
    subprocess.run([require("openssl"), *openssl.split()[1:]], cwd=tmp_path, check=True, capture_output=True)
    files = {name: f'"{tmp_path / name}"' for name in ("site.pem", "site.key")}
    for name, path in files.items():
        config = config.replace(f'"{name}"', path)
    start_proxy(config)
    options = [str(tmp_path / word) if word == "site.pem" else word for word in fetch.split()]
    assert run_curl(*options) == HELLO
