"""A configuration file → `Config`, or every reason why not.

    text → TOML → tables (structure) → what is unbuilt → records (globals, resolve) → what does not fit together (check)

Each step works on whatever the one before could read, and all of them add to one report.
"""

import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sozu_trio.config import check, resolve
from sozu_trio.config.backend_tls import BackendTlsFiles
from sozu_trio.config.certificates import CertificateFiles
from sozu_trio.config.client_auth import AuthorityFile
from sozu_trio.config.clusters import Backend, Cluster, HttpFrontend, TcpFrontend
from sozu_trio.config.globals import resolve_program
from sozu_trio.config.https import resolve_authorities, resolve_certificates
from sozu_trio.config.listeners import Listener
from sozu_trio.config.program import Program
from sozu_trio.config.report import Notice, Report
from sozu_trio.config.structure import structure
from sozu_trio.config.unbuilt import report_unbuilt
from sozu_trio.errors import ConfigError, Problem

_PLACED = re.compile(r"(?P<what>.*) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of document)\)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Config:
    """A configuration that can be served. `source` is what to call it in messages; `notices` belong in the log."""

    source: str
    program: Program
    listeners: tuple[Listener, ...]
    clusters: tuple[Cluster, ...]
    http_frontends: tuple[HttpFrontend, ...]
    tcp_frontends: tuple[TcpFrontend, ...]
    backends: tuple[Backend, ...]
    certificates: tuple[CertificateFiles, ...]
    """Where they are. They are read when they are wanted."""
    authorities: tuple[AuthorityFile, ...]
    """Of certificates of clients. Listeners are without them until they are read."""
    backend_tls: tuple[BackendTlsFiles, ...]
    """Of every cluster that speaks TLS to its backends. Clusters are without what is in them until they are read."""
    notices: tuple[Notice, ...]


def load_config(path: Path, read: Callable[[Path], bytes] = Path.read_bytes) -> Config:
    """Read the file at `path`. Raises ConfigError with all that is wrong with it, also when it cannot be read."""
    try:
        text = read(path).decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(str(path), (Problem("", f"cannot be read: {error.strerror or error}"),)) from error
    except UnicodeDecodeError as error:
        before = error.object[: error.start]
        where = _position(before.count(b"\n") + 1, error.start - before.rfind(b"\n"))
        raise ConfigError(str(path), (Problem(where, "found a byte that is not UTF-8; want UTF-8"),)) from error
    return parse_config(text, str(path), path.absolute().parent)


def parse_config(text: str, source: str, directory: Path) -> Config:
    """Read a configuration from `text`; relative paths in it are relative to `directory`. Raises ConfigError."""
    return build_config(_read_toml(text, source), source, directory)


def build_config(document: dict[str, Any], source: str, directory: Path) -> Config:
    """Make a Config of TOML that is read already. Raises ConfigError."""
    report = Report()
    file = structure(document, report)
    report_unbuilt(file, report)
    program = resolve_program(file, directory.absolute(), report)
    sites = check.find_sites(file, report)
    listeners = resolve.resolve_listeners(file, program, report)
    clusters = resolve.resolve_clusters(file, report)
    http_frontends = resolve.resolve_http_frontends(file, report)
    tcp_frontends = resolve.resolve_tcp_frontends(file, report)
    backends = resolve.resolve_backends(file, report)
    certificates = resolve_certificates(file, resolve.http_frontend_tables(file), directory.absolute(), report)
    created = check.link_frontends(file, sites, program, report)
    check.tell_of_bare_listeners(sites, certificates, report)
    check.check_proxy_headers(file, sites, report)
    check.check_http_frontends(http_frontends, report)
    check.check_tcp_frontends(tcp_frontends, report)
    check.check_backends(backends, report)
    if report.problems:
        raise ConfigError(source, tuple(report.problems))
    return Config(
        source=source,
        program=program,
        listeners=(*listeners.values(), *created),
        clusters=clusters,
        http_frontends=tuple(http_frontends.values()),
        tcp_frontends=tuple(tcp_frontends.values()),
        backends=tuple(backends.values()),
        certificates=certificates,
        authorities=resolve_authorities(file, directory.absolute()),
        backend_tls=resolve.resolve_backend_tls(file, directory.absolute()),
        notices=tuple(report.notices),
    )


def _read_toml(text: str, source: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise ConfigError(source, (Problem("", "is nested too deeply"),)) from error
    except ValueError as error:
        raise ConfigError(source, (_syntax_problem(str(error), text),)) from error


def _syntax_problem(message: str, text: str) -> Problem:
    """Python tells the position in words only before 3.14; "end of document" is a position, too."""
    match = _PLACED.fullmatch(message)
    if match is None:
        return Problem("", message)
    if match["line"]:
        return Problem(_position(int(match["line"]), int(match["column"])), match["what"])
    return Problem(
        _position(text.count("\n") + 1, len(text) - text.rfind("\n")), f"{match['what']} (the file ends here)"
    )


def _position(line: int, column: int) -> str:
    return f"line {line}, column {column}"
