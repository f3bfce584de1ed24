"""The whole tree of our exceptions, by who can mend it.

    SozuTrioError
     ├─ OperatorError            what was typed or written in a file is wrong: a clear line, exit code 1
     │   ├─ ConfigError          every problem of a configuration at once
     │   ├─ BadCertificate       a certificate or its key that cannot be used
     │   ├─ ChangeRefused        every problem of a change, or of a batch of them; nothing was changed
     │   ├─ NotConfirmed         a change is in force, but not yet at every worker
     │   ├─ ControlError         nobody to talk to at the control socket
     │   │   ├─ RequestFailed    the proxy refused a request, or failed at it
     │   │   └─ ConnectionLost   the connection ended before the answer
     │   └─ JournalError         a change could not be written down, so it was not made
     │       └─ CorruptJournal   what is written down cannot be relied on
     ├─ ExchangeError            one exchange ends, with an HTTP answer where one can still be given
     │   ├─ RequestRefused       blame: client    400, 405, 408, 413, 414, 417, 431, 501, 505 …
     │   ├─ LimitReached         blame: client    429
     │   ├─ ClientGone           blame: client    nobody is left to answer, so there is no status
     │   ├─ NoBackend            blame: backend   503, nothing was reached
     │   │   ├─ BackendsFull                      503, all have as much to do as they may
     │   │   └─ BackendInsecure                   502, TLS with it did not come about
     │   ├─ BackendClosed        blame: backend   502, or another try
     │   ├─ BadResponse          blame: backend   502
     │   └─ BackendTimeout       blame: backend   504
     ├─ ProxyHeaderError         blame: client    a PROXY protocol header that is none
     ├─ HandshakeFailed          blame: client    TLS did not come about
     └─ ChannelError             main and a worker do not understand each other

Raise where you notice, with `from`. One place turns an exception into an answer (`proxy/exchange.py`), one place logs
what nobody caught (`nursery/guard.py`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

Blame = Literal["client", "backend", "operator", "us"]
MOST_PROBLEMS = 1000
"""Told of one request or file: a person mends no more at once, and whoever means harm gets no more memory."""


class SozuTrioError(Exception):
    """Everything we raise on purpose."""

    blame: ClassVar[Blame] = "us"


class OperatorError(SozuTrioError):
    """The operator asked for something that cannot be; the message says what, where, and what would be right."""

    blame: ClassVar[Blame] = "operator"
    content: Mapping[str, Any] | None = None
    """What a program is told beside the message and the problems: members of the failure's content."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a configuration: where (`clusters.api.backends[1].address`) and what, on one line."""

    where: str
    what: str
    others: int = 0
    """Above 0: it is none itself, but stands for so many that are not told."""

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" if self.where else self.what


def and_more(count: int) -> tuple[Problem, ...]:
    """What stands for `count` problems that are not told."""
    return (Problem("", f"and {count:,} more", others=count),) if count else ()


def first_problems(problems: Sequence[Problem], most: int = MOST_PROBLEMS) -> tuple[Problem, ...]:
    """The first `most`, and a last one for all others, those included that some of `problems` stand for."""
    told = [problem for problem in problems if not problem.others]
    others = sum(problem.others for problem in problems)
    return (*told[:most], *and_more(others + max(0, len(told) - most)))


class ConfigError(OperatorError):
    """A configuration that cannot be used, with every problem found in it."""

    def __init__(self, source: str, problems: tuple[Problem, ...]) -> None:
        self.source = source
        self.problems = problems
        super().__init__("\n".join(f"{source}: {problem}" for problem in problems))


class BadCertificate(OperatorError):
    """A certificate or its key that cannot be used: why, and what would be right. Nothing of the key is in it."""


class ChangeRefused(OperatorError):
    """Changes that cannot be made, with every problem found in any of them, or `MOST_PROBLEMS` and how many more there
    are; none of them was.
    """

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        self.problems = first_problems(problems)
        super().__init__("\n".join(map(str, self.problems)))


