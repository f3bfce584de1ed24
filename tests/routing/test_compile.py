"""A State compiled: what each address leads to."""

from dataclasses import replace

import pytest

from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import Backend, Cluster, HttpFrontend, PathType, Position, TcpFrontend
from sozu_trio.config.listeners import HttpListener, Listener, TcpListener
from sozu_trio.routing.compile import compile_table, recompile
from sozu_trio.routing.decisions import ClusterEntry
from sozu_trio.routing.delta import diff
from sozu_trio.routing.slices import finish
from sozu_trio.routing.state import EMPTY, ListenerKey, State, declare
from sozu_trio.routing.table import NO_TABLE, Outcome, Table

WEB, MAIL, IDLE_WEB, IDLE_MAIL = (Address("127.0.0.1", port) for port in (80, 25, 81, 26))
API, DENIED = (
    HttpFrontend(address=WEB, hostname="example.com", path="/api", cluster_id="api", tags={"team": "blue"}),
    HttpFrontend(address=WEB, hostname="example.com"),
)
BACKENDS = [
    Backend(cluster_id="api", backend_id="api-1", address=Address("127.0.0.1", 9001)),
    Backend(cluster_id="api", backend_id="api-0", address=Address("127.0.0.1", 9000)),
    Backend(cluster_id="gone", backend_id="gone-0", address=Address("127.0.0.1", 9009)),
]
STATE = declare(
    listeners=[
        HttpListener(address=WEB),
        HttpListener(address=IDLE_WEB),
        TcpListener(address=MAIL),
        TcpListener(address=IDLE_MAIL),
    ],
    clusters=[Cluster(cluster_id="api", protocol="http"), Cluster(cluster_id="mail", protocol="tcp")],
    http_frontends=[DENIED, API],
    tcp_frontends=[TcpFrontend(address=MAIL, cluster_id="mail", tags={"team": "red"})],
    backends=BACKENDS,
)


@pytest.fixture
def table() -> Table:
    return compile_table(STATE, 7)


def test_a_frontend_forwards_to_its_cluster(table: Table) -> None:
    decision = table.http[WEB].find(b"example.com", b"/api/users", b"GET")
    assert (decision.outcome, decision.cluster, decision.frontend) == (Outcome.FORWARD, table.clusters["api"], API)
    assert decision.tags == {"team": "blue"}


def test_a_frontend_without_cluster_denies(table: Table) -> None:
    decision = table.http[WEB].find(b"example.com", b"/", b"GET")
    assert (decision.outcome, decision.cluster, decision.frontend) == (Outcome.DENY, None, DENIED)


def test_a_tcp_frontend_forwards_to_its_cluster(table: Table) -> None:
    decision = table.tcp[MAIL]
    assert (decision.outcome, decision.cluster, decision.frontend) == (Outcome.FORWARD, table.clusters["mail"], None)
    assert decision.tags == {"team": "red"}


def test_a_listener_without_frontends_leads_nowhere(table: Table) -> None:
    assert table.http[IDLE_WEB].find(b"example.com", b"/", b"GET").outcome is Outcome.NOT_FOUND
    assert table.tcp[IDLE_MAIL].outcome is Outcome.NOT_FOUND
    assert (set(table.http), set(table.tcp)) == ({WEB, IDLE_WEB}, {MAIL, IDLE_MAIL})


def test_clusters_have_their_backends_as_declared(table: Table) -> None:
    assert [backend.backend_id for backend in table.clusters["api"].backends] == ["api-1", "api-0"]
    assert table.clusters["mail"].backends == ()
    assert "gone" not in table.clusters


def test_what_is_not_compiled_is_carried_over(table: Table) -> None:
    assert table.generation == 7
    assert table.listeners is STATE.listeners


def test_frontends_without_a_listener_of_their_kind_are_left_out() -> None:
    assert compile_table(replace(STATE, listeners={}), 1).http == {}
    assert compile_table(replace(STATE, listeners={}), 1).tcp == {}
    swapped: dict[ListenerKey, Listener] = {
        ("tcp", WEB): TcpListener(address=WEB),
        ("tcp", MAIL): HttpListener(address=MAIL),
    }
    table = compile_table(replace(STATE, listeners=swapped), 1)
    assert table.tcp[WEB].outcome is Outcome.NOT_FOUND
    assert table.http[MAIL].find(b"example.com", b"/", b"GET").outcome is Outcome.NOT_FOUND
    assert (set(table.http), set(table.tcp)) == ({MAIL}, {WEB})


def test_a_cluster_that_is_not_declared_has_no_backends() -> None:
    table = compile_table(replace(STATE, clusters={}), 1)
    entry = ClusterEntry(Cluster(cluster_id="api"), ())
    assert table.clusters == {}
    assert table.http[WEB].find(b"example.com", b"/api", b"GET").cluster == entry
    assert table.tcp[MAIL].outcome is Outcome.FORWARD
    assert table.tcp[MAIL].cluster == ClusterEntry(Cluster(cluster_id="mail"), ())


@pytest.mark.parametrize("position", list(Position))
def test_what_cannot_be_read_is_refused(position: Position) -> None:
    bad = replace(API, path="/a(", path_type=PathType.REGEX, position=position)
    with pytest.raises(ValueError, match=rf"the rule for 'example.com' at {WEB}: '/a\(' is not a regex"):
        compile_table(with_frontends([bad]), 1)


def with_frontends(frontends: list[HttpFrontend]) -> State:
    return declare(STATE.listeners.values(), STATE.clusters.values(), frontends, [], [])


def test_the_empty_state() -> None:
    assert compile_table(EMPTY, 0) == NO_TABLE == Table(0, {}, {}, {}, {})


def test_what_does_not_speak_alike_is_dormant_until_it_does() -> None:
    """As after a start with a file that made an http cluster a tcp one, to which rules from the socket lead."""
    crosswise = {
        "api": Cluster(cluster_id="api", protocol="tcp"),
        "mail": Cluster(cluster_id="mail", protocol="http"),
    }
    asleep, awake = replace(STATE, clusters=crosswise), STATE
    table = compile_table(asleep, 1)
    assert table.http[WEB].find(b"example.com", b"/api", b"GET").cluster == ClusterEntry(Cluster(cluster_id="api"), ())
    assert table.tcp[MAIL].cluster == ClusterEntry(Cluster(cluster_id="mail"), ())
    table = finish(recompile(table, awake, diff(asleep, awake), 2))
    assert table.http[WEB].find(b"example.com", b"/api", b"GET").cluster is table.clusters["api"]
    assert table.tcp[MAIL].cluster is table.clusters["mail"]
    slept = finish(recompile(table, asleep, diff(awake, asleep), 3))
    assert slept.http[WEB].find(b"example.com", b"/api", b"GET").cluster == ClusterEntry(Cluster(cluster_id="api"), ())
