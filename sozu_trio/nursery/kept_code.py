"""The code this process was started with, whatever stands on disk meanwhile: a zip of byte code in a memfd.

Workers that are started later run it, and so does main when the code that was to take its place fails. What is not pure
Python is not in it, with the whole package it is in, and is still loaded from disk, as is whatever the standard library
has.
"""

import fcntl
import importlib
import importlib.util
import io
import logging
import marshal
import os
import sys
from collections.abc import Callable, Iterator
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from types import ModuleType
from typing import Final

import trio

log = logging.getLogger(__name__)

NOT_PYTHON: Final = tuple(EXTENSION_SUFFIXES)
TESTS: Final = {"tests", "_tests", "__pycache__"}
HEADER: Final = 16
"""Bytes before the code in a .pyc: the magic number, flags, time and size of the source (PEP 552)."""


SEALS: Final = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL


class KeptCode:
    """A memfd with the code, once `keep` has made it. Close it."""

    def __init__(self, module: str, descriptor: int | None = None) -> None:
        """`module`: what workers run, and what it imports is kept as well as what this process runs. `descriptor`: of
        a zip that this very process runs from; it stays open as long as the process runs.
        """
        self.descriptor = descriptor
        self._module = module
        self._made: int | None = None
        self._has_failed = False
        self._making = trio.Lock()

    async def keep(self) -> None:
        """Make the zip, in a thread: 50 ms. Where that has failed it is not tried again: other code may be on disk."""
        async with self._making:
            if self.descriptor is None and not self._has_failed:
                await self._keep()

    async def _keep(self) -> None:
        try:
            self._made = self.descriptor = await trio.to_thread.run_sync(_zipped, self._module)
        except (OSError, ValueError, SyntaxError, ImportError) as error:
            self._has_failed = True
            log.warning("the code cannot be kept, later workers run what is on disk then: %s", error)

    def close(self) -> None:
        if self._made is not None:
            os.close(self._made)
            self._made = self.descriptor = None


def _zipped(module: str) -> int:
    importlib.import_module(module)
    code = zipped_code(trio.from_thread.check_cancelled)
    descriptor = code_file()
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(code)
        seal(descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def code_file() -> int:
    """A memfd for a zip, which can be sealed. Raises OSError."""
    return os.memfd_create("sozu_trio code", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)


def seal(descriptor: int) -> None:
    """Have nobody change it any more: every worker has it, and main and later workers run it. Raises OSError where that
    cannot be had.
    """
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, SEALS)


def zipped_code(rest: Callable[[], None] = lambda: None) -> bytes:
    """The code this process runs. `rest` is called now and then, and whatever it raises passes.

    Raises OSError, ValueError or SyntaxError for what cannot be read or compiled.
    """
    from zipfile import ZipFile, ZipInfo

    memory = io.BytesIO()
    with ZipFile(memory, "w") as made:
        for name, source in _sources():
            rest()
            made.writestr(ZipInfo(f"{name}c"), _compiled(source))
    return memory.getvalue()


def _sources() -> Iterator[tuple[str, Path]]:
    """Each module of what is imported, with its path within the zip."""
    for name, module in sorted(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if "." not in name and name not in sys.stdlib_module_names and file and file.endswith(".py"):
            yield from _sources_of(name, module, Path(file))


def _sources_of(name: str, module: ModuleType, file: Path) -> Iterator[tuple[str, Path]]:
    if not hasattr(module, "__path__"):
        if name == file.stem:
            yield file.name, file
        return
    sources = []
    for each in file.parent.rglob("*"):
        inside = each.relative_to(file.parent)
        if each.name.endswith(NOT_PYTHON):
            return  # It would not be found beside what is in a zip.
        if each.suffix == ".py" and TESTS.isdisjoint(inside.parts):
            sources.append((f"{name}/{inside}", each))
    yield from sources


def _compiled(source: Path) -> bytes:
    """What a .pyc holds: the one that Python has made already, where it is still the one of `source`."""
    status = source.stat()
    stamp = bytes(4) + b"".join((int(number) & 0xFFFFFFFF).to_bytes(4, "little") for number in _stamp(status))
    header = importlib.util.MAGIC_NUMBER + stamp
    try:
        cached = Path(importlib.util.cache_from_source(str(source))).read_bytes()
    except OSError:
        cached = b""
    if cached[:HEADER] == header:
        return cached
    return header + marshal.dumps(compile(source.read_bytes(), str(source), "exec", dont_inherit=True))


def _stamp(status: os.stat_result) -> tuple[float, int]:
    return status.st_mtime, status.st_size
