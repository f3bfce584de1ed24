"""Who is at the other end of the control socket, and what they may do.

The kernel says who it is (SO_PEERCRED, unix(7)): the credentials of the process that connected, as they were then. The
mode of the socket file is the first gate; the lists here are the second.
"""

import socket
import struct
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

_CREDENTIALS = struct.Struct("iII")


class HasOptions(Protocol):
    """A socket, the standard library's or Trio's."""

    def getsockopt(self, level: int, option: int, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A client of the control socket."""

    client_id: int
    """Counts up from 1 in each life of main."""
    uid: int
    gid: int
    pid: int
    """0 for a process that this process cannot see, as in another pid namespace."""
    process: str
    """What /proc/PID/comm says, escaped; `?` when it is gone. Processes name themselves: for reading, not for trust."""
    may_change: bool
    """Whether verbs that change something are open to it."""
    connected: float
    """Unix time."""

    @property
    def role(self) -> str:
        return "full" if self.may_change else "read-only"

    def __str__(self) -> str:
        return f"client {self.client_id} (uid {self.uid}, pid {self.pid}, {self.process})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Permissions:
    """Lists of uids. Root is no exception to them."""

    allowed_uids: Collection[int] | None = None
    """None = whoever the mode of the socket file lets in."""
    read_only_uids: Collection[int] = ()
    """These may look and change nothing, whether they are among `allowed_uids` or not."""

    def refusal(self, uid: int) -> str | None:
        """Why this user may not even look; None: they may."""
        if self.allowed_uids is None or uid in self.allowed_uids or uid in self.read_only_uids:
            return None
        return f"unauthorized: uid {uid} is not among command_allowed_uids"

    def may_change(self, uid: int) -> bool:
        return self.refusal(uid) is None and uid not in self.read_only_uids


def peer_credentials(sock: HasOptions) -> tuple[int, int, int]:
    """(uid, gid, pid) of the process at the other end of a unix socket."""
    pid, uid, gid = _CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    return uid, gid, pid


def process_name(pid: int) -> str:
    """The name of a process, on one line of printable ASCII; `?` when there is none (any more)."""
    try:
        name = Path(f"/proc/{pid}/comm").read_bytes().removesuffix(b"\n")
    except OSError:
        return "?"
    text = name.decode("ascii", "backslashreplace")
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text) or "?"
