"""The file of the control socket: there at once and only for its owner, never taken from a proxy that lives.

`<path>.lock` is locked as long as the socket is served, so that two mains never share one; the kernel gives the lock
back however a process ends. What is at the path then can only be left over from one that died, or belong to some other
program: a connection attempt tells. The socket is bound under a temporary name and renamed over, so that clients find
the old one or the new one and nothing in between; before `listen` nobody can connect, so nobody can do so before the
mode is right.
"""

import contextlib
import errno
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

from sozu_trio.config.globals import NEW_SOCKET, UNIX_PATH
from sozu_trio.control.heirlooms import Heirlooms
from sozu_trio.control.lock import LOCK, MODE, locked
from sozu_trio.errors import OperatorError

BACKLOG = 128


@contextlib.contextmanager
def open_control_socket(path: Path, heirlooms: Heirlooms | None = None) -> Iterator[socket.socket]:
    """A listening, non-blocking unix socket at `path`, mode 0600, until the body ends; one of `heirlooms`, if there are
    any.

    Raises OperatorError when another proxy serves there or something else stands there, and when the path cannot be
    used.
    """
    new = Path(f"{path}{NEW_SOCKET}")
    if len(os.fsencode(new)) > UNIX_PATH:
        most = UNIX_PATH - len(NEW_SOCKET)
        raise OperatorError(
            f"command_socket: {path} has {len(os.fsencode(path))} bytes; want at most {most}, because a unix socket's "
            f"path takes {UNIX_PATH} and is made under the name …{NEW_SOCKET}"
        )
    heirlooms = Heirlooms() if heirlooms is None else heirlooms
    with (
        locked(path, holds=f"serves {path}", unusable=lambda error: _no_lock(path, error), heirlooms=heirlooms),
        socket.socket(socket.AF_UNIX, fileno=heirlooms.copy_of(str(path))) as sock,
        heirlooms.keep(str(path), sock.fileno()),
    ):
        if heirlooms.settled:
            for name in (path, new):
                _refuse_what_is_not_stale(name)
            _bind(sock, path, new)
        sock.setblocking(False)
        ours = _identity(path)
        try:
            yield sock
        finally:
            with contextlib.suppress(OSError):
                if heirlooms.settled and _identity(path) == ours:
                    path.unlink()


def _no_lock(path: Path, error: OSError) -> str:
    return f"command_socket: cannot make {path}{LOCK}: {_explain(error, path)}"


def _refuse_what_is_not_stale(path: Path) -> None:
    """Return when nothing is at `path`, or a socket that nobody listens on any more."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise OperatorError(f"command_socket: {path}: {_explain(error, path)}") from error
    if not stat.S_ISSOCK(mode):
        raise OperatorError(f"command_socket: {path} is {_kind(mode)}; want a socket, or a path where nothing is")
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        failure = probe.connect_ex(os.fspath(path))
    if failure not in (errno.ECONNREFUSED, errno.ENOENT):
        why = "" if failure == 0 else f" ({os.strerror(failure)})"
        raise OperatorError(f"command_socket: another program listens at {path}{why}, and does not hold {path}{LOCK}")


def _bind(sock: socket.socket, path: Path, new: Path) -> None:
    """Have `sock` listen at `path`."""
    try:
        with contextlib.suppress(FileNotFoundError):
            new.unlink()
        # Linux takes the mode of the file from the socket, less the umask; who has an odd one gets it set again.
        os.fchmod(sock.fileno(), MODE)
        sock.bind(os.fspath(new))
        new.chmod(MODE)
        sock.listen(BACKLOG)
        new.rename(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            new.unlink()
        raise OperatorError(f"command_socket: cannot make {path}: {_explain(error, path)}") from error


def _identity(path: Path) -> tuple[int, int] | None:
    """What tells the file at `path` from others; None where there is none."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    return status.st_dev, status.st_ino


def _kind(mode: int) -> str:
    kinds = {stat.S_IFDIR: "a directory", stat.S_IFLNK: "a symbolic link", stat.S_IFREG: "a file"}
    return kinds.get(stat.S_IFMT(mode), "no socket")


def _explain(error: OSError, path: Path) -> str:
    hints = {
        errno.ENOENT: f"the directory {path.parent} does not exist",
        errno.ENOTDIR: f"{path.parent} is no directory",
        errno.EACCES: f"permission denied in {path.parent}",
        errno.ELOOP: "it is a symbolic link",
    }
    return hints.get(error.errno or 0, error.strerror or str(error))
