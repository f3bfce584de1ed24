"""What main remembers of the files of certificates that it watches (`renewing.py`)."""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import trio

from sozu_trio.config.certificates import Certificate, CertificateFiles
from sozu_trio.errors import Problem
from sozu_trio.main.certificate_files import records_of
from sozu_trio.main.seen_files import NONE_SEEN, Identity, Paths, SeenFiles, paths_of
from sozu_trio.routing.reconcile import renew
from sozu_trio.routing.state import EMPTY, State

Faults = Mapping[Paths, tuple[Problem, ...]]
"""What cannot be used, and why."""
NO_FAULTS: Final[Faults] = {}


class CertificateWatch:
    """`seen` belongs to the configuration that State knows as the declared one: both change at the same moment."""

    def __init__(self, seen: SeenFiles = NONE_SEEN, interval: float = 0) -> None:
        """`interval`: seconds between two looks, 0 = nobody looks."""
        self.seen = seen
        self.interval = interval
        self.faults: Faults = NO_FAULTS
        """Of files that were renewed; what they held before is in force."""
        self.looked: Mapping[Path, Identity] = {}
        """What the last look has found."""
        self._followed = trio.Event()

    def follow(self, seen: SeenFiles, interval: float) -> None:
        """Another configuration is the declared one, and all its files could be used."""
        self.seen, self.interval = seen, interval
        self.faults, self.looked = NO_FAULTS, {}
        self._followed.set()
        self._followed = trio.Event()

    async def pause(self) -> None:
        """Until it is time to look."""
        while True:
            with trio.move_on_after(self.interval or math.inf) as waiting:
                await self._followed.wait()
            if waiting.cancelled_caught:
                return

    def tell(self, read: frozenset[Paths], faults: Faults) -> Faults:
        """Those of `faults` that are news; `read` is all that was tried just now."""
        before = self.faults
        self.faults = {**{paths: why for paths, why in before.items() if paths not in read}, **faults}
        return {paths: why for paths, why in faults.items() if before.get(paths) != why}

    def settle(
        self,
        read: frozenset[Paths],
        again: frozenset[Paths],
        looked: Mapping[Path, Identity],
        certificates: Mapping[Paths, Certificate],
    ) -> None:
        """`read` was done with after `looked`, and is read again when it changes again; `again` in any case.
        `certificates`: what some of these files stand for from now on.
        """
        known = {**self.seen.identities, **{path: looked[path] for path in _files(read)}}
        unread = _files(again)
        fingerprints = {paths: each.fingerprint for paths, each in certificates.items()}
        self.seen = replace(
            self.seen,
            fingerprints={**self.seen.fingerprints, **fingerprints},
            identities={path: identity for path, identity in known.items() if path not in unread},
        )


def _files(groups: frozenset[Paths]) -> set[Path]:
    return {path for paths in groups for path in paths if path is not None}


def settled(
    groups: Mapping[Paths, list[CertificateFiles]],
    read: Mapping[Path, Identity],
    before: Mapping[Path, Identity],
    now: Mapping[Path, Identity],
) -> frozenset[Paths]:
    """Those that are others than when they were `read`, and are as the look `before` has found them."""
    different = {path for path, identity in now.items() if identity != read.get(path)}
    moving = {path for path in different if now[path] != before.get(path)}
    return frozenset(each for each in groups if different.intersection(each) and not moving.intersection(each))


def renewed(state: State, seen: SeenFiles, certificates: Mapping[Paths, Certificate]) -> State:
    """`state`, with `certificates` instead of what was read of the same files before."""
    declared = (state.declared or EMPTY).certificates
    all_of_them = {
        paths_of(each): declared[each.address, seen.fingerprints[paths_of(each)]].certificate for each in seen.files
    }
    return renew(state, records_of(seen.files, {**all_of_them, **certificates}))
