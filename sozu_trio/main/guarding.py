"""What `state save` must not write over: whatever else is this proxy's, and whatever is no saved state.

What is written takes a name in a directory. So names are compared by their directory, however it is called, and files
that are there by what they are, however many names they have.
"""

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from sozu_trio.config.globals import NEW_SOCKET
from sozu_trio.config.regular import read_beginning
from sozu_trio.control.lock import LOCK
from sozu_trio.control.saved_state import FORMAT
from sozu_trio.errors import OperatorError
from sozu_trio.main.parts import Parts

_LOOKED_AT = 4096
"""Bytes by which a saved state is told from other files."""
_SAVED_STATE = re.compile(
    rb'(\xef\xbb\xbf)?\s*\{.*("format"\s*:\s*"%b"|"request_type"\s*:)' % re.escape(FORMAT.encode()), re.DOTALL
)
"""How ours begin, and Sōzu's."""


def refuse_our_own(parts: Parts, path: Path) -> None:
    """Raises OperatorError for a path that cannot be saved to without harm. Blocks."""
    program = parts.config.program
    for ours, what in _ours(parts):
        if _entry(path) == _entry(ours) or _same(path, ours):
            raise OperatorError(f"file: {path} is {what} of this proxy; want another file")
    if _is_beside(path, parts.journal.path):
        raise OperatorError(f"file: {path} is a name of this proxy's for journals put aside; want another file")
    if path != program.saved_state and _is_within(path, program.runtime_directory):
        raise OperatorError(f"file: {path} is in the runtime directory of this proxy; want a file outside of it")
    _refuse_other_files(path)


def _ours(parts: Parts) -> Iterator[tuple[Path, str]]:
    program = parts.config.program
    socket = program.command_socket
    yield parts.journal.path, "the journal"
    yield Path(f"{parts.journal.path}{LOCK}"), "the lock of the journal"
    yield socket, "the control socket"
    yield Path(f"{socket}{LOCK}"), "the lock of the control socket"
    yield Path(f"{socket}{NEW_SOCKET}"), "the control socket in the making"
    if parts.config_path is not None:
        yield Path(parts.config_path), "the configuration file"
    if program.pid_file_path is not None:
        yield program.pid_file_path, "the pid file"
    targets = program.log_target, program.access_logs_target, program.audit_logs_target, program.audit_logs_json_target
    for target in filter(None, targets):
        scheme, _, rest = target.partition("://")
        if scheme in ("file", "unix"):
            yield Path(rest), "a log target"


def _entry(path: Path) -> tuple[object, ...]:
    """The name in its directory; a directory may have several paths."""
    try:
        directory = path.parent.stat()
    except OSError:
        return path.parent, path.name
    return directory.st_dev, directory.st_ino, path.name


def _same(one: Path, other: Path) -> bool:
    """Whether both are names of one file."""
    try:
        return os.path.samefile(one, other)
    except OSError:
        return False


def _is_beside(path: Path, journal: Path) -> bool:
    """Whether it has a name such as journals get that are put aside."""
    return path.name.startswith(f"{journal.name}.") and _same(path.parent, journal.parent)


def _is_within(path: Path, directory: Path) -> bool:
    parents = Path(os.path.realpath(path)).parents
    return Path(os.path.realpath(directory)) in parents or any(_same(each, directory) for each in parents)


def _refuse_other_files(path: Path) -> None:
    """An empty file holds nothing to lose."""
    try:
        mode = path.lstat().st_mode
        begins = read_beginning(path, _LOOKED_AT) if stat.S_ISREG(mode) else b""
    except FileNotFoundError:
        return
    except OSError as error:
        raise OperatorError(f"file: cannot read {path}, which would be replaced: {error.strerror or error}") from error
    if stat.S_ISLNK(mode):
        raise OperatorError(f"file: {path} is a symbolic link; want the path of the file itself")
    if not stat.S_ISREG(mode):
        raise OperatorError(f"file: {path} is no regular file; want a saved state to replace, or nothing there")
    if begins and not _SAVED_STATE.match(begins):
        raise OperatorError(f"file: {path} is no saved state; want one to replace, or nothing there")
