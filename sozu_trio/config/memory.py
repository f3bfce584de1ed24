"""How much memory a worker may take: what is configured, or a share of what the control group of main allows."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

OF_MAIN: Final = 96 << 20
"""Bytes left to main, which takes 38 MiB, and more while it reads a large file."""
LEAST: Final = 48 << 20
"""Bytes of a worker's share, at least: it begins with 31 MiB, and with less it could serve nobody."""
UNLIMITED: Final = 1 << 60
"""Bytes from which on a limit is none: cgroup v1 says so with the largest multiple of a page."""
PROC: Final = Path("/proc/self/cgroup")
GROUPS: Final = Path("/sys/fs/cgroup")


def group_limit(own: Path = PROC, groups: Path = GROUPS) -> int | None:
    """Bytes that all processes of our control group may have together (cgroups(7), v2 or v1); None for no limit.

    A limit of any group around ours holds too.
    """
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return None
    return min(filter(None, map(_limit, _files(lines, groups))), default=None)


def _files(lines: list[str], groups: Path) -> Iterator[Path]:
    """Those in which limits may stand, for lines `number:controllers:path`."""
    for line in lines:
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers == "":
            root, name = groups, "memory.max"
        elif "memory" in controllers.split(","):
            root, name = groups / "memory", "memory.limit_in_bytes"
        else:
            continue
        # In a container the path may be that of the host, and what is mounted is ours: then only the root is there.
        inner = root / PurePosixPath(path).relative_to("/")
        for folder in (inner, *inner.parents):
            if not folder.is_relative_to(root):
                break
            yield folder / name


def _limit(file: Path) -> int | None:
    try:
        number = int(file.read_text())
    except (OSError, ValueError):  # no such file; `max`
        return None
    return number if 0 < number < UNLIMITED else None


def share(limit: int, workers: int) -> int:
    """Bytes of one of so many workers where all have `limit` together, and main its part."""
    return max(LEAST, (limit - OF_MAIN) // max(1, workers))
