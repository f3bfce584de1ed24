"""The body of a verb that changes State, from JSON or TOML: every fault in it is a problem at its place.

What needs the State to be judged, `routing/changes.py` judges.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from sozu_trio.config import schema
from sozu_trio.config.backend_tls import read_cluster_options
from sozu_trio.config.bodies import BackendAdd, BackendUpdate, ClusterBody, HttpFrontendAdd, HttpListenerBody
from sozu_trio.config.client_auth import check_client_auth
from sozu_trio.config.clusters import PathType
from sozu_trio.config.https_bodies import HttpsListenerBody
from sozu_trio.config.patterns import why_idle
from sozu_trio.config.report import Report, place
from sozu_trio.config.structure import hyphened, keys_of, structure_fields
from sozu_trio.config.tls_settings import TlsSettings, read_settings
from sozu_trio.config.unbuilt import FRONTEND, VERBS, Kind, judge_table
from sozu_trio.config.values import show
from sozu_trio.config.verbs import BODIES

_IN_THE_FILE: Mapping[type, tuple[Kind, type]] = {
    ClusterBody: ("cluster", schema.ClusterTable),
    BackendAdd: ("backend", schema.BackendTable),
    BackendUpdate: ("backend", schema.BackendTable),
    HttpFrontendAdd: ("frontend", schema.FrontendTable),
    HttpListenerBody: ("listener", schema.ListenerTable),
}
"""Body → what it is in the file, whose rules say what is not built."""

_FILE_KEYS: Mapping[str, str] = {
    "tls_cipher_list": "cipher_list",
    "load_balancing_policy": "load_balancing",
    "authorized_hash": "authorized_hashes",
    "answer": "answers",
    "header": "headers",
}
"""Keys that ctl calls otherwise than the file does."""
_CTL_KEYS = {file: ctl for ctl, file in _FILE_KEYS.items()}

_LISTENERS = ("http ", "https ", "tcp ", "")
_STOPS = ("deactivate", "remove")

_PATHS: Mapping[str, PathType] = {
    "path_prefix": PathType.PREFIX,
    "path_regex": PathType.REGEX,
    "path_equals": PathType.EQUALS,
}


def read_body(verb: str, document: Mapping[str, Any], report: Report, where: str = "") -> Any:
    """The table of BODIES that `document` is. None when anything is wrong with it, which `report` then knows."""
    before = report.found
    table = BODIES[verb]
    given = structure_fields(document, report, table, where)
    if verb in VERBS:
        report.wrong(place(where, "verb"), f"found {show(verb)}, which is {VERBS[verb]}")
        return None
    _judge_unbuilt(table, given, where, report)
    if verb in _CHECKS:
        _CHECKS[verb](given, where, report)
    return table(**given) if report.found == before else None


def _judge_unbuilt(table: type, given: Mapping[str, Any], where: str, report: Report) -> None:
    kinds = [_IN_THE_FILE[body] for body in table.__mro__ if body in _IN_THE_FILE]
    for kind, file_table in kinds:
        protocol = given.get("protocol") if kind == "cluster" else _protocol_of(table)
        judge_table(_as_in_the_file(file_table, given), kind, protocol, where, report, _spell)


def _protocol_of(table: type) -> str:
    return "https" if issubclass(table, HttpsListenerBody) else "http"


def _as_in_the_file(table: type, given: Mapping[str, Any]) -> Any:
    """The file's table with whatever of it was given; an empty list says nothing."""
    named = {_FILE_KEYS.get(name, name): value for name, value in given.items() if value != ()}
    return table(**{name: named[name] for name in keys_of(table) if name in named})


def _spell(key: str) -> str:
    return hyphened(_CTL_KEYS.get(key, key))


def _check_cluster(given: Mapping[str, Any], where: str, report: Report) -> None:
    if given.get("expect_proxy"):
        what = "found true; want false: it is the listener that expects a header, see 'listener tcp update'"
        report.wrong(place(where, "expect-proxy"), what)
    read_cluster_options(given, where, report)


def _check_backend_remove(given: Mapping[str, Any], where: str, report: Report) -> None:
    if given.get("now") and given.get("deadline"):
        report.wrong(place(where, "deadline"), f"found {show(given['deadline'])} and now = true; want only one of both")
    if given.get("now") and given.get("drain"):
        report.wrong(place(where, "drain"), "found true and now = true; want only one of both")
    _check_drain(given, where, report)


