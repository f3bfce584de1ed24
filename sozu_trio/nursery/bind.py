"""Listening sockets, made by main: one SO_REUSEPORT socket per listener and worker.

Sharing one socket among processes would wake them all for every connection, because Trio cannot ask for EPOLLEXCLUSIVE.
"""

import errno
import socket
from collections.abc import Iterable

from sozu_trio.config.addresses import Address
from sozu_trio.errors import OperatorError

BACKLOG = 65535
"""Cut by the kernel to net.core.somaxconn (4096 on a current Linux)."""
EVERY_INTERFACE = {"0.0.0.0", "::"}


def open_listening_socket(address: Address, ours: Iterable[Address] = ()) -> socket.socket:
    """A non-blocking TCP socket that listens on `address`. Raises OperatorError when the address cannot be had.

    `ours` is where we listen already: there more sockets may join, and 0.0.0.0:80 may be added beside 127.0.0.1:80,
    and the other way round.
    """
    family = socket.AF_INET6 if address.is_ipv6 else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if address.is_ipv6:
            # [::] beside 0.0.0.0 are two listeners, as in the file.
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if not any(_overlap(address, other) for other in ours):
            _refuse_a_taken_port(address, family)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((address.host, address.port))
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise OperatorError(f"cannot listen on {address}: {_explain(error)}") from error
    except BaseException:
        sock.close()
        raise
    return sock


def listen_again(sock: socket.socket) -> bool:
    """Have `sock` listen where it is bound, if somebody has shut it down; whether that was so. Raises OSError."""
    if sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        return False
    sock.listen(BACKLOG)
    return True


def _overlap(one: Address, other: Address) -> bool:
    """Whether they are the same, or one of the two is every interface on the port and of the family of the other."""
    same = (one.port, one.is_ipv6) == (other.port, other.is_ipv6)
    return one == other or (same and not EVERY_INTERFACE.isdisjoint((one.host, other.host)))


def _refuse_a_taken_port(address: Address, family: int) -> None:
    """SO_REUSEPORT would let a second proxy of the same user take half of the first one's connections without a
    word.
    """
    if address.port == 0:
        return
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        if address.is_ipv6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind((address.host, address.port))
        probe.listen(1)


def _explain(error: OSError) -> str:
    hints = {
        errno.EADDRINUSE: "the address is in use by another program",
        errno.EACCES: "permission denied (ports below 1024 need CAP_NET_BIND_SERVICE)",
        errno.EADDRNOTAVAIL: "no interface of this machine has the address",
    }
    return hints.get(error.errno or 0, error.strerror or str(error))


def bound_address(sock: socket.socket) -> Address:
    """Where `sock` really is, once port 0 has become a port."""
    host, port, *_ = sock.getsockname()
    return Address(host, port)
