"""A disk whose calls can fail or be the last ones, and what may be found on it after the power went.

Files are real; what has been synced is kept beside them. After a crash, whatever was not synced may be there, or not,
or in part, and a rename counts only once its directory is synced.
"""

import os
import random
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

CALLS = ("pwrite", "ftruncate", "fdatasync", "fsync", "rename")


class PowerCut(BaseException):
    """The process stops here, whatever it would have liked to do."""


class Disk:
    """Stands in for some calls of `os` as they are made about `path`'s directory."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._path = path
        self.calls: list[str] = []
        self.fails: Callable[[str, int], int | None] = lambda _name, _number: None
        """Called with the name and number of each call; an errno makes it fail."""
        self.crash_at: int | None = None
        self._held: dict[int, int] = {}
        self._durable: dict[int, bytes] = {}
        self._named: int | None = path.stat().st_ino if path.exists() else None
        self._random = random.Random(0)
        self._os = {name: getattr(os, name) for name in (*CALLS, "unlink")}
        if path.exists():
            fd = os.open(path, os.O_RDWR)
            self._see(fd)
            os.close(fd)
            self._durable = {ino: self._content(ino) for ino in self._held}
        for name in CALLS:
            monkeypatch.setattr(os, name, self._standing_in_for(name))
        monkeypatch.setattr(os, "unlink", self._unlink)

    def seed(self, seed: int) -> None:
        self._random.seed(seed)

    def close(self) -> None:
        for fd in self._held.values():
            os.close(fd)

    def _standing_in_for(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            self._stop_if_dead()
            self.calls.append(name)
            if name in ("pwrite", "ftruncate") and arguments[0] not in self._held.values():
                self._see(arguments[0])
            number = len(self.calls)
            error = self.fails(name, number)
            if number == self.crash_at or error is not None:
                if name == "pwrite":
                    self._write_some(*arguments)
                if error is None:
                    raise PowerCut
                raise OSError(error, os.strerror(error))
            result = self._os[name](*arguments)
            self._note(name, arguments[0])
            return result

        return call

    def _write_some(self, fd: int, data: bytes, position: int) -> None:
        self._os["pwrite"](fd, data[: self._random.randint(0, len(data))], position)

    def _note(self, name: str, target: Any) -> None:
        if name in ("fdatasync", "fsync"):
            status = os.fstat(target)
            if stat.S_ISDIR(status.st_mode):
                self._named = self._path.stat().st_ino
            else:
                self._durable[status.st_ino] = self._content(status.st_ino)

    def _unlink(self, *arguments: Any, **more: Any) -> None:
        self._stop_if_dead()
        self._os["unlink"](*arguments, **more)

    def _stop_if_dead(self) -> None:
        if self.crash_at is not None and len(self.calls) >= self.crash_at:
            raise PowerCut

    def _see(self, fd: int) -> None:
        """Held open, so that its number is not given to another file."""
        ino = os.fstat(fd).st_ino
        if ino not in self._held:
            self._held[ino] = os.dup(fd)
            self._durable.setdefault(ino, b"")

    def _content(self, ino: int) -> bytes:
        fd = self._held[ino]
        return os.pread(fd, os.fstat(fd).st_size, 0)

    def after_the_crash(self) -> bytes | None:
        """What the file at `path` may hold now; None where there may be none."""
        found = [self._named]
        with suppress(FileNotFoundError):
            found.append(self._path.stat().st_ino)
        ino = self._random.choice(found)
        if ino is None:
            return None
        durable, current = self._durable[ino], self._content(ino)
        pairs = enumerate(zip(durable, current, strict=False))
        same = next((at for at, (old, new) in pairs if old != new), min(len(durable), len(current)))
        kept = self._random.randint(same, len(current))
        hole = self._random.randint(same, len(current))
        return self._random.choice(
            [
                durable,
                current,
                current[:kept],
                current[:same] + bytes(hole - same) + current[hole:],
            ]
        )
