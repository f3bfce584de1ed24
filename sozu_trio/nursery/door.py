"""The door of a worker: a unix socket in the runtime directory at which the next main finds it, should its own die.

Main binds it and the worker listens on it, for the kernel then tells whoever connects the process of the worker.
"""

import errno
import os
import re
import secrets
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sozu_trio.errors import OperatorError

MODE: Final = 0o600
_NAME: Final = re.compile(r"worker-\d+-[0-9a-f]{6}\.sock")
_CREDENTIALS: Final = struct.Struct("3i")
"""Process, user, group: `struct ucred`, unix(7)."""


def make_directory(path: Path) -> None:
    """Have the runtime directory, which only its owner may enter. Raises OperatorError."""
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        status = path.lstat()
    except OSError as error:
        raise OperatorError(f"runtime_directory: cannot make {path}: {error.strerror}") from error
    if not path.is_dir() or path.is_symlink():
        raise OperatorError(f"runtime_directory: {path} is no directory")
    if status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise OperatorError(
            f"runtime_directory: {path} belongs to uid {status.st_uid} with mode {status.st_mode & 0o777:o}; want a "
            f"directory of uid {os.geteuid()} in which nobody else may write"
        )


def make_door(directory: Path, worker_id: int) -> tuple[socket.socket, Path]:
    """A bound socket for worker `worker_id`, and where it is. Raises OSError."""
    name = f"worker-{worker_id}-{secrets.token_hex(3)}.sock"
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        # Linux takes the mode of the file from the socket.
        os.fchmod(sock.fileno(), MODE)
        with _short(directory) as short:
            sock.bind(f"{short}/{name}")
    except BaseException:
        sock.close()
        raise
    return sock, directory / name


def remove_door(path: Path) -> None:
    """Nobody is behind it any more."""
    path.unlink(missing_ok=True)


def owner_of(path: Path) -> int:
    """The id of the worker that a door was made for."""
    return int(path.name.split("-")[1])


def doors_in(directory: Path) -> list[Path]:
    """Those that workers may be behind, or may have been."""
    try:
        return sorted(path for path in directory.iterdir() if _NAME.fullmatch(path.name))
    except OSError:
        return []


def knock(path: Path) -> tuple[socket.socket, int]:
    """A connection to whoever is behind a door, and their process. Raises ConnectionRefusedError or FileNotFoundError
    where nobody is, PermissionError where it is no process of ours, OSError when there is no telling.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        sock.setblocking(False)
        with _short(path.parent) as short:
            sock.connect(f"{short}/{path.name}")
        pid, uid, _ = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
        if uid != os.geteuid():
            raise PermissionError(errno.EPERM, f"it belongs to uid {uid}")
    except BaseException:
        sock.close()
        raise
    return sock, pid


@contextmanager
def _short(directory: Path) -> Iterator[str]:
    """A path of the directory that leaves room for a name: that of a unix socket takes 107 bytes, unix(7)."""
    descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
