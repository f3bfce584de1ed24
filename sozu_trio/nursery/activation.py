"""Listening sockets that a service manager made and hands over: sd_listen_fds(3), systemd's socket activation.

They are descriptors 3, 4, …, as many as LISTEN_FDS says, for the process of which LISTEN_PID is the id. The manager
holds them, too, and goes on holding them when we have ended. LISTEN_FDNAMES is only good for messages: a listener's
socket is the one of its address.
"""

import os
import socket
from collections.abc import Collection, Iterable, Iterator, MutableMapping
from contextlib import contextmanager

from sozu_trio.config.environment import take_number
from sozu_trio.errors import OperatorError
from sozu_trio.nursery.bind import bound_address
from sozu_trio.routing.state import ListenerKey

FIRST = 3
"""SD_LISTEN_FDS_START."""
WANTED = "want a listening TCP socket (ListenStream=ADDRESS:PORT)"


@contextmanager
def activated_sockets(environment: MutableMapping[str, str], first: int = FIRST) -> Iterator[tuple[socket.socket, ...]]:
    """The sockets handed over to this process, closed after the body; none is left to children, nor the variables.

    Raises OperatorError with everything that is wrong with them.
    """
    pid, number = take_number(environment, "LISTEN_PID"), take_number(environment, "LISTEN_FDS")
    names = environment.pop("LISTEN_FDNAMES", "").split(":")
    environment.pop("LISTEN_PIDFDID", None)
    sockets: list[socket.socket] = []
    try:
        if pid == os.getpid():
            _take(range(first, first + (number or 0)), names, sockets)
        yield tuple(sockets)
    finally:
        for sock in sockets:
            sock.close()


def _take(descriptors: range, names: list[str], sockets: list[socket.socket]) -> None:
    """Raises OperatorError; `sockets` are those that could be had all the same."""
    problems = []
    for descriptor, name in zip(descriptors, [*names, *[""] * len(descriptors)], strict=False):
        where = f"descriptor {descriptor} ({name})" if name else f"descriptor {descriptor}"
        try:
            os.set_inheritable(descriptor, False)
            sockets.append(socket.socket(fileno=descriptor))
        except OSError as error:
            problems.append(f"{where}: {error.strerror}; {WANTED}")
        else:
            problems += [f"{where}: {fault}" for fault in _faults(sockets[-1], sockets[:-1])]
    _raise(problems)


def _faults(sock: socket.socket, others: Iterable[socket.socket]) -> Iterator[str]:
    """What keeps `sock` from being a listener's."""
    if sock.family not in (socket.AF_INET, socket.AF_INET6) or sock.proto != socket.IPPROTO_TCP:
        yield f"{_kind(sock)}; {WANTED}"
        return
    address = bound_address(sock)
    if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        yield f"a TCP socket that does not listen; {WANTED}, and Accept=no"
    elif address.host == "::" and not sock.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY):
        # [::] beside 0.0.0.0 are two listeners, and IPv4 clients are known by their IPv4 addresses.
        yield f"listens on {address} for IPv4 as well; want BindIPv6Only=ipv6-only, and 0.0.0.0 as a socket of its own"
    elif address in {bound_address(other) for other in others if other.family in (socket.AF_INET, socket.AF_INET6)}:
        yield f"listens on {address}, as another one does; want one socket for each listener"


def _kind(sock: socket.socket) -> str:
    family = "a unix socket" if sock.family == socket.AF_UNIX else f"a socket of family {int(sock.family)}"
    family = "an internet socket" if sock.family in (socket.AF_INET, socket.AF_INET6) else family
    return family if sock.type == socket.SOCK_STREAM else f"{family} for datagrams"


def refuse_unmatched(sockets: Iterable[socket.socket], listeners: Collection[ListenerKey]) -> None:
    """Raises OperatorError for those of `sockets` that listen where no listener stands, active or not."""
    known = ", ".join(str(address) for _, address in sorted(listeners)) or "none at all"
    _raise(
        f"listens on {address}, where no listener stands; want one of the listeners' addresses ({known})"
        for address in map(bound_address, sockets)
        if ("tcp", address) not in listeners
    )


def _raise(problems: Iterable[str]) -> None:
    if lines := [f"socket handed over: {problem}" for problem in problems]:
        raise OperatorError("\n".join(lines))
