"""One rule has one spelling, wherever it is read."""

import pytest

from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import HttpFrontend, PathType, TcpFrontend
from sozu_trio.routing.spoken import spelled, spoken, spoken_frontend
from sozu_trio.routing.state import frontend_key

WEB = Address("127.0.0.1", 80)


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (HttpFrontend(address=WEB, hostname="A.example."), "a.example"),
        (HttpFrontend(address=WEB, hostname="*", path="/api", method="GET"), "GET */api"),
        (HttpFrontend(address=WEB, hostname="a", path="/api", path_type=PathType.EQUALS), "a/api (equals)"),
        (HttpFrontend(address=WEB, hostname="a", path="/v[1-9]", path_type=PathType.REGEX), "a/v[1-9] (regex)"),
    ],
)
def test_rules(rule: HttpFrontend, said: str) -> None:
    key = frontend_key(rule)
    assert spoken(key) == said
    assert spelled(key.hostname, key.path_type.value, key.path, key.method or "") == said
    assert spoken_frontend(rule) == f"http frontend {said} at 127.0.0.1:80"


def test_a_tcp_frontend() -> None:
    assert spoken_frontend(TcpFrontend(address=WEB, cluster_id="a")) == "tcp frontend at 127.0.0.1:80"
