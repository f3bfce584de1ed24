"""Fixtures that start real programs and end them in bounded time: the proxy, nginx, Redis.

    def test_hello(nginx: Nginx, start_proxy: StartProxy) -> None:
        nginx.files.joinpath("hello").write_text("hello")
        proxy = start_proxy(http_proxy(free_port(), nginx.port))

A proxy that died, or does not end with exit code 0 on SIGTERM, fails its test. What ran longer than its test is killed.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from tests.e2e.parts import Nginx, Proxy, Redis, StartProxy
from tests.e2e.upgrading import Copy


@pytest.fixture
def start_proxy(tmp_path: Path) -> Iterator[StartProxy]:
    """Start `python -m sozu_trio serve` with a configuration's text, as often as wanted."""
    numbers = itertools.count()
    with contextlib.ExitStack() as started:

        def start(config: str, *, environment: Mapping[str, str] | None = None, prefix: Sequence[str] = ()) -> Proxy:
            folder = tmp_path / f"proxy-{next(numbers)}"
            proxy = Proxy(config, folder, environment=environment, prefix=prefix)
            started.callback(proxy.close)
            return proxy

        yield start


@pytest.fixture
def start_nginx(tmp_path: Path) -> Iterator[Callable[[str], Nginx]]:
    """Start nginx with lines for its server block, as often as wanted."""
    numbers = itertools.count()
    with contextlib.ExitStack() as started:

        def start(server: str) -> Nginx:
            nginx = Nginx(tmp_path / f"nginx-{next(numbers)}", server)
            started.callback(nginx.close)
            return nginx

        yield start


@pytest.fixture
def nginx(start_nginx: Callable[[str], Nginx]) -> Nginx:
    """One that serves, and takes by PUT, the files of its folder `files`."""
    return start_nginx("")


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[Redis]:
    with contextlib.closing(Redis(tmp_path / "redis")) as redis:
        yield redis


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    """Of the program's code, to be upgraded to."""
    return Copy(tmp_path / "code")


@pytest.fixture
def page(nginx: Nginx) -> Nginx:
    """nginx with a page."""
    nginx.files.joinpath("page").write_text("page")
    return nginx
