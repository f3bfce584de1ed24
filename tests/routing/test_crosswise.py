"""Frontends that do not speak as their listener or their cluster does, found in a whole State."""

from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import Cluster, HttpFrontend, TcpFrontend
from sozu_trio.config.listeners import HttpListener, TcpListener
from sozu_trio.routing.crosswise import crosswise
from sozu_trio.routing.spoken import spoken_frontend
from sozu_trio.routing.state import State, declare

WEB, MAIL, NOWHERE = Address("127.0.0.1", 80), Address("127.0.0.1", 25), Address("127.0.0.1", 9)
CLUSTERS = [Cluster(cluster_id="http", protocol="http"), Cluster(cluster_id="tcp", protocol="tcp")]
EITHER = Cluster(cluster_id="either")


def state(*frontends: HttpFrontend | TcpFrontend) -> State:
    return declare(
        [HttpListener(address=WEB), TcpListener(address=MAIL)],
        [*CLUSTERS, EITHER],
        [each for each in frontends if isinstance(each, HttpFrontend)],
        [each for each in frontends if isinstance(each, TcpFrontend)],
        [],
    )


def rule(address: Address, cluster_id: str | None) -> HttpFrontend:
    return HttpFrontend(address=address, hostname=f"{cluster_id}.example".lower(), cluster_id=cluster_id)


def test_what_fits_what_denies_and_what_waits() -> None:
    rules = [rule(WEB, cluster_id) for cluster_id in ("http", "either", "not there", None)]
    assert list(crosswise(state(*(rules[:2]), rules[3], TcpFrontend(address=MAIL, cluster_id="tcp")))) == []
    waiting = HttpFrontend(address=NOWHERE, hostname="a", cluster_id="gone")
    assert list(crosswise(state(waiting, TcpFrontend(address=MAIL, cluster_id="either")))) == []
    assert list(crosswise(state(TcpFrontend(address=NOWHERE, cluster_id="gone")))) == []


def test_each_thing_that_does_not_fit_is_told() -> None:
    found = crosswise(
        state(rule(WEB, "tcp"), rule(MAIL, "tcp"), rule(MAIL, None), TcpFrontend(address=WEB, cluster_id="http"))
    )
    assert [(spoken_frontend(each.frontend), each.what) for each in found] == [
        ("http frontend tcp.example at 127.0.0.1:80", "found 'tcp', a tcp cluster; want one that speaks http"),
        ("http frontend tcp.example at 127.0.0.1:25", "found a tcp listener there; want one that speaks http"),
        ("http frontend tcp.example at 127.0.0.1:25", "found 'tcp', a tcp cluster; want one that speaks http"),
        ("http frontend none.example at 127.0.0.1:25", "found a tcp listener there; want one that speaks http"),
        ("tcp frontend at 127.0.0.1:80", "found an http listener there; want one that speaks tcp"),
        ("tcp frontend at 127.0.0.1:80", "found 'http', an http cluster; want one that speaks tcp"),
    ]
