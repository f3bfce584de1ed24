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
    ConnectionLimitRemove,
    ConnectionLimitSet,
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
from sozu_trio.config.https_bodies import (
    CertificateAdd,
    CertificateRemove,
    CertificateReplace,
    HttpsFrontendAdd,
    HttpsFrontendRemove,
    HttpsListenerBody,
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
    ["sticky_session", "http2", "www_authenticate"],
)
_BACKEND_ADD = _with(BackendAdd, schema.BackendTable, ["sticky_id"])
_BACKEND_UPDATE = _with(BackendUpdate, schema.BackendTable, ["sticky_id"])
_ROUTING = ("redirect", "redirect_scheme", "redirect_template", "rewrite_host", "rewrite_path", "rewrite_port")
_FRONTEND = _with(HttpFrontendAdd, schema.FrontendTable, [*_ROUTING, "required_auth"])
_HTTPS_FRONTEND = _with(HttpsFrontendAdd, schema.FrontendTable, [*_ROUTING, "required_auth"])
_LISTENER = _with(
    HttpListenerBody,
    schema.ListenerTable,
    ["sticky_name", "answers", *schema.LISTENER_ANSWERS, *schema.H2_KNOBS],
)

_HTTPS_LISTENER = _with(
    HttpsListenerBody,
    schema.ListenerTable,
    ["sticky_name", "answers", *schema.LISTENER_ANSWERS, *schema.H2_KNOBS, "disable_http11"],
)
_UDP_LISTENER = _unbuilt(
    "address", "public_address", "front_timeout", "back_timeout", "max_rx_datagram_size", "max_flows"
)

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
    "listener https add": _HTTPS_LISTENER,
    "listener https update": _HTTPS_LISTENER,
    "listener update": _HTTPS_LISTENER,
    **{f"listener {kind}activate": ListenerName for kind in ("http ", "https ", "tcp ", "")},
    **{f"listener {kind}deactivate": ListenerStop for kind in ("http ", "https ", "tcp ", "")},
    **{f"listener {kind}remove": ListenerStop for kind in ("http ", "https ", "tcp ", "")},
    "frontend https add": _HTTPS_FRONTEND,
    "frontend https remove": HttpsFrontendRemove,
    "certificate add": CertificateAdd,
    "certificate remove": CertificateRemove,
    "certificate replace": CertificateReplace,
    "logging": LoggingBody,
    "listener udp add": _UDP_LISTENER,
    "listener udp update": _UDP_LISTENER,
    "listener udp activate": _unbuilt("address"),
    **{
        f"listener udp {action}": _unbuilt("address", "deadline", "drain", "drain_timeout")
        for action in ("deactivate", "remove")
    },
    "frontend udp add": _unbuilt("id", "address", "tags"),
    "frontend udp remove": _unbuilt("id", "address"),
    "cluster h2 enable": _unbuilt("id"),
    "cluster h2 disable": _unbuilt("id"),
    "cluster health-check set": _unbuilt("id", *(each.name for each in fields(schema.HealthCheckTable))),
    "cluster health-check remove": _unbuilt("id"),
    "connection-limit set": ConnectionLimitSet,
    "connection-limit remove": ConnectionLimitRemove,
}
"""Verb → the table of its body."""
