"""One request of Sōzu's saved state → one change as ctl words it.

Enumerations are numbers. An IPv4 address is an integer of 32 bits (2130706433 = 127.0.0.1), an IPv6 address one of 128
bits, sixteen octets, or its two halves as `high` and `low` (or `high_bits` and `low_bits`). A member that says nothing
here, or no more than Sōzu's default, is passed over; any other that has no counterpart is told, and the rest counts.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from ipaddress import IPv4Address, IPv6Address
from typing import Any, Final

from sozu_trio.config import schema, unbuilt
from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import LoadMetric
from sozu_trio.config.report import Report
from sozu_trio.config.secrets import REDACTED, SECRETS
from sozu_trio.config.values import show

POLICIES: Final = ("ROUND_ROBIN", "RANDOM", "LEAST_LOADED", "POWER_OF_TWO", "HRW", "MAGLEV")
METRICS: Final = tuple(metric.value for metric in LoadMetric)
POSITIONS: Final = ("PRE", "POST", "TREE")
"""Not in the order in which they are tried."""
PATHS: Final = ("path-prefix", "path-regex", "path-equals")
PROXY_PROTOCOLS: Final = ("expect", "send", "relay")
"""What a cluster does with the PROXY header; whether it expects one, its listener says here."""
LISTENERS: Final = ("http", "https", "tcp", "udp")
TLS_VERSIONS: Final = {4: "TLS_V12", 5: "TLS_V13"}
IDLE_TLS: Final = ("certificate", "certificate_chain", "key", "cipher_suites", "signature_algorithms")
"""Members of an https listener that do nothing in Sōzu."""

Body = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class SozuChange:
    """One change: `body` is yet to be judged by the verb's own table."""

    verb: str
    body: Mapping[str, Any]
    where: str
    """`records[3]`, from 0."""


def translate(document: Any, where: str, unknown: Report) -> SozuChange:
    """The change that a request asks for. `unknown` is told what of it is lost.

    Raises ValueError for a record of which nothing can be made.
    """
    return _Request(document, where, unknown).change()


class _Request:
    """One record while it is read: what has been taken out of its body is understood."""

    def __init__(self, document: Any, where: str, unknown: Report) -> None:
        """Raises ValueError for what is no request."""
        match document:
            case {"content": {"request_type": {**request}}} if len(request) == 1:
                ((kind, body),) = request.items()
            case _:
                raise ValueError('no request of Sōzu\'s: want {"id", "content": {"request_type": …}}')
        self.kind = str(kind)
        if not isinstance(body, dict):
            raise ValueError(f"{self.kind}: found {show(body)}; want an object")
        self._body = {name: value for name, value in body.items() if value is not None}
        self._where = where
        self._unknown = unknown

    def change(self) -> SozuChange:
        if self.kind not in _TRANSLATIONS:
            refused = _UNBUILT.get(self.kind)
            raise ValueError(f"{self.kind}: {refused or 'no part of a saved state'}")
        verb, body = _TRANSLATIONS[self.kind](self)
        said = {name: value for name, value in body.items() if value is not None and value != {}}
        return SozuChange(verb=verb, body=said, where=self._where)

    def take(self, name: str) -> Any:
        return self._body.pop(name, None)

    def address(self, name: str) -> str | None:
        """Raises ValueError for an address that is none."""
        value = self.take(name)
        try:
            return None if value is None else str(_address(value))
        except ValueError as error:
            raise ValueError(f"{self.kind}: {name}: {error}") from error

    def choice(self, name: str, words: Sequence[str], rules: Mapping[str, unbuilt.Rule] | None = None) -> str | None:
        """The word that a number stands for; what is not built is listed and left out."""
        value = self.take(name)
        if value is None:
            return None
        if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < len(words):
            self._note(name, f"found {show(value)}; want a number from 0 to {len(words) - 1}")
            return None
        rule = (rules or {}).get(name)
        if isinstance(rule, unbuilt.Refused) and words[value] in rule.only:
            self._note(name, f"found {words[value]}: {rule}")
            return None
        return words[value]

    def pass_over(self, table: type, rules: Mapping[str, unbuilt.Rule], idle: Collection[str] = ()) -> None:
        """Look at what nobody took: list what has a meaning that is lost."""
        defaults = {each.name: each.default for each in fields(table)}
        for name, value in self._body.items():
            rule = rules.get(name)
            if not value or value == defaults.get(name) or name in idle or isinstance(rule, str):
                continue
            found = REDACTED if name in SECRETS else show(value)
            self._note(name, f"found {found}: {rule or 'not understood'}")

    def _note(self, name: str, what: str) -> None:
        self._unknown.wrong(self._where, f"{self.kind}: {name}: {what}")


