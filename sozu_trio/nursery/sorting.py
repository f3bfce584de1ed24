"""Workers that were found, sorted: who goes on, who only drains, and who is one too many."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass, field

from sozu_trio.config.program import Program
from sozu_trio.nursery.adoption import Orphan, is_sealed_as_required, settings_kept
from sozu_trio.nursery.sockets import ListeningSockets

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class SortedOut:
    """`adopted`: one for each id; `doubles`: others of the same ids, and `unsealed`: those that are not sealed as they
    must be; all these are to end when their sessions have.
    """

    adopted: dict[int, Orphan] = field(default_factory=dict)
    doubles: list[Orphan] = field(default_factory=list)
    unsealed: list[Orphan] = field(default_factory=list)
    leaving: list[Orphan] = field(default_factory=list)

    async def dismiss_doubles(self, grace: float | None) -> None:
        """Have them stop; their sessions get `grace` seconds, None = as long as they need."""
        while self.doubles:
            orphan = self.doubles.pop()
            log.warning("worker %d (pid %d) is one too many of its id: it stops", orphan.worker_id, orphan.pid)
            await orphan.dismiss(grace)
        while self.unsealed:
            orphan = self.unsealed.pop()
            why = 'sandbox: found "require", but it began with other settings: it stops, and another one begins'
            log.warning("worker %d (pid %d): %s", orphan.worker_id, orphan.pid, why)
            await orphan.dismiss(grace)

    def spare_nobody(self) -> None:
        """From now on whoever is of no use is killed, as always."""
        for orphan in (*self.adopted.values(), *self.leaving):
            orphan.is_spared = False


def sort_out(orphans: Iterable[Orphan], required: Program | None = None) -> SortedOut:
    """The first of each id goes on. `required`: where that requires a sandbox, only those go on that have begun with
    the same; None for whoever knows them from before, and may replace them.
    """
    found = SortedOut()
    for orphan in orphans:
        if required is not None and not is_sealed_as_required(orphan, required):
            found.unsealed.append(orphan)
        elif orphan.leaving:
            found.leaving.append(orphan)
        elif found.adopted.setdefault(orphan.worker_id, orphan) is not orphan:
            found.doubles.append(orphan)
    return found


def tell_of_settings_kept(orphan: Orphan, program: Program) -> None:
    """Say which settings of `program` it does not follow."""
    if kept := settings_kept(orphan, program):
        log.warning("worker %d goes on with the settings it began with: %s", orphan.worker_id, ", ".join(kept))


def take_sockets_over(orphans: Iterable[Orphan], sockets: ListeningSockets) -> None:
    """What they listen on becomes ours; of two sockets that are said to be the same one, its owner's."""
    held = [
        (owner != orphan.worker_id, owner, key, sock)
        for orphan in orphans
        for owner, key, sock in orphan.take_sockets()
    ]
    for _, owner, key, sock in sorted(held, key=lambda each: each[0]):
        # It closes those of an owner that is not to go on.
        sockets.adopt(owner, key, sock)