def _check_drain(given: Mapping[str, Any], where: str, report: Report) -> None:
    drain, deadline = given.get("drain"), given.get("deadline")
    if drain and deadline is not None:
        what = f"found {show(deadline)} and drain = true; want only one of both: with drain it is drain-timeout"
        report.wrong(place(where, "deadline"), what)
    if not drain and (timeout := given.get("drain_timeout")) is not None:
        what = f"found {show(timeout)} without drain = true; want both, or deadline, after which nobody is waited for"
        report.wrong(place(where, "drain-timeout"), what)


def _check_rule(given: Mapping[str, Any], where: str, report: Report) -> None:
    paths = [hyphened(path) for path in _PATHS if path in given]
    if len(paths) > 1:
        report.wrong(place(where, paths[1]), f"found {' and '.join(paths)}; want at most one of them")
    if given.get("deny") and "cluster" in given:
        report.wrong(place(where, "deny"), f"found true and cluster {show(given['cluster'])}; want only one of both")


def _check_rule_to_add(given: Mapping[str, Any], where: str, report: Report) -> None:
    _check_rule(given, where, report)
    for name, path_type in _PATHS.items():
        if name in given and (idle := why_idle(path_type, given[name])):
            report.warn(place(where, hyphened(name)), idle)
    if not given.get("deny") and "cluster" not in given:
        report.missing(place(where, "cluster"), "the id of a cluster, or deny = true")


def _check_alpn(given: Mapping[str, Any], where: str, report: Report) -> None:
    if given.get("reset_alpn") and "alpn_protocols" in given:
        report.wrong(place(where, "reset-alpn"), "found true and alpn-protocols; want only one of both")


def _check_tls(given: Mapping[str, Any], where: str, report: Report) -> None:
    """Of a new listener; where one is updated, what it has counts as well (`routing/change_https.py`)."""
    _check_alpn(given, where, report)
    settings_of(given, TlsSettings(), where, report)


def settings_of(given: Mapping[str, Any], before: TlsSettings, where: str, report: Report) -> TlsSettings:
    """`before` with what the options of a body ask for."""
    settings = read_settings(
        where,
        report,
        versions=given.get("tls_versions", before.versions),
        ciphers=given.get("tls_cipher_list", before.ciphers if before.ciphers != TlsSettings().ciphers else None),
        groups=given.get("groups_list", before.groups or None),
        alpn=TlsSettings().alpn if given.get("reset_alpn") else given.get("alpn_protocols", before.alpn),
        tickets=given.get("send_tls13_tickets", before.tickets),
        spell=_spell,
    )
    return _with_client_auth(settings, given, before, where, report)


def _with_client_auth(
    settings: TlsSettings, given: Mapping[str, Any], before: TlsSettings, where: str, report: Report
) -> TlsSettings:
    client_auth = given.get("client_auth", before.client_auth)
    authorities = given.get("client_ca", "" if given.get("client_auth") == "none" else before.client_ca)
    check_client_auth(where, report, client_auth=client_auth, has_authorities=bool(authorities), spell=_spell)
    return replace(settings, client_auth=client_auth, client_ca=authorities)


def _check_versions(given: Mapping[str, Any], where: str, report: Report) -> None:
    if given.get("tls_versions"):
        rule = FRONTEND["tls_versions"]
        report.wrong(place(where, "tls-versions"), f"found an array; want tls-versions of the listener; {rule}")


def _check_which(given: Mapping[str, Any], where: str, report: Report) -> None:
    """One of two ways to say which certificate is meant."""
    other = "old_certificate" if "new_certificate" in given else "certificate"
    if "fingerprint" in given and other in given:
        report.wrong(place(where, "fingerprint"), f"found it and {hyphened(other)}; want only one of both")
    if "fingerprint" not in given and other not in given:
        report.missing(place(where, "fingerprint"), f"that of a certificate, or {hyphened(other)}: its PEM text")


_CHECKS: Mapping[str, Callable[[Mapping[str, Any], str, Report], None]] = {
    "cluster add": _check_cluster,
    "cluster update": _check_cluster,
    "cluster remove": _check_drain,
    "backend remove": _check_backend_remove,
    **{f"listener {kind}{verb}": _check_drain for kind in _LISTENERS for verb in _STOPS},
    "listener https add": _check_tls,
    "listener https update": _check_alpn,
    "listener update": _check_alpn,
    **{f"frontend {kind} add": _check_rule_to_add for kind in ("http", "https")},
    **{f"frontend {kind} remove": _check_rule for kind in ("http", "https")},
    "certificate add": _check_versions,
    "certificate remove": _check_which,
    "certificate replace": _check_which,
}
