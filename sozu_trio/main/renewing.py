"""Certificates whose files are renewed, by certbot say, take the place of those before, and nobody has to reload.

Main looks at the files that the configuration names which was declared last: by stat(2) every few seconds, because
notices of the kernel say nothing of network disks and little of links that are swapped. What else the configuration
says is not read. Certificate and key are not written at the same moment, so files that differ are read only when they
have stayed as they are from one look to the next. What cannot be used then is told of once, and the one before stays,
until the files change again. What could not be read, or is not valid yet, is tried again at each look: that passes
without any change.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Never

from sozu_trio.config.certificates import Certificate
from sozu_trio.errors import NotConfirmed, OperatorError, Problem
from sozu_trio.main.actors import ourselves
from sozu_trio.main.auditing import Attempt, audited
from sozu_trio.main.certificate_files import Unusable, read_again
from sozu_trio.main.certificate_watch import Faults, renewed, settled
from sozu_trio.main.events import Event
from sozu_trio.main.files import in_thread
from sozu_trio.main.parts import Parts
from sozu_trio.main.seen_files import Identity, Paths, SeenFiles, identities_of
from sozu_trio.main.transactions import Order
from sozu_trio.routing.state import EMPTY, State

log = logging.getLogger(__name__)

NAMED: Final = 3
"""Files that a line names; of more it says how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a look has found."""

    looked: Mapping[Path, Identity]
    read: frozenset[Paths]
    again: frozenset[Paths]
    """Those of them that are to be read again, be they others then or not."""
    certificates: Mapping[Paths, Certificate]
    """Of what was read, those that are others than before."""
    faults: Faults


async def watch_certificates(parts: Parts) -> Never:
    """Look again and again, for ever."""
    why_not = ""
    while True:
        await parts.certificate_watch.pause()
        try:
            await look(parts)
            why_not = ""
        except NotConfirmed as error:
            log.warning("renewed certificates are in force, but %s", error)
        except OperatorError as error:
            # The next look tries again.
            if str(error) != why_not:
                why_not = str(error)
                log.error("renewed certificates are not in force: %s", error)
        except Exception:
            log.exception("the files of certificates could not be looked at")


async def look(parts: Parts) -> None:
    """Read what is different and stays so, and put it in force. Raises OperatorError."""
    watch = parts.certificate_watch
    seen, state = watch.seen, parts.transactions.state
    found = await in_thread(_look, seen, watch.looked, state)
    if watch.seen is not seen:
        # A reload has read them all meanwhile.
        return
    watch.looked = found.looked
    for problems in watch.tell(found.read, found.faults).values():
        _tell(parts, problems)
    settle = partial(watch.settle, found.read, found.again, found.looked, found.certificates)
    if found.certificates:
        # Until it is in force, each look tries again.
        await _renew(parts, seen, found.certificates, settle)
    elif found.read:
        settle()


def _look(seen: SeenFiles, before: Mapping[Path, Identity], state: State) -> Found:
    looked, groups = identities_of(seen.files), seen.groups()
    ready = settled(groups, seen.identities, before, looked)
    declared = (state.declared or EMPTY).certificates
    certificates, faults, again = {}, {}, set()
    for paths in ready:
        read = read_again(groups[paths], state.certificates.keys())
        if isinstance(read, Unusable):
            faults[paths] = read.problems
            if read.may_pass:
                again.add(paths)
            continue
        key = groups[paths][0].address, seen.fingerprints[paths]
        if key not in declared or declared[key].certificate != read:
            certificates[paths] = read
    return Found(looked=looked, read=ready, again=frozenset(again), certificates=certificates, faults=faults)


def _tell(parts: Parts, problems: Iterable[Problem]) -> None:
    for problem in problems:
        said = f"{problem}; what was there before stays"
        log.warning("a renewed certificate cannot be used: %s", said)
        parts.events.tell(Event(kind="CERTIFICATE_UNUSABLE", details=said))


async def _renew(
    parts: Parts, seen: SeenFiles, certificates: Mapping[Paths, Certificate], settle: Callable[[], None]
) -> None:
    actor, what = ourselves("watch"), f"renewed: {_named(certificates)}"

    def make(state: State) -> State:
        # Else a reload has come first.
        return renewed(state, seen, certificates) if parts.certificate_watch.seen is seen else state

    def follow() -> None:
        if parts.certificate_watch.seen is seen:
            settle()

    order = Order(actor=actor, what=what, make=make, large=True, follow=follow)
    attempt = Attempt(verb="certificate watch", what=what, actor=actor)
    outcome = await audited(parts, attempt, partial(parts.transactions.carry_out, order))
    log.info("%s: generation %d", what, outcome.generation)


def _named(certificates: Mapping[Paths, Certificate]) -> str:
    files = [str(certificate) for certificate, _, _ in certificates]
    more = f" and {len(files) - NAMED:,} more" if len(files) > NAMED else ""
    return ", ".join(files[:NAMED]) + more
