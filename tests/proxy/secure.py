"""An https listener on a free port, its certificates, and clients that speak TLS to it."""

import os
import socket
import ssl
import time
from pathlib import Path
from typing import Any, cast

from sozu_trio.config.addresses import Address
from sozu_trio.proxy.tls_stream import TlsStream
from sozu_trio.testing import Client
from tests.proxy.tls_parts import TrioStream
from tests.tls.parts import Issued, issue
from tests.tls.peers import client_context

NAME = "example.com"
DAY = 86400
TEXT = """
{top}
[[listeners]]
protocol = "https"
address = "$https"
certificate = "{default}.pem"
key = "{default}.key"
{listener}

[clusters.api]
protocol = "http"
frontends = [{{ address = "$https", hostname = "*"{frontend} }}]
{cluster}
backends = [{{ backend_id = "b0", address = "$api" }}]
"""


def issued_now(*names: str, **how: Any) -> Issued:
    """One that is valid by the real clock, which main goes by."""
    return issue(*names, begin=time.time() - DAY, end=time.time() + 90 * DAY, **how)


def write_certificate(path: Path, *names: str) -> Issued:
    """Writes `path`.pem and `path`.key."""
    made = issued_now(*names)
    path.with_suffix(".pem").write_bytes(made.pem)
    path.with_suffix(".key").write_bytes(made.key_pem)
    os.chmod(path.with_suffix(".key"), 0o600)
    return made


def secure_text(folder: Path, names: tuple[str, ...] = (NAME,), **lines: str) -> str:
    """A configuration whose listener shows a certificate for `names` to everybody; `lines` are for its tables: `top`,
    `listener`, `frontend` (a piece of a row), `cluster`.
    """
    write_certificate(folder / "default", *names)
    filled = {"top": "", "listener": "", "frontend": "", "cluster": "", **lines}
    return TEXT.format(default=folder / "default", **filled)


def connect_raw(address: Address) -> socket.socket:
    """A connection that has said nothing; it does not block."""
    sock = socket.create_connection((address.host, address.port))
    sock.setblocking(False)
    return sock


async def open_client(
    address: Address,
    name: str | None = NAME,
    *,
    context: ssl.SSLContext | None = None,
    session: ssl.SSLSession | None = None,
    begin: bytes = b"",
    sock: socket.socket | None = None,
) -> Client:
    """A client after its handshake, in which it asked for `name`; `begin` goes first, in plain; `sock` is connected
    already. It can shut its side.

    Raises HandshakeFailed.
    """
    sock = sock or connect_raw(address)
    sock.send(begin)
    wrapped = (context or client_context()).wrap_socket(
        sock, do_handshake_on_connect=False, server_hostname=name, suppress_ragged_eofs=False, session=session
    )
    stream = TlsStream(wrapped, 0)
    try:
        await stream.handshake()
    except BaseException:
        stream.abort()
        raise
    return Client(cast(Any, TrioStream(stream)))


def tls_of(client: Client) -> TlsStream:
    """What `open_client` put under it."""
    return cast(TrioStream, client.stream).stream


def vanish(client: Client) -> None:
    """Sends FIN without a close_notify."""
    socket.socket.shutdown(tls_of(client).sock, socket.SHUT_WR)
