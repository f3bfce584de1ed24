"""Which listener, rule and cluster would take a request, which rules would not and why, and who could serve it; of a
request within TLS also what its client is shown, and whether the connection is for its host.
"""

import ipaddress
from collections.abc import Sequence
from typing import Any
from urllib.parse import SplitResult, urlsplit

from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import HttpFrontend
from sozu_trio.config.listeners import HttpListener, HttpsListener, Listener, protocol_of
from sozu_trio.config.report import Report, place
from sozu_trio.config.server_names import canonical_address, canonical_name
from sozu_trio.config.values import show
from sozu_trio.control.answering import Answer
from sozu_trio.errors import ChangeRefused, OperatorError, RequestRefused
from sozu_trio.main.bodies import ExplainBody
from sozu_trio.main.certifying import shown_at, shown_document
from sozu_trio.main.listing import live_backends, rule_document
from sozu_trio.main.parts import Call, Handlers, Parts
from sozu_trio.routing.explain import Asked, losers
from sozu_trio.routing.resolver import is_for
from sozu_trio.routing.state import State
from sozu_trio.wire.authority import host_of

EVERY_INTERFACE = {"0.0.0.0", "::"}
MOST_LOSERS = 100
BEGIN = "-----BEGIN "


async def _explain(parts: Parts, call: Call) -> Answer:
    body = call.read(ExplainBody)
    url, asked, named = _read(body)
    state = parts.transactions.state
    listener = _listener(state, url, body.listener)
    if listener is None:
        content: dict[str, Any] = {
            "listener": None,
            "outcome": "no listener",
            "rule": None,
            "cluster": None,
            "backends": [],
            "lost": [],
        }
        here = ", ".join(str(each.address) for each in state.listeners.values())
        other = f"say which with --listener ({here})" if here else "there is none at all"
        return Answer(message=f"no listener at port {_port(url)}: {other}", content=content)
    if isinstance(listener, HttpListener):
        return await _explain_http(parts, listener, asked, named)
    return await _explain_tcp(parts, listener)


def _read(body: ExplainBody) -> tuple[SplitResult, Asked, str | None]:
    """Where the request goes, the request, and the name that its client asks TLS for, None where it asks for none.

    Raises ChangeRefused with everything that is wrong with it.
    """
    report = Report()
    url = _read_url(body.url, report)
    host = named = None if url is None else _read_host("url", url.netloc, report)
    for index, header in enumerate(body.header):
        name, equals, value = header.partition("=")
        if not equals:
            report.wrong(place("header", index), f"found {show(header)}; want name=value")
        elif name.lower() == "host":
            host = _read_host(place("header", index), value, report)
    _check_client(body.from_, report)
    if url is None or host is None or named is None or report.problems:
        raise ChangeRefused(tuple(report.problems))
    return url, Asked(host=host, path=(url.path or "/").encode(), method=body.method.encode()), _server_name(named)


def _server_name(host: bytes) -> str | None:
    """A client that asks for an IP address names nobody in its handshake (RFC 6066 §3)."""
    name = canonical_name(host.decode("latin-1").strip("[]"))
    return None if name is None or canonical_address(name) is not None else name


def _read_url(text: str, report: Report) -> SplitResult | None:
    try:
        url = urlsplit(text if "://" in text else f"http://{text}")
        if url.scheme in ("http", "https", "tcp") and url.netloc and url.port != 0:
            return url
    except ValueError:
        pass
    report.wrong("url", f"found {show(text)}; want one such as http://api.example/v1")
    return None


def _read_host(where: str, authority: str, report: Report) -> bytes | None:
    try:
        return host_of(authority.encode("ascii" if authority.isascii() else "idna"))
    except (RequestRefused, ValueError) as error:
        report.wrong(where, f"found {show(authority)}: {error}")
        return None


def _check_client(address: str | None, report: Report) -> None:
    """No rule asks yet where a client is; a slip is told all the same."""
    try:
        ipaddress.ip_address(address or "::")
    except ValueError:
        report.wrong("from", f"found {show(address)}; want an IP address, such as 192.0.2.7")


def _port(url: SplitResult) -> int:
    return url.port or (443 if url.scheme == "https" else 80)


def _listener(state: State, url: SplitResult, said: Address | None) -> Listener | None:
    """The listener a client of `url` would reach: the one of its port, where there are several the one of its host.

    A URL without a port asks the only listener there is of its kind, for somebody else may listen at the usual port
    and send all of it there.
    """
    if said is not None:
        found = state.listeners.get(("tcp", said))
        if found is None:
            raise OperatorError(f"listener: there is none at {said}")
        return found
    listeners = list(state.listeners.values())
    at_port = [each for each in listeners if _port(url) in _ports(each)]
    if not at_port and url.port is None:
        speaks = {protocol_of(each) for each in listeners}
        # Where none speaks TLS, somebody else does so before us.
        kind = url.scheme if url.scheme == "tcp" or url.scheme in speaks else "http"
        of_kind = [each for each in listeners if protocol_of(each) == kind]
        return of_kind[0] if len(of_kind) == 1 else None
    if len(at_port) < 2:
        return at_port[0] if at_port else None
    by_host = [each for each in at_port if each.address.host == url.hostname]
    rest = [each for each in at_port if each.address.host in EVERY_INTERFACE]
    chosen = by_host or rest
    if len(chosen) != 1:
        several = ", ".join(str(each.address) for each in at_port)
        raise OperatorError(f"several listeners have port {_port(url)}: say which with --listener ({several})")
    return chosen[0]


def _ports(listener: Listener) -> set[int]:
    public = listener.public_address
    return {listener.address.port} if public is None else {listener.address.port, public.port}


