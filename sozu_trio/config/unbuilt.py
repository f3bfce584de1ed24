"""Keys that are known but do nothing: features that are not built yet, and Sōzu's ways that have no counterpart here.

A key is refused where ignoring it would change what a client sees, and accepted with a warning where it would not. A
key that says no more than its default is never remarked on, so that a file may spell everything out.
"""

import dataclasses
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sozu_trio.config import schema
from sozu_trio.config.client_auth import CLIENT_FIELDS
from sozu_trio.config.report import Report, an, place
from sozu_trio.config.values import show


@dataclass(frozen=True, slots=True)
class Refused:
    """`only` limits it to some values of the key; `want` says what to write instead where the default does not."""

    why: str
    only: tuple[str, ...] = ()
    want: str = ""
    later: bool = True
    """Whether it may come to be built."""

    def __str__(self) -> str:
        return f"not built yet: {self.why}" if self.later else self.why


Rule = Refused | str
"""A string is a warning: what the key does instead of what it says."""

_MEMORY = "has no effect: memory is taken as it is needed and given back"
_ANSWERS = Refused("custom answers")
_REWRITES = Refused("rewriting")
_REDIRECT = "has no effect without redirect"
_LISTENERS = Refused("udp listeners", only=("udp",), want="'http', 'https' or 'tcp'")
_HTTP2 = Refused("HTTP/2")
_HEALTH = Refused("health checks")
_UDP = Refused("UDP")
_OF_LISTENER = Refused(
    "Python's ssl decides whom it asks for a certificate before it knows which name a client asks for",
    want="client_auth and client_ca of the listener",
    later=False,
)

GLOBAL: Mapping[str, Rule] = {
    "command_buffer_size": _MEMORY,
    "slab_entries_per_connection": _MEMORY,
    "min_buffers": _MEMORY,
    "max_buffers": _MEMORY,
    "buffer_size": _MEMORY,
    "splice_pipe_capacity_bytes": "has no effect: pipes have the size that measured best",
    "zombie_check_interval": "has no effect: a session cannot outlive its task, so nothing is swept",
    "accept_queue_timeout": "has no effect: a connection is served or refused as soon as it is accepted",
    "basic_auth_max_credential_bytes": "has no effect without required_auth",
    "handle_process_affinity": "has no effect, as in Sōzu",
    "access_logs_format": Refused("protobuf access logs", only=("protobuf",), want="'ascii' or 'json'"),
    "disable_cluster_metrics": "has no effect: counters are plain integers, and there are none per cluster yet",
    "metrics": "not built yet: sending metrics",
}

LISTENER: Mapping[str, Rule] = {
    "protocol": _LISTENERS,
    "disable_http11": _HTTP2,
    "cipher_suites": "has no effect, as in Sōzu; cipher_list has",
    "answers": _ANSWERS,
    **dict.fromkeys(schema.LISTENER_ANSWERS, _ANSWERS),
}

CLUSTER: Mapping[str, Rule] = {
    "sticky_session": Refused("sticky sessions"),
    "load_balancing": Refused(
        "consistent hashing",
        only=schema.UNBUILT_BALANCING,
        want="'ROUND_ROBIN', 'RANDOM', 'LEAST_LOADED' or 'POWER_OF_TWO'",
    ),
    "http2": _HTTP2,
    "answer_503": _ANSWERS,
    "answers": _ANSWERS,
    "authorized_hashes": Refused("authentication"),
    "www_authenticate": "has no effect without required_auth",
    "health_check": _HEALTH,
    "udp": _UDP,
}

FRONTEND: Mapping[str, Rule] = {
    "tls_versions": Refused(
        "Python's ssl decides on the version before it knows which name a client asks for",
        want="tls_versions of the listener",
        later=False,
    ),
    "client_auth": _OF_LISTENER,
    "client_ca": _OF_LISTENER,
    "redirect": Refused("redirects"),
    "redirect_scheme": _REDIRECT,
    "redirect_template": _REDIRECT,
    "rewrite_host": _REWRITES,
    "rewrite_path": _REWRITES,
    "rewrite_port": _REWRITES,
    "required_auth": Refused("authentication"),
    "headers": Refused("header edits"),
}

BACKEND: Mapping[str, Rule] = {"sticky_id": "has no effect without sticky_session"}

_TLS_KEYS = {
    *("alpn_protocols", "strict_sni_binding", "disable_http11", "tls_versions", "cipher_list", "cipher_suites"),
    *("groups_list", "certificate", "certificate_chain", "key", "send_tls13_tickets"),
    *CLIENT_FIELDS,
}
_UDP_KEYS = {"max_rx_datagram_size", "max_flows"}
_HTTP_LISTENER_KEYS = {
    *("request_timeout", "sticky_name", "sozu_id_header", "elide_x_real_ip", "send_x_real_ip", "answers", "hsts"),
    *("trusted_proxies", "upgrade_protocols", "via", "max_head_size", "max_request_line", "max_fields"),
    *("max_body_size", "max_requests_per_connection", "min_body_rate"),
    *schema.LISTENER_ANSWERS,
}
_HTTP_CLUSTER_KEYS = {
    *("sticky_session", "https_redirect", "https_redirect_port", "http2", "answer_503", "answers"),
    *("authorized_hashes", "www_authenticate", "retry_after", "max_idle_connections", "idle_timeout"),
    *("max_requests", "max_requests_burst"),
}
_HTTP_FRONTEND_KEYS = {
    *("path_type", "method", "position", "tls_versions", "redirect", "redirect_scheme", "redirect_template"),
    *("rewrite_host", "rewrite_path", "rewrite_port", "required_auth", "headers", "max_body_size"),
}

