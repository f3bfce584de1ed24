"""curl to a real nginx through the proxy: the ordinary things clients do with HTTP/1."""

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.ports import free_port
from tests.e2e.clients import curl, run_curl
from tests.e2e.configurations import http_proxy
from tests.e2e.parts import Nginx, StartProxy

HELLO = b"hello from nginx\n"
LARGE = 2 << 20
"""Bytes beyond which curl asks with `Expect: 100-continue` before it sends (1 MiB), and nginx writes to a file."""


@pytest.fixture
def url(nginx: Nginx, start_proxy: StartProxy) -> str:
    """The proxy before `nginx`."""
    nginx.files.joinpath("hello").write_bytes(HELLO)
    return f"http://127.0.0.1:{start_proxy(http_proxy(free_port(), nginx.port)).port}"


def test_get(url: str) -> None:
    answer = curl(f"{url}/hello")
    assert (answer.version, answer.status, answer.body) == ("HTTP/1.1", 200, HELLO)
    assert answer.fields["server"].startswith("nginx")
    assert answer.fields["content-length"] == str(len(HELLO))
    assert len(answer.fields["sozu-id"]) == 26


def test_http_1_0(url: str) -> None:
    answer = curl(f"{url}/hello", "--http1.0")
    assert (answer.status, answer.body) == (200, HELLO)
    assert answer.fields["connection"] == "close"


def test_http_1_0_keeps_the_connection_where_asked(url: str) -> None:
    answer = curl(f"{url}/hello", "--http1.0", "--header", "Connection: keep-alive")
    assert (answer.status, answer.fields["connection"]) == (200, "keep-alive")


def test_head(url: str) -> None:
    answer = curl(f"{url}/hello", "--head")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.fields["content-length"] == str(len(HELLO))


def test_range(url: str) -> None:
    answer = curl(f"{url}/hello", "--range", "6-9")
    assert (answer.status, answer.body) == (206, b"from")
    assert answer.fields["content-range"] == f"bytes 6-9/{len(HELLO)}"


def test_not_modified(url: str) -> None:
    tag = curl(f"{url}/hello").fields["etag"]
    answer = curl(f"{url}/hello", "--header", f"If-None-Match: {tag}")
    assert (answer.status, answer.body) == (304, b"")


def test_not_found_is_the_backends_own_page(url: str) -> None:
    answer = curl(f"{url}/nothing")
    assert answer.status == 404
    assert b"nginx" in answer.body


def test_many_on_one_connection(url: str) -> None:
    report = run_curl("--write-out", "%{http_code} %{num_connects}\n", *["--output", "/dev/null", f"{url}/hello"] * 5)
    assert report.decode().split("\n") == ["200 1", *["200 0"] * 4, ""]


def test_upload_of_known_length(url: str, nginx: Nginx) -> None:
    answer = curl(f"{url}/stored", "--request", "PUT", "--data-binary", "@-", given=HELLO)
    assert answer.status == 201
    assert nginx.files.joinpath("stored").read_bytes() == HELLO


def test_chunked_upload(url: str, nginx: Nginx) -> None:
    # From a pipe the length is not known.
    answer = curl(f"{url}/stored", "--upload-file", "-", given=HELLO)
    assert answer.status == 201
    assert nginx.files.joinpath("stored").read_bytes() == HELLO


def test_empty_chunked_upload(url: str, nginx: Nginx) -> None:
    assert curl(f"{url}/stored", "--upload-file", "-").status == 201
    assert nginx.files.joinpath("stored").read_bytes() == b""


@pytest.mark.parametrize("source", ["file", "pipe"])
def test_expect_100_continue(url: str, nginx: Nginx, tmp_path: Path, source: str) -> None:
    body = bytes(range(256)) * (LARGE // 256)
    tmp_path.joinpath("body").write_bytes(body)
    given = ("--upload-file", str(tmp_path / "body")) if source == "file" else ("--upload-file", "-")
    # curl would send the body after a while of silence; here it must be asked for.
    answer = curl(f"{url}/stored", *given, "--header", "Expect: 100-continue", "--expect100-timeout", "25", given=body)
    assert (answer.status, answer.interim) == (201, [100])
    assert nginx.files.joinpath("stored").read_bytes() == body


def test_expectation_refused(start_nginx: Callable[[str], Nginx], start_proxy: StartProxy, tmp_path: Path) -> None:
    nginx = start_nginx("client_max_body_size 1k;")
    proxy = start_proxy(http_proxy(free_port(), nginx.port))
    tmp_path.joinpath("body").write_bytes(bytes(LARGE))
    options = ("--upload-file", str(tmp_path / "body"), "--header", "Expect: 100-continue")
    answer = curl(f"http://127.0.0.1:{proxy.port}/stored", *options, "--expect100-timeout", "25")
    assert (answer.status, answer.interim) == (413, [])


def test_backends_see_the_client(start_nginx: Callable[[str], Nginx], start_proxy: StartProxy) -> None:
    nginx = start_nginx('location / { return 200 "$http_x_forwarded_for $http_host $http_x_forwarded_proto"; }')
    proxy = start_proxy(http_proxy(free_port(), nginx.port))
    url = f"http://127.0.0.1:{proxy.port}/"
    answer = curl(url, "--header", "X-Forwarded-For: 192.0.2.66", "--header", "Host: shop.example")
    assert answer.body == b"127.0.0.1 shop.example http"


def test_no_backend(start_proxy: StartProxy) -> None:
    proxy = start_proxy(http_proxy(free_port(), free_port()))
    answer = curl(f"http://127.0.0.1:{proxy.port}/")
    assert (answer.status, answer.fields["retry-after"]) == (503, "60")
