"""What a verb of ctl is, and the sentence for each group of verbs. The verbs themselves are the tables of
`ctl_changes.py` and `ctl_questions.py`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sozu_trio.cli.ctl_options import Option


@dataclass(frozen=True, slots=True, kw_only=True)
class Verb:
    """`words` are what is typed and what the request's verb is: `backend add`."""

    words: str
    help: str
    """One line for the group's help, and the first of its own."""
    example: str
    """What may be typed after `ctl `, one command per line."""
    options: tuple[Option, ...] = ()
    one_of: tuple[tuple[Option, ...], ...] = ()
    """Groups of options that exclude one another."""
    trace: str = ""
    """The verb that tells whether it was carried out, where no answer came; empty for one that only looks."""
    patient: bool = False
    """Its answer may take as long as it likes unless --timeout says otherwise."""
    patient_with: str = ""
    """The member of the body with which it is patient."""
    prepare: Callable[[dict[str, Any]], Mapping[str, Any]] | None = None
    """Options → the body, where that is not one to one. Raises OperatorError."""
    fit: Callable[[Mapping[str, Any], int | None], Mapping[str, Any]] | None = None
    """Body → what of it is sent to a proxy whose requests may have so many bytes; None = it does not say. Raises
    OperatorError.
    """

    def is_patient(self, body: Mapping[str, Any]) -> bool:
        """Whether the answer to `body` may take as long as it likes."""
        return self.patient or bool(body.get(self.patient_with))

    @property
    def all_options(self) -> tuple[Option, ...]:
        return (*self.options, *(each for group in self.one_of for each in group))


GROUPS: Mapping[str, str] = {
    "cluster": "applications: how their backends are chosen and spoken to",
    "cluster h2": "HTTP/2 towards the backends of a cluster",
    "cluster health-check": "asking backends how they are",
    "backend": "the servers of a cluster",
    "frontend": "rules: which requests or connections go to which cluster",
    "frontend http": "rules of http listeners",
    "frontend https": "rules of https listeners",
    "frontend tcp": "what tcp listeners lead to",
    "frontend udp": "what udp listeners lead to",
    "listener": "where clients connect; without a protocol word where the address is unique",
    "listener http": "http listeners",
    "listener https": "https listeners",
    "listener tcp": "tcp listeners",
    "listener udp": "udp listeners",
    "certificate": "certificates of https listeners",
    "connection-limit": "connections per client address",
    "state": "everything configured, as a whole",
    "metrics": "counters",
    "session": "client connections",
    "config": "the configuration file",
}
"""Words that more words follow."""