class NotConfirmed(OperatorError):
    """A change is in force as `generation`, but not all of it is known to be done: a worker has not confirmed it, and
    main goes on trying; or the proxy stops.
    """

    blame: ClassVar[Blame] = "us"

    def __init__(self, message: str, generation: int) -> None:
        self.content = {"generation": generation, "in_force": True}
        super().__init__(message)


class JournalError(OperatorError):
    """The journal cannot be read or written. Where it was to be written, nothing was changed."""


class CorruptJournal(JournalError):
    """A journal that is damaged, or is none: where, what, and the way out."""

    def __init__(self, path: str, line: int, what: str) -> None:
        self.path = path
        self.line = line
        self.what = what
        super().__init__(
            f"{path}: line {line}: {what}. Nothing from there on can be relied on. Start with `serve --state-from FILE`"
            " to go on from a saved state instead, or with `--state-from none` from the configuration file alone;"
            f" the journal is then kept as {path}.aside-TIME"
        )


class ControlError(OperatorError):
    """A client of the control socket has nobody to talk to, or nobody it understands."""


class RequestFailed(ControlError):
    """The proxy's `failure`. `content` may hold `problems`, as docs/control-protocol.md says."""

    def __init__(self, message: str, content: Any = None) -> None:
        self.message = message
        self.content = content
        super().__init__(message)


class ConnectionLost(ControlError):
    """The connection to the proxy ended before the answer; whether the request was carried out is not known."""


class ExchangeError(SozuTrioError):
    """One exchange ends here. `status` is the answer while none has begun; `retry` says whether another connection may
    be tried, where the request allows it.
    """

    status: int = 500
    retry: bool = False
    retry_after: int | None = None
    """What Retry-After says, in seconds, 0 = nothing; None = as usual with the status."""

    def __init__(self, reason: str, *, limit: str = "") -> None:
        """`limit`: the one that was passed, as counters call it; empty = none."""
        self.limit = limit
        super().__init__(reason)


class RequestRefused(ExchangeError):
    """The request is not one we forward: nothing of it reaches a backend, the answer is `status`, the connection
    closes.
    """

    blame: ClassVar[Blame] = "client"

    def __init__(self, status: int, reason: str, *, limit: str = "") -> None:
        self.status = status
        super().__init__(reason, limit=limit)


class LimitReached(ExchangeError):
    """The client has as much as it may have of something; the connection closes where that is connections."""

    blame: ClassVar[Blame] = "client"
    status = 429

    def __init__(self, reason: str, retry_after: int, *, closes: bool) -> None:
        self.retry_after = retry_after
        self.closes = closes
        super().__init__(reason)


class ClientGone(ExchangeError):
    """The client closed or reset its connection, or reads no more: nothing is answered, and the log shows no status."""

    blame: ClassVar[Blame] = "client"


class NoBackend(ExchangeError):
    """No backend could be connected to: none configured, all in back-off, or every attempt refused."""

    blame: ClassVar[Blame] = "backend"
    status = 503


class BackendsFull(NoBackend):
    """Every backend that may be tried has as many connections as it may have, and no place became free in time."""


class BackendInsecure(NoBackend):
    """No backend could be connected to, and of the last one it is known that TLS with it did not come about: why."""

    status = 502


class BackendClosed(ExchangeError):
    """The backend's connection ended before the first byte of a response."""

    blame: ClassVar[Blame] = "backend"
    status = 502
    retry = True


class BadResponse(ExchangeError):
    """What the backend sent is not a response, or it broke off in the middle of one."""

    blame: ClassVar[Blame] = "backend"
    status = 502


class BackendTimeout(ExchangeError):
    """The backend took longer than `back_timeout`."""

    blame: ClassVar[Blame] = "backend"
    status = 504


class ProxyHeaderError(SozuTrioError):
    """The first bytes of a connection are no PROXY protocol header although one was promised."""

    blame: ClassVar[Blame] = "client"


class HandshakeFailed(SozuTrioError):
    """TLS did not come about on a connection; `kind`, a few words with underscores, is what counters call it."""

    blame: ClassVar[Blame] = "client"

    def __init__(self, kind: str, message: str) -> None:
        self.kind = kind
        super().__init__(message)


class ChannelError(SozuTrioError):
    """A message between main and a worker was cut short, too large or unknown."""