def _address(value: Any) -> Address:
    match value:
        case {"ip": {"inner": {**inner}}, "port": int(port)} if len(inner) == 1 and 0 <= port <= 65535:
            ((family, number),) = inner.items()
            if family in ("V4", "v4") and isinstance(number, int):
                return Address(str(IPv4Address(number)), port)
            if family in ("V6", "v6"):
                return Address(str(IPv6Address(_ipv6(number))), port)
    raise ValueError(f'found {show(value)}; want {{"ip": {{"inner": {{"V4": …}}}}, "port": …}}')


def _ipv6(value: Any) -> int:
    match value:
        case int():
            return value
        case [*octets] if len(octets) == 16 and all(isinstance(octet, int) for octet in octets):
            return int.from_bytes(bytes(octets))
        case {"high": int(high), "low": int(low)} | {"high_bits": int(high), "low_bits": int(low)}:
            if 0 <= low < 1 << 64:
                return (high << 64) + low
    raise ValueError(f"found {show(value)}; want the 128 bits of an IPv6 address")


def _listener(protocol: str, request: _Request) -> tuple[str, Body]:
    """Whether it is active is said by a record of its own."""
    body = {
        "address": request.address("address"),
        "public-address": request.address("public_address"),
        "expect-proxy": request.take("expect_proxy"),
        "front-timeout": request.take("front_timeout"),
        "back-timeout": request.take("back_timeout"),
        "connect-timeout": request.take("connect_timeout"),
    }
    if protocol in ("http", "https"):
        for name in ("request_timeout", "sozu_id_header", "elide_x_real_ip", "send_x_real_ip"):
            body[name.replace("_", "-")] = request.take(name)
    if protocol == "https":
        body |= _tls(request) | _hsts(request)
    request.take("active")
    rules = {**unbuilt.LISTENER, "http_answers": unbuilt.LISTENER["answers"]}
    # A listener's own certificate only stands in for those of frontends, which have records of their own.
    idle = (*unbuilt.IDLE_ON_LISTENER[protocol], "sticky_name", *IDLE_TLS)
    request.pass_over(schema.ListenerTable, rules, idle)
    return f"listener {protocol} add", body


def _tls(request: _Request) -> Body:
    """Versions are numbers; older ones than TLS 1.2 do not exist in Sōzu either."""
    versions = request.take("versions")
    body = {
        "tls-versions": None if not versions else [TLS_VERSIONS.get(each, str(each)) for each in versions],
        "tls-cipher-list": request.take("cipher_list") or None,
        "groups-list": request.take("groups_list") or None,
        "alpn-protocols": request.take("alpn_protocols") or None,
    }
    for name in ("send_tls13_tickets", "strict_sni_binding", "disable_http11"):
        body[name.replace("_", "-")] = request.take(name)
    return body


def _hsts(request: _Request) -> Body:
    match request.take("hsts"):
        case {"enabled": bool(enabled), **rest}:
            names = ("max_age", "include_subdomains", "preload", "force_replace_backend")
            body = {f"hsts-{name.replace('_', '-')}": rest.get(name) for name in names}
            return {**body, "hsts-disabled": not enabled}
        case _:
            return {}


def _certificate(request: _Request) -> tuple[str, Body]:
    """What Sōzu has read out of it, names and the like, is read anew."""
    match request.take("certificate"):
        case {"certificate": str(certificate), "key": str(key), **rest}:
            chain = rest.get("certificate_chain") or []
        case _:
            raise ValueError(f"{request.kind}: certificate: want an object with certificate and key, both PEM")
    if not isinstance(chain, list) or not all(isinstance(each, str) for each in chain):
        raise ValueError(f"{request.kind}: certificate.certificate_chain: want an array of PEM texts")
    return "certificate add", {
        "address": request.address("address"),
        "certificate": certificate,
        "certificate-chain": "\n".join(chain) or None,
        "key": key,
    }


