"""Every verb that changes State, and the table of its body.

Keys of what is not built are part of the tables, so that a slip in them is told; what is said with them is refused
with the reason, which `unbuilt.py` knows.
"""

from collections.abc import Iterable, Mapping
from dataclasses import field, fields, make_dataclass
from typing import Any

from sozu_trio.config import schema
from sozu_trio.config.bodies import (
    BackendAdd,
    BackendRemove,
    BackendUpdate,
    ClusterBody,
    ClusterRemove,
    HttpFrontendAdd,
    HttpFrontendRemove,
    HttpListenerBody,
    ListenerName,
    ListenerStop,
    LoggingBody,
    TcpFrontendAdd,
    TcpFrontendRemove,
    TcpListenerBody,
)


def _with(body: type, table: type, keys: Iterable[str]) -> type:
    """`body` with those keys of a table of the file that are known and not built."""
    wanted = set(keys)
    added = [(each.name, _optional(each.type), field(default=None)) for each in fields(table) if each.name in wanted]
    known = {"__doc__": body.__doc__, "__module__": body.__module__}
    return make_dataclass(body.__name__, added, bases=(body,), namespace=known, frozen=True, slots=True, kw_only=True)


def _optional(kind: Any) -> Any:
    return kind | None


def _unbuilt(*keys: str) -> type:
    """The table of a verb that is refused whatever the values of its keys are."""
    added = [(key, Any, field(default=None)) for key in keys]
    return make_dataclass("UnbuiltBody", added, frozen=True, slots=True, kw_only=True)


_CLUSTER = _with(
    ClusterBody,
    schema.ClusterTable,
    [
        "sticky_session",
        "https_redirect",
        "https_redirect_port",
        "http2",
        "www_authenticate",
        "max_connections_per_ip",
        "retry_after",
    ],
)
_BACKEND_ADD = _with(BackendAdd, schema.BackendTable, ["sticky_id"])
_BACKEND_UPDATE = _with(BackendUpdate, schema.BackendTable, ["sticky_id"])
_FRONTEND = _with(
    HttpFrontendAdd,
    schema.FrontendTable,
    [
        "redirect",
        "redirect_scheme",
        "redirect_template",
        "rewrite_host",
        "rewrite_path",
        "rewrite_port",
        "required_auth",
    ],
)
_LISTENER = _with(
    HttpListenerBody,
    schema.ListenerTable,
    ["sticky_name", "answers", *schema.LISTENER_ANSWERS, *schema.H2_KNOBS],
)

_HSTS = ("hsts_max_age", "hsts_include_subdomains", "hsts_preload", "hsts_disabled", "hsts_force_replace_backend")
_HTTPS_LISTENER = _unbuilt(
    *(each.name for each in fields(_LISTENER)),
    *("tls_versions", "tls_cipher_list", "groups_list", "send_tls13_tickets", "alpn_protocols", "reset_alpn"),
    *("strict_sni_binding", "disable_http11", *_HSTS),
)
_UDP_LISTENER = _unbuilt(
    "address", "public_address", "front_timeout", "back_timeout", "max_rx_datagram_size", "max_flows"
)
_HTTPS_FRONTEND = _unbuilt(*(each.name for each in fields(_FRONTEND)), *_HSTS)

BODIES: Mapping[str, type] = {
    "cluster add": _CLUSTER,
    "cluster update": _CLUSTER,
    "cluster remove": ClusterRemove,
    "backend add": _BACKEND_ADD,
    "backend update": _BACKEND_UPDATE,
    "backend remove": BackendRemove,
    "frontend http add": _FRONTEND,
    "frontend http remove": HttpFrontendRemove,
    "frontend tcp add": TcpFrontendAdd,
    "frontend tcp remove": TcpFrontendRemove,
    "listener http add": _LISTENER,
    "listener http update": _LISTENER,
    "listener tcp add": TcpListenerBody,
    "listener tcp update": TcpListenerBody,
    "listener update": _LISTENER,
    **{f"listener {kind}activate": ListenerName for kind in ("http ", "tcp ", "")},
    **{f"listener {kind}deactivate": ListenerStop for kind in ("http ", "tcp ", "")},
    **{f"listener {kind}remove": ListenerStop for kind in ("http ", "tcp ", "")},
    "logging": LoggingBody,
    "listener https add": _HTTPS_LISTENER,
    "listener https update": _HTTPS_LISTENER,
    "listener udp add": _UDP_LISTENER,
    "listener udp update": _UDP_LISTENER,
    **{f"listener {kind} activate": _unbuilt("address") for kind in ("https", "udp")},
    **{
        f"listener {kind} {action}": _unbuilt("address", "deadline", "drain", "drain_timeout")
        for kind in ("https", "udp")
        for action in ("deactivate", "remove")
    },
    "frontend https add": _HTTPS_FRONTEND,
    "frontend https remove": _unbuilt(*(each.name for each in fields(HttpFrontendRemove))),
    "frontend udp add": _unbuilt("id", "address", "tags"),
    "frontend udp remove": _unbuilt("id", "address"),
    "certificate add": _unbuilt("address", "certificate", "certificate_chain", "key", "tls_versions"),
    "certificate remove": _unbuilt("address", "certificate", "fingerprint"),
    "certificate replace": _unbuilt(
        *("address", "new_certificate", "new_certificate_chain", "new_key", "old_certificate", "fingerprint")
    ),
    "cluster h2 enable": _unbuilt("id"),
    "cluster h2 disable": _unbuilt("id"),
    "cluster health-check set": _unbuilt("id", *(each.name for each in fields(schema.HealthCheckTable))),
    "cluster health-check remove": _unbuilt("id"),
    "connection-limit set": _unbuilt("limit"),
    "connection-limit remove": _unbuilt(),
}
"""Verb → the table of its body."""
