"""What the answer to a verb may need, and what is known of who asked."""

import time
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from sozu_trio.config.load import Config
from sozu_trio.config.report import Report
from sozu_trio.config.structure import structure_whole
from sozu_trio.control.answering import Answer, Progress
from sozu_trio.control.journal import Journal
from sozu_trio.control.permissions import Peer
from sozu_trio.control.protocol import Id
from sozu_trio.errors import ChangeRefused
from sozu_trio.main.actors import Actor
from sozu_trio.main.audit import Audit
from sozu_trio.main.certificate_watch import CertificateWatch
from sozu_trio.main.events import Events
from sozu_trio.main.replacement import Replacement
from sozu_trio.main.service_manager import ServiceManager
from sozu_trio.main.transactions import Transactions
from sozu_trio.nursery.supervisor import Supervisor

Body = TypeVar("Body")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Parts:
    """Main, as its verbs see it."""

    config: Config
    """What it was started with; State knows what a file has said since."""
    config_path: str | None
    """Absolute; None for the embedded demonstration."""
    supervisor: Supervisor
    transactions: Transactions
    journal: Journal
    events: Events
    audit: Audit
    certificate_watch: CertificateWatch = field(default_factory=CertificateWatch)
    service_manager: ServiceManager = field(default_factory=ServiceManager)
    replacement: Replacement | None = None
    """None where this main cannot be replaced while it runs."""
    started: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request: who asks, the verb, its body as it came, and the way to say how it goes meanwhile."""

    peer: Peer
    verb: str
    body: Mapping[str, Any]
    progress: Progress
    request: Id = 0
    """Its id."""

    @property
    def actor(self) -> Actor:
        return Actor(uid=self.peer.uid, pid=self.peer.pid, process=self.peer.process)

    def read(self, kind: type[Body]) -> Body:
        """The body as a `kind`. Raises ChangeRefused with everything that is wrong with it."""
        report = Report()
        body = structure_whole(self.body, report, kind)
        if body is None:
            raise ChangeRefused(tuple(report.problems))
        return body


class Handler(Protocol):
    """Answers one verb. Raises OperatorError for what cannot be done."""

    def __call__(self, parts: Parts, call: Call, /) -> Awaitable[Answer]: ...


Handlers = Mapping[str, Handler]
