"""What makes two records the same thing, and that a State holds what was declared, in order."""

from dataclasses import replace

import pytest

from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import Backend, Cluster, HttpFrontend, PathType, Position, TcpFrontend
from sozu_trio.config.listeners import HttpListener, TcpListener
from sozu_trio.routing.state import EMPTY, State, declare, frontend_key, listener_key

WEB, MAIL = Address("127.0.0.1", 80), Address("127.0.0.1", 25)
FRONTEND = HttpFrontend(address=WEB, hostname="example.com", cluster_id="web")


def backend(cluster_id: str, backend_id: str) -> Backend:
    return Backend(cluster_id=cluster_id, backend_id=backend_id, address=Address("127.0.0.1", 9000))


def test_everything_declared_is_found_by_its_key_in_order() -> None:
    state = declare(
        listeners=[HttpListener(address=WEB), TcpListener(address=MAIL)],
        clusters=[Cluster(cluster_id="web", protocol="http"), Cluster(cluster_id="mail", protocol="tcp")],
        http_frontends=[replace(FRONTEND, path="/b"), FRONTEND, replace(FRONTEND, path="/a")],
        tcp_frontends=[TcpFrontend(address=MAIL, cluster_id="mail")],
        backends=[backend("web", "2"), backend("mail", "1"), backend("web", "1")],
    )
    state.check()
    assert list(state.listeners) == [("tcp", WEB), ("tcp", MAIL)]
    assert list(state.clusters) == ["web", "mail"]
    assert [frontend.path for frontend in state.http_frontends.values()] == ["/b", "", "/a"]
    assert state.tcp_frontends[MAIL].cluster_id == "mail"
    assert {cluster_id: list(backends) for cluster_id, backends in state.backends.items()} == {
        "web": ["2", "1"],
        "mail": ["1"],
    }


def test_nothing_declared() -> None:
    assert declare([], [], [], [], []) == EMPTY
    EMPTY.check()


@pytest.mark.parametrize(
    "same",
    [
        replace(FRONTEND, hostname="EXAMPLE.com."),
        replace(FRONTEND, position=Position.PRE),
        replace(FRONTEND, cluster_id=None, tags={"a": "b"}),
    ],
)
def test_one_rule(same: HttpFrontend) -> None:
    assert frontend_key(same) == frontend_key(FRONTEND)
    with pytest.raises(ValueError, match="http frontend declared twice"):
        declare([], [], [FRONTEND, same], [], [])


@pytest.mark.parametrize(
    "other",
    [
        replace(FRONTEND, address=MAIL),
        replace(FRONTEND, hostname="*.example.com"),
        replace(FRONTEND, path="/"),
        replace(FRONTEND, path_type=PathType.EQUALS),
        replace(FRONTEND, method="GET"),
    ],
)
def test_two_rules(other: HttpFrontend) -> None:
    assert frontend_key(other) != frontend_key(FRONTEND)


def test_a_regex_keeps_its_case() -> None:
    assert frontend_key(replace(FRONTEND, hostname=r"/\d/")) != frontend_key(replace(FRONTEND, hostname=r"/\D/"))


def test_nothing_is_declared_twice() -> None:
    cluster, http, tcp = Cluster(cluster_id="web", protocol="http"), HttpListener(address=WEB), TcpListener(address=WEB)
    frontend, server = TcpFrontend(address=WEB, cluster_id="web"), backend("web", "1")
    with pytest.raises(ValueError, match="listener declared twice"):
        declare([http, tcp], [], [], [], [])
    with pytest.raises(ValueError, match="cluster declared twice"):
        declare([], [cluster, cluster], [], [], [])
    with pytest.raises(ValueError, match="tcp frontend declared twice"):
        declare([], [], [], [frontend, frontend], [])
    with pytest.raises(ValueError, match="backend declared twice"):
        declare([], [], [], [], [server, server])


@pytest.mark.parametrize(
    "wrong",
    [
        replace(EMPTY, listeners={("tcp", MAIL): HttpListener(address=WEB)}),
        replace(EMPTY, clusters={"web": Cluster(cluster_id="mail", protocol="tcp")}),
        replace(EMPTY, http_frontends={frontend_key(FRONTEND): replace(FRONTEND, path="/")}),
        replace(EMPTY, tcp_frontends={WEB: TcpFrontend(address=MAIL, cluster_id="mail")}),
        replace(EMPTY, backends={"web": {}}),
        replace(EMPTY, backends={"web": {"1": backend("mail", "1")}}),
        replace(EMPTY, backends={"web": {"1": backend("web", "2")}}),
    ],
)
def test_check_notices_a_record_under_the_wrong_key(wrong: State) -> None:
    with pytest.raises(AssertionError):
        wrong.check()


def test_udp_may_share_a_port_later() -> None:
    assert listener_key(HttpListener(address=WEB)) == ("tcp", WEB)
