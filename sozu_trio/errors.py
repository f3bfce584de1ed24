"""The whole tree of our exceptions, by who can mend it.

    SozuTrioError
     ├─ OperatorError            what was typed or written in a file is wrong: a clear line, exit code 1
     │   └─ ConfigError          every problem of a configuration at once
     ├─ ExchangeError            one exchange ends, with an HTTP answer where one can still be given
     │   ├─ RequestRefused       blame: client    400, 405, 408, 414, 417, 431, 501, 505 …
     │   ├─ ClientGone           blame: client    nobody is left to answer, so there is no status
     │   ├─ NoBackend            blame: backend   503, nothing was reached
     │   ├─ BackendClosed        blame: backend   502, or another try
     │   ├─ BadResponse          blame: backend   502
     │   └─ BackendTimeout       blame: backend   504
     ├─ ProxyHeaderError         blame: client    a PROXY protocol header that is none
     └─ ChannelError             main and a worker do not understand each other

Raise where you notice, with `from`. One place turns an exception into an answer (`proxy/exchange.py`), one place logs
what nobody caught (`nursery/guard.py`).
"""

from dataclasses import dataclass
from typing import ClassVar, Literal

Blame = Literal["client", "backend", "operator", "us"]


class SozuTrioError(Exception):
    """Everything we raise on purpose."""

    blame: ClassVar[Blame] = "us"


class OperatorError(SozuTrioError):
    """The operator asked for something that cannot be; the message says what, where, and what would be right."""

    blame: ClassVar[Blame] = "operator"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a configuration: where (`clusters.api.backends[1].address`) and what, on one line."""

    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}" if self.where else self.what


class ConfigError(OperatorError):
    """A configuration that cannot be used, with every problem found in it."""

    def __init__(self, source: str, problems: tuple[Problem, ...]) -> None:
        self.source = source
        self.problems = problems
        super().__init__("\n".join(f"{source}: {problem}" for problem in problems))


class ExchangeError(SozuTrioError):
    """One exchange ends here. `status` is the answer while none has begun; `retry` says whether another connection may
    be tried, where the request allows it.
    """

    status: int = 500
    retry: bool = False


class RequestRefused(ExchangeError):
    """The request is not one we forward: nothing of it reaches a backend, the answer is `status`, the connection
    closes.
    """

    blame: ClassVar[Blame] = "client"

    def __init__(self, status: int, reason: str) -> None:
        self.status = status
        super().__init__(reason)


class ClientGone(ExchangeError):
    """The client closed or reset its connection, or reads no more: nothing is answered, and the log shows no status."""

    blame: ClassVar[Blame] = "client"


class NoBackend(ExchangeError):
    """No backend could be connected to: none configured, all in back-off, or every attempt refused."""

    blame: ClassVar[Blame] = "backend"
    status = 503


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


class ChannelError(SozuTrioError):
    """A message between main and a worker was cut short, too large or unknown."""