IDLE_ON_LISTENER: Mapping[str | None, Collection[str]] = {
    "http": {*_TLS_KEYS, *_UDP_KEYS, *schema.H2_KNOBS},
    "https": {*_UDP_KEYS, *schema.H2_KNOBS},
    "tcp": {*_TLS_KEYS, *_UDP_KEYS, *schema.H2_KNOBS, *_HTTP_LISTENER_KEYS},
}
"""Keys that Sōzu reads on any listener and uses on some; by protocol."""
IDLE_ON_CLUSTER: Mapping[str | None, Collection[str]] = {"http": {"send_proxy"}, "tcp": _HTTP_CLUSTER_KEYS}
IDLE_ON_FRONTEND: Mapping[str | None, Collection[str]] = {"tcp": _HTTP_FRONTEND_KEYS}


VERBS: Mapping[str, Refused] = {
    **{f"listener udp {action}": _LISTENERS for action in ("add", "update", "remove", "activate", "deactivate")},
    **{f"frontend udp {action}": _UDP for action in ("add", "remove")},
    **{f"cluster h2 {action}": _HTTP2 for action in ("enable", "disable")},
    **{f"cluster health-check {action}": _HEALTH for action in ("set", "remove")},
}
"""Verbs of the control socket that are refused as a whole."""

Kind = Literal["listener", "cluster", "frontend", "backend"]

_RULES: Mapping[Kind, tuple[Mapping[str, Rule], Mapping[str | None, Collection[str]]]] = {
    "listener": (LISTENER, IDLE_ON_LISTENER),
    "cluster": (CLUSTER, IDLE_ON_CLUSTER),
    "frontend": (FRONTEND, IDLE_ON_FRONTEND),
    "backend": (BACKEND, {}),
}


def report_unbuilt(file: schema.FileTable, report: Report) -> None:
    """Say of every key in the file that does nothing why it does nothing, as a problem or as a warning."""
    _judge(file, "", GLOBAL, report)
    for index, listener in enumerate(file.listeners):
        where = place("listeners", index)
        if listener.protocol == "udp":
            _judge_key(listener.protocol, None, place(where, "protocol"), LISTENER["protocol"], report)
        else:
            judge_table(listener, "listener", listener.protocol, where, report)
    for cluster_id, cluster in file.clusters.items():
        _judge_cluster(cluster, place("clusters", cluster_id), report)


def _judge_cluster(cluster: schema.ClusterTable, where: str, report: Report) -> None:
    judge_table(cluster, "cluster", cluster.protocol, where, report)
    for index, frontend in enumerate(cluster.frontends):
        judge_table(frontend, "frontend", cluster.protocol, place(place(where, "frontends"), index), report)
    for index, backend in enumerate(cluster.backends):
        judge_table(backend, "backend", cluster.protocol, place(place(where, "backends"), index), report)


def judge_table(
    table: Any, kind: Kind, protocol: str | None, where: str, report: Report, spell: Callable[[str], str] = str
) -> None:
    """Say it of one table of the file. `spell` makes what the key is called where it was read."""
    rules, idle = _RULES[kind]
    known = {} if (kind, protocol) == ("frontend", "tcp") else rules
    _judge(table, where, known, report, idle.get(protocol, ()), f"on {an(str(protocol))} {kind}", spell)


def changed_keys(table: Any) -> dict[str, tuple[object, object]]:
    """The keys of a table that say something else than their default: key → (value, default)."""
    pairs = {each.name: (getattr(table, each.name), _default(each)) for each in dataclasses.fields(table)}
    return {name: pair for name, pair in pairs.items() if not _says_nothing(*pair)}


def _judge(
    table: Any,
    where: str,
    rules: Mapping[str, Rule],
    report: Report,
    idle: Collection[str] = (),
    kind: str = "",
    spell: Callable[[str], str] = str,
) -> None:
    for key, (value, default) in changed_keys(table).items():
        if key in idle:
            report.warn(place(where, spell(key)), f"has no effect {kind}")
        elif key in rules:
            _judge_key(value, default, place(where, spell(key)), rules[key], report)


def _judge_key(value: object, default: object, where: str, rule: Rule, report: Report) -> None:
    if isinstance(rule, str):
        report.warn(where, rule)
    elif not rule.only or value in rule.only:
        want = rule.want or (show(default) if default or isinstance(default, (bool, int)) else "this key left out")
        report.wrong(where, f"found {show(value)}; want {want}; {rule}")


def _default(each: Any) -> object:
    return each.default if each.default_factory is dataclasses.MISSING else each.default_factory()


def _says_nothing(value: object, default: object) -> bool:
    """`false`, 0 and empty switch off what is off unless they are written, and so does a table without a word in it."""
    if value == default or (default is None and not value):
        return True
    return dataclasses.is_dataclass(value) and not changed_keys(value)