async def _explain_http(parts: Parts, listener: HttpListener, asked: Asked, named: str | None) -> Answer:
    state = parts.transactions.state
    query = {
        "address": str(listener.address),
        "host": asked.host.decode("ascii", "backslashreplace"),
        "path": asked.path.decode("latin-1"),
        "method": asked.method.decode("latin-1"),
    }
    looked = await parts.supervisor.look("route", query)
    if not looked:
        raise OperatorError("no worker is left to ask")
    route = looked[min(looked)]
    rules = [rule for rule in state.http_frontends.values() if rule.address == listener.address]
    ended = _ended_by_tls(state, listener, asked, named)
    if ended is not None:
        # No rule is looked at then.
        route = {**route, "outcome": ended, "frontend": None, "cluster": None}
    winner = _winner(rules, route["frontend"])
    lost = [] if ended is not None else list(losers(rules, winner, asked))
    content = {
        "listener": _named(listener),
        "outcome": route["outcome"],
        "rule": None if winner is None else rule_document(state, winner),
        "cluster": route["cluster"],
        "backends": await _candidates(parts, route["cluster"], "http"),
        "lost": [{"rule": rule_document(state, each.frontend), "why": each.why} for each in lost[:MOST_LOSERS]],
        "generation": route["generation"],
    }
    if isinstance(listener, HttpsListener):
        content["shown"] = shown_document(state, listener.address, named)
        content["client_auth"] = listener.tls.client_auth
    message = _verdict(listener, route, len(rules))
    return Answer(message=message if ended == "refused" else message + _asked_of_clients(listener), content=content)


def _asked_of_clients(listener: HttpListener) -> str:
    if not isinstance(listener, HttpsListener) or listener.tls.client_auth == "none":
        return ""
    number = listener.tls.client_ca.count(BEGIN)
    authorities = "1 authority" if number == 1 else f"{number} authorities"
    return f"; client certificate {listener.tls.client_auth} ({authorities})"


def _ended_by_tls(state: State, listener: HttpListener, asked: Asked, named: str | None) -> str | None:
    """The outcome where it is none of the routes', because there is nothing to show to the client, or the connection
    is not for the host it asks for.
    """
    if not isinstance(listener, HttpsListener):
        return None
    shown = shown_at(state, listener.address, named)
    if shown is None:
        return "refused"
    if listener.strict_sni_binding and not is_for(shown, named, asked.host):
        return "misdirected"
    return None


def _winner(rules: Sequence[HttpFrontend], found: dict[str, Any] | None) -> HttpFrontend | None:
    """The rule of State that the worker says has won."""
    if found is None:
        return None
    for rule in rules:
        key = (rule.hostname, rule.path_type.value, rule.path, rule.method)
        if key == (found["hostname"], found["path_type"], found["path"], found["method"]):
            return rule
    return None


def _named(listener: Listener) -> dict[str, Any]:
    return {"protocol": protocol_of(listener), "address": str(listener.address), "active": listener.active}


def _verdict(listener: Listener, route: dict[str, Any], rules: int) -> str:
    idle = "" if listener.active else " (not active: nobody gets in)"
    match route["outcome"]:
        case "forward":
            return f"listener {listener.address}{idle}: forwarded to cluster {route['cluster']}"
        case "redirect":
            return f"listener {listener.address}{idle}: redirected to https with 301"
        case "deny":
            return f"listener {listener.address}{idle}: denied with 401"
        case "refused":
            return f"listener {listener.address}{idle}: no handshake, for there is no certificate to show"
        case "misdirected":
            return f"listener {listener.address}{idle}: 421, the connection is not for this host (strict_sni_binding)"
        case _:
            return f"listener {listener.address}{idle}: 404, none of {rules} rules matches"


async def _explain_tcp(parts: Parts, listener: Listener) -> Answer:
    frontend = parts.transactions.state.tcp_frontends.get(listener.address)
    cluster = None if frontend is None else frontend.cluster_id
    content = {
        "listener": _named(listener),
        "outcome": "not found" if cluster is None else "forward",
        "rule": None,
        "cluster": cluster,
        "backends": await _candidates(parts, cluster, "tcp"),
        "lost": [],
    }
    where = "closed: no frontend" if cluster is None else f"relayed to cluster {cluster}"
    return Answer(message=f"listener {listener.address}: {where}", content=content)


async def _candidates(parts: Parts, cluster_id: str | None, speaks: str) -> list[dict[str, Any]]:
    """The cluster's backends, with whether one could be chosen now by any worker, and why not. `speaks`: of the
    listener.
    """
    if cluster_id is None:
        return []
    backends = parts.transactions.state.backends.get(cluster_id, {}).values()
    cluster = parts.transactions.state.clusters.get(cluster_id)
    protocol = speaks if cluster is None or cluster.protocol is None else cluster.protocol
    live = await live_backends(parts, cluster_id)
    ready = {}
    for each in backends:
        workers = live.get((cluster_id, each.backend_id, str(each.address)), [])
        ready[each.backend_id] = not workers or any(not worker["retry_in"] for worker in workers)
    primaries = any(ready[each.backend_id] for each in backends if not each.backup)
    documents = []
    for each in backends:
        why = ""
        if protocol != speaks:
            why = f"cluster {cluster_id} speaks {protocol}, and this listener {speaks}"
        elif not ready[each.backend_id]:
            why = "connections to it failed, so it is left alone for a while"
        elif each.backup and primaries:
            why = "a backup, while a primary can be had"
        documents.append(
            {
                "backend_id": each.backend_id,
                "address": str(each.address),
                "weight": each.weight,
                "backup": each.backup,
                "candidate": not why,
                "why": why,
            }
        )
    return documents


HANDLERS: Handlers = {"explain": _explain}
