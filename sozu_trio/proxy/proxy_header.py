"""A PROXY header taken off a connection to the byte, so that what follows is there for TLS to read; and whom it names.

The header is looked at where it lies. While it is incomplete all of it belongs to the header, and is taken: a look at
the same bytes again would find the socket readable for ever.
"""

import socket
from typing import Any

from sozu_trio.config.addresses import Address
from sozu_trio.config.limits import READ_SIZE
from sozu_trio.errors import ProxyHeaderError
from sozu_trio.nursery.listener import SessionNode
from sozu_trio.proxy.stream import Stream
from sozu_trio.wire.proxy_protocol import ProxyHeader, parse_proxy_header


async def take_proxy_header(stream: Stream) -> ProxyHeader | None:
    """The header; None when the peer closed without a word. `stream` speaks no TLS yet.

    Raises ProxyHeaderError for anything else, OSError when the connection is broken. How long it may take is the
    caller's to say.
    """
    taken = b""
    while True:
        try:
            seen = stream.sock.recv(READ_SIZE, socket.MSG_PEEK)
        except BlockingIOError:
            await stream.wait_readable()
            continue
        if not seen:
            if taken:
                raise ProxyHeaderError("the connection was closed in the middle of its PROXY header")
            return None
        header = parse_proxy_header(taken + seen)
        size = len(seen) if header is None else len(header.raw) - len(taken)
        taken += stream.sock.recv(size)
        stream.bytes_in += size
        if header is not None:
            return header
        await stream.count()


def who_and_where(node: SessionNode, header: ProxyHeader | None) -> tuple[Address, Address]:
    """The client, and the address it connected to: those the header names, else those of the connection itself."""
    client = header.source if header and header.source else _address(node.peer)
    destination = header.destination if header and header.destination else _address(node.sock.getsockname())
    return client, destination


def _address(sockname: Any) -> Address:
    host, port, *_ = sockname
    # A dual-stack peer is an IPv4 one in disguise; logs and rules know it by its own address.
    return Address(host.removeprefix("::ffff:") if "." in host else host, port)
