"""What may stand in the body of a verb that is no single change of State, with the kinds of the configuration file.

Names are those of ctl's long options, with hyphens; a member that is not given is None or its default.
"""

from dataclasses import dataclass
from typing import Any

from sozu_trio.config.addresses import Address
from sozu_trio.config.values import Count, Seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class EmptyBody:
    """A verb that needs nothing said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyBody:
    """A batch. One of two: `changes` are objects of a verb and its options, each of which is judged on its own, so that
    all faults are found; `file` is the absolute path of a file with a member `changes`, which main reads and which may
    be of any size.
    """

    changes: tuple[Any, ...] | None = None
    file: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReloadBody:
    """`file`: an absolute path; None = the file given to serve. Of `reload` and `plan`."""

    file: str | None = None
    prune: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RollbackBody:
    generation: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSaveBody:
    """`file`: an absolute path; None = `saved_state` of the configuration."""

    file: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StateLoadBody:
    """A saved state, ours or Sōzu's. One of two: `content` is its text, `file` the absolute path of one that main
    reads, which may be of any size.
    """

    content: str | None = None
    file: str | None = None
    skip_unknown: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StateDumpBody:
    with_secrets: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterListBody:
    """`domain`: a host, or a host and the beginning of a path."""

    id: str | None = None
    domain: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontendListBody:
    """None of the three protocols = all of them."""

    http: bool = False
    https: bool = False
    tcp: bool = False
    domain: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendListBody:
    id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerListBody:
    """None of the three = all of them."""

    http: bool = False
    https: bool = False
    tcp: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateListBody:
    """`fingerprint` may be only its beginning; `domain`: certificates that are for this host."""

    fingerprint: str | None = None
    domain: str | None = None
    address: Address | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateQueryBody:
    """`domain`: what the client asks for, None = nothing; `address`: of the listener, None = of every one."""

    domain: str | None = None
    address: Address | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainBody:
    """`header`: `name=value`; `from` is the client's IP address; `listener` where the URL does not say which."""

    url: str
    method: str = "GET"
    header: tuple[str, ...] = ()
    from_: str | None = None
    listener: Address | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionListBody:
    limit: Count = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionKillBody:
    session: str


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsBody:
    """`names`: only those that begin with one of them."""

    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryBody:
    limit: Count = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class UpgradeBody:
    """`python`: the absolute path of the interpreter that main is to go on with; None = the one it has. `worker`: only
    the one of that id; not with `python`.
    """

    worker: Count | None = None
    python: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShutdownBody:
    """`drain_timeout`: seconds sessions get, 0 = as long as they need, None = `shutdown_timeout`; not with `hard`."""

    hard: bool = False
    drain_timeout: Seconds | None = None
