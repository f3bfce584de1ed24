"""wrk through the proxy: seconds of load without an error, also when a backend is killed under it."""

import time
from collections.abc import Callable

from benchmarks.ports import free_port
from tests.e2e.clients import read_wrk, start_wrk, wrk
from tests.e2e.configurations import http_proxy
from tests.e2e.parts import Nginx, StartProxy

SAY = 'location / {{ return 200 "{}"; }}'
"""nginx lines for an answer that leaves in one write: one cut in the middle could not be replaced unseen."""


def test_load_without_an_error(nginx: Nginx, start_proxy: StartProxy) -> None:
    nginx.files.joinpath("hello").write_text("hello")
    proxy = start_proxy(http_proxy(free_port(), nginx.port))
    load = wrk(f"http://127.0.0.1:{proxy.port}/hello", connections=32, seconds=5)
    assert load.errors == []
    assert load.requests > 100


def test_killed_backend_is_not_missed(start_nginx: Callable[[str], Nginx], start_proxy: StartProxy) -> None:
    staying, leaving = start_nginx(SAY.format("staying")), start_nginx(SAY.format("leaving"))
    proxy = start_proxy(http_proxy(free_port(), staying.port, leaving.port))
    loading = start_wrk(f"http://127.0.0.1:{proxy.port}/", connections=16, seconds=4)
    time.sleep(1.5)  # in the middle of the load; nothing hangs on when exactly
    leaving.process.kill()
    load = read_wrk(loading, 4)
    assert load.errors == []
    assert f"127.0.0.1:{leaving.port} " in proxy.output()
