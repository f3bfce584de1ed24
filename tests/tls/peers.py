"""Clients of our TLS: Python's own, and the one of OpenSSL's command line."""

import hashlib
import socket
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Callable

from sozu_trio.tls.contexts import ServerContexts, ServerSocket
from sozu_trio.tls.fresh_context import VERSIONS, fresh_context
from tests.nursery.parts import tcp_pair
from tests.tls.parts import Issued

BOUND = 20
"""Seconds until a test that hangs is given up."""


def client_context() -> ssl.SSLContext:
    """One that takes any certificate."""
    context = fresh_context(ssl.PROTOCOL_TLS_CLIENT, VERSIONS)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def client_with(issued: Issued, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    """One that shows a certificate, and speaks `version` alone."""
    context = client_context()
    context.minimum_version = context.maximum_version = version
    with tempfile.NamedTemporaryFile() as file:
        file.write(issued.chain_pem + issued.key_pem)
        file.flush()
        context.load_cert_chain(file.name)
    return context


def shake_hands(*ends: ssl.SSLSocket) -> None:
    """The handshake of two non-blocking ends of one connection. Raises what the first one to fail raises."""
    waiting = list(ends)
    while waiting:
        for end in tuple(waiting):
            try:
                end.do_handshake()
                waiting.remove(end)
            except ssl.SSLWantReadError:
                pass


def connect(
    contexts: ServerContexts,
    server_name: str | None = None,
    *,
    context: ssl.SSLContext | None = None,
    session: ssl.SSLSession | None = None,
    address: str = "",
) -> tuple[ssl.SSLSocket, ServerSocket]:
    """A client and its server after the handshake. Raises ssl.SSLError where one of them ended it."""
    peer, ours = tcp_pair()
    peer.setblocking(False)
    ours.setblocking(False)
    server = contexts.wrap(ours, address)
    client = (context or client_context()).wrap_socket(
        peer, do_handshake_on_connect=False, server_hostname=server_name, session=session, suppress_ragged_eofs=False
    )
    try:
        shake_hands(client, server)
    except BaseException:
        client.close()
        server.close()
        raise
    return client, server


def fingerprint_shown(contexts: ServerContexts, server_name: str | None, address: str = "") -> str:
    """The fingerprint of the leaf a client gets to see."""
    client, server = connect(contexts, server_name, address=address)
    with client, server:
        leaf = client.getpeercert(binary_form=True)
        assert leaf is not None
        return hashlib.sha256(leaf).hexdigest()


def ask_openssl(
    contexts: ServerContexts, *options: str, then: Callable[[ServerSocket], None] = lambda _: None
) -> tuple[str, ServerSocket | None]:
    """What `openssl s_client` has to say about one connection, and the server's end, closed; None where the handshake
    failed. `then` runs after the handshake.
    """
    served: list[ServerSocket] = []

    def serve(listening: socket.socket) -> None:
        sock, _ = listening.accept()
        sock.settimeout(BOUND)
        server = contexts.wrap(sock)
        with server:
            try:
                server.do_handshake()
                served.append(server)
                then(server)
                while server.recv(1000):
                    pass
            except OSError:
                pass

    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(BOUND)
        thread = threading.Thread(target=serve, args=[listening])
        thread.start()
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{listening.getsockname()[1]}", *options]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=BOUND, check=False)
        thread.join(BOUND)
    return (done.stdout + done.stderr).decode(errors="replace"), served[0] if served else None
