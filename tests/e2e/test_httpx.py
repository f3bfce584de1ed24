"""httpx, as Python programs use it: it verifies the certificate, and its pool keeps connections for many requests."""

import hashlib
import os
import ssl
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.e2e.clients import PATIENCE
from tests.e2e.control import ctl_json
from tests.e2e.parts import Nginx, Proxy, StartProxy
from tests.e2e.secure import Authority, https_proxy


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


@pytest.fixture
def proxy(nginx: Nginx, start_proxy: StartProxy, authority: Authority) -> Proxy:
    nginx.files.joinpath("hello").write_bytes(b"hello")
    files = authority.write("default", "localhost", "127.0.0.1")
    return start_proxy(https_proxy(nginx.port, files.lines, before="worker_count = 1"))


def client_of(proxy: Proxy, context: ssl.SSLContext, host: str = "localhost") -> httpx.Client:
    url = f"https://{host}:{proxy.port}"
    return httpx.Client(base_url=url, verify=context, timeout=PATIENCE, trust_env=False)


def counted(proxy: Proxy) -> tuple[int, int]:
    """Handshakes and requests."""
    total = ctl_json(proxy, "metrics", "get")["total"]
    return total["tls.handshakes"], total["http.requests"]


def test_one_connection_of_the_pool_serves_many_requests(proxy: Proxy, authority: Authority) -> None:
    with client_of(proxy, authority.context) as client:
        for _ in range(20):
            answer = client.get("/hello")
            assert (answer.http_version, answer.status_code, answer.content) == ("HTTP/1.1", 200, b"hello")
        assert client.get("/absent").status_code == 404
        assert client.head("/hello").headers["content-length"] == "5"
    assert counted(proxy) == (1, 22)


def test_threads_share_a_pool(proxy: Proxy, authority: Authority) -> None:
    body = os.urandom(1 << 20)
    with client_of(proxy, authority.context) as client, ThreadPoolExecutor(8) as threads:

        def work(number: int) -> str:
            assert client.put(f"/{number}", content=body).status_code in (201, 204)
            return hashlib.sha256(client.get(f"/{number}").content).hexdigest()

        assert set(threads.map(work, range(24))) == {hashlib.sha256(body).hexdigest()}
    handshakes, requests = counted(proxy)
    assert handshakes <= 8
    assert requests == 48


def test_a_body_of_unknown_length_is_streamed_both_ways(proxy: Proxy, authority: Authority) -> None:
    pieces = [os.urandom(100_000) for _ in range(50)]
    with client_of(proxy, authority.context, "127.0.0.1") as client:
        assert client.put("/long", content=iter(pieces)).status_code == 201
        with client.stream("GET", "/long") as answer:
            assert b"".join(answer.iter_bytes()) == b"".join(pieces)


def test_who_does_not_trust_the_authority_or_asks_for_another_name_sends_nothing(
    proxy: Proxy, authority: Authority
) -> None:
    stranger = pytest.raises(httpx.ConnectError, match="unable to get local issuer certificate")
    with client_of(proxy, ssl.create_default_context()) as client, stranger:
        client.get("/hello")
    other = pytest.raises(httpx.ConnectError, match="Hostname mismatch")
    with client_of(proxy, authority.context) as client, other:
        client.get("/hello", extensions={"sni_hostname": "other.example"})
    assert counted(proxy)[1] == 0