def _activate(request: _Request) -> tuple[str, Body]:
    protocol = request.choice("proxy", LISTENERS)
    if protocol not in ("http", "https", "tcp"):
        raise ValueError(f"{request.kind}: {unbuilt.VERBS['listener udp activate']}")
    return f"listener {protocol} activate", {"address": request.address("address")}


def _cluster(request: _Request) -> tuple[str, Body]:
    body = {
        "id": request.take("cluster_id"),
        "load-balancing-policy": request.choice("load_balancing", POLICIES, unbuilt.CLUSTER),
        "load-metric": request.choice("load_metric", METRICS),
        "send-proxy": request.choice("proxy_protocol", PROXY_PROTOCOLS) in ("send", "relay") or None,
        "https-redirect": request.take("https_redirect") or None,
        "https-redirect-port": request.take("https_redirect_port"),
        "max-connections-per-ip": request.take("max_connections_per_ip"),
        "retry-after": request.take("retry_after"),
    }
    request.pass_over(schema.ClusterTable, unbuilt.CLUSTER)
    return "cluster add", body


def _http_frontend(protocol: str, request: _Request) -> tuple[str, Body]:
    cluster_id = request.take("cluster_id")
    body = {
        "cluster": cluster_id,
        "deny": True if cluster_id is None else None,
        "address": request.address("address"),
        "hostname": request.take("hostname"),
        "method": request.take("method"),
        "position": request.choice("position", POSITIONS),
        "tags": request.take("tags"),
        **_path(request),
        **(_hsts(request) if protocol == "https" else {}),
    }
    request.pass_over(schema.FrontendTable, unbuilt.FRONTEND)
    return f"frontend {protocol} add", body


def _path(request: _Request) -> Body:
    """An empty prefix is no condition, so none is made of it."""
    match request.take("path"):
        case None | {"kind": 0, "value": ""}:
            return {}
        case {"kind": int(kind), "value": str(value)} if 0 <= kind < len(PATHS):
            return {PATHS[kind]: value}
        case other:
            raise ValueError(f"{request.kind}: path: found {show(other)}; want a kind from 0 to 2 and a value")


def _tcp_frontend(request: _Request) -> tuple[str, Body]:
    body = {
        "id": request.take("cluster_id"),
        "address": request.address("address"),
        "tags": request.take("tags"),
    }
    request.pass_over(schema.FrontendTable, {})
    return "frontend tcp add", body


def _backend(request: _Request) -> tuple[str, Body]:
    """A weight of 0 is what Sōzu's ctl sends for a backend whose weight nobody gave."""
    match request.take("load_balancing_parameters"):
        case None | {"weight": 0}:
            weight = None
        case {"weight": weight}:
            pass
        case other:
            raise ValueError(f"{request.kind}: load_balancing_parameters: found {show(other)}; want a weight")
    body = {
        "id": request.take("cluster_id"),
        "backend-id": request.take("backend_id"),
        "address": request.address("address"),
        "weight": weight,
        "backup": request.take("backup"),
    }
    request.pass_over(schema.BackendTable, unbuilt.BACKEND)
    return "backend add", body


_TRANSLATIONS: Mapping[str, Callable[[_Request], tuple[str, Body]]] = {
    "ADD_HTTP_LISTENER": partial(_listener, "http"),
    "ADD_HTTPS_LISTENER": partial(_listener, "https"),
    "ADD_TCP_LISTENER": partial(_listener, "tcp"),
    "ACTIVATE_LISTENER": _activate,
    "ADD_CLUSTER": _cluster,
    "ADD_HTTP_FRONTEND": partial(_http_frontend, "http"),
    "ADD_HTTPS_FRONTEND": partial(_http_frontend, "https"),
    "ADD_CERTIFICATE": _certificate,
    "ADD_TCP_FRONTEND": _tcp_frontend,
    "ADD_BACKEND": _backend,
}

_UNBUILT: Mapping[str, unbuilt.Refused] = {
    "ADD_UDP_LISTENER": unbuilt.VERBS["listener udp add"],
    "ADD_UDP_FRONTEND": unbuilt.VERBS["frontend udp add"],
    "SET_HEALTH_CHECK": unbuilt.VERBS["cluster health-check set"],
}
