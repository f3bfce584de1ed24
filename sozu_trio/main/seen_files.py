"""The files of certificates as they were when they were read, so that a look at them tells which are others now."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sozu_trio.config.certificates import CertificateFiles

Paths = tuple[Path, Path, Path | None]
"""Of a certificate, its key and its chain."""
Identity = tuple[int, ...]
"""Device, inode, when its content changed last and when it itself did (rights, say) in nanoseconds, size; empty for
what cannot be looked at.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenFiles:
    """Those that the configuration names which was declared last."""

    files: tuple[CertificateFiles, ...]
    fingerprints: Mapping[Paths, str]
    """Of what was found in each last that could be used; every one of `files` is there."""
    identities: Mapping[Path, Identity] = field(default_factory=dict)
    """Of each file before it was read last; those that are not there are to be read again."""

    def groups(self) -> dict[Paths, list[CertificateFiles]]:
        """Those together that name the same files."""
        groups: dict[Paths, list[CertificateFiles]] = {}
        for each in self.files:
            groups.setdefault(paths_of(each), []).append(each)
        return groups


NONE_SEEN: Final = SeenFiles(files=(), fingerprints={})


def paths_of(files: CertificateFiles) -> Paths:
    return files.certificate, files.key, files.chain


def identities_of(files: Iterable[CertificateFiles]) -> dict[Path, Identity]:
    """What stands at all their paths now, behind whatever links. Blocks: 10,000 take 50 ms."""
    paths = {path for each in files for path in paths_of(each) if path is not None}
    return {path: _identity(path) for path in paths}


def _identity(path: Path) -> Identity:
    try:
        found = os.stat(path)
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_ctime_ns, found.st_size


def handed_over(seen: SeenFiles) -> tuple[tuple[CertificateFiles, str], ...]:
    """What the next image of main needs to know: it reads them all again, as they may change while it begins."""
    return tuple((each, seen.fingerprints[paths_of(each)]) for each in seen.files)


def taken_over(handed: Iterable[tuple[CertificateFiles, str]]) -> SeenFiles:
    """What `handed_over` has left."""
    both = list(handed)
    return SeenFiles(
        files=tuple(files for files, _ in both), fingerprints={paths_of(files): digits for files, digits in both}
    )
