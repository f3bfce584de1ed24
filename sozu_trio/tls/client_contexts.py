"""The OpenSSL contexts with which backends are connected to.

What a context holds is little of what a cluster says: name and fingerprint belong to each connection. So clusters that
say the same share one, and the authorities of the system, which take OpenSSL 25 ms, are read once. A context is made
when a backend is first connected to, and goes with the last cluster that has it.
"""

import hashlib
import math
import socket
import ssl
import time
from collections.abc import Hashable, Mapping
from typing import Any, Final, NamedTuple
from weakref import WeakValueDictionary

from sozu_trio.config.backend_tls import BackendTls
from sozu_trio.errors import HandshakeFailed
from sozu_trio.routing.slices import Sliced
from sozu_trio.tls.client_failures import WORDS
from sozu_trio.tls.contexts import load_certificate
from sozu_trio.tls.fresh_context import fresh_context

HTTP: Final = ("http/1.1",)
BEGIN, END = "-----BEGIN ", "-----END CERTIFICATE-----\n"
AT_ONCE: Final = 20
"""Authorities that OpenSSL reads in one go: about 3 ms."""


class Session(NamedTuple):
    """What a later connection to the same backend may resume, within the same context."""

    context: ssl.SSLContext
    session: ssl.SSLSession
    expires: float = math.inf
    """When the certificate that was verified as it began does, in seconds since the epoch: OpenSSL looks at none that
    resumes a session.
    """

    def resumable(self, context: ssl.SSLContext) -> ssl.SSLSession | None:
        """What a connection that begins now in `context` may resume. One of another context would be an error."""
        return self.session if self.context is context and time.time() <= self.expires else None


def session_of(sock: ssl.SSLSocket) -> Session | None:
    """What another connection may resume: that of the ticket which came last. None while there is none."""
    session = sock.session
    if session is None:
        return None
    try:
        # Empty where nothing was verified.
        said: Mapping[str, Any] = sock.getpeercert() or {}
        expires = ssl.cert_time_to_seconds(said["notAfter"]) if said else math.inf
    except ValueError:  # It cannot be read.
        return None
    return Session(sock.context, session, expires)


class ClientContexts:
    """All there are in a worker."""

    def __init__(self, authorities: str = "") -> None:
        self.authorities = authorities
        """Those of the system, in PEM."""
        self._contexts: WeakValueDictionary[Hashable, ssl.SSLContext] = WeakValueDictionary()

    def make(self, tls: BackendTls, alpn: tuple[str, ...]) -> Sliced[ssl.SSLContext]:
        """One that speaks as `tls` says, in slices. Raises OSError where OpenSSL does not take what is in it."""
        ca = (self.authorities if tls.ca is None else tls.ca) if tls.asks_authorities else None
        key = (tls.asks_authorities, tls.ca, tls.certificate, tls.versions, alpn)
        found = self._contexts.get(key)
        if found is None:
            made = yield from _context(tls, ca, alpn)
            # Somebody else may have made one meanwhile.
            found = self._contexts.setdefault(key, made)
        return found


class ClientTls:
    """TLS as it is spoken to the backends of one cluster, for as long as it says the same."""

    __slots__ = ("_contexts", "_made", "settings")

    def __init__(self, settings: BackendTls, contexts: ClientContexts) -> None:
        self.settings = settings
        self._contexts = contexts
        self._made: dict[bool, ssl.SSLContext] = {}

    def prepare(self, *, http: bool) -> Sliced[None]:
        """Make what `wrap` needs, in slices, where it is not there yet. Raises OSError as `ClientContexts.make`."""
        if http not in self._made:
            self._made[http] = yield from self._contexts.make(self.settings, HTTP if http else ())

    def wrap(self, sock: socket.socket, address: str, *, http: bool, session: Session | None = None) -> ssl.SSLSocket:
        """A connected, non-blocking socket to the backend at the IP address `address`, for TLS, before its handshake;
        `sock` itself is detached. It is prepared.

        `http`: say that HTTP/1.1 is spoken. `session`: of an earlier connection to the same backend, to be resumed.
        Raises OSError, with `sock` as it was, when the connection is broken already.
        """
        context = self._made[http]
        sock.getpeername()  # `wrap_socket` would ask after it has detached `sock`, and leave it open.
        return context.wrap_socket(
            sock,
            do_handshake_on_connect=False,
            suppress_ragged_eofs=False,
            server_hostname=self.settings.server_name or address,
            # The backend may have been spoken to in another protocol.
            session=None if session is None else session.resumable(context),
        )

    def check(self, sock: ssl.SSLSocket) -> None:
        """After the handshake: what OpenSSL was not asked to check. Raises HandshakeFailed."""
        wanted = self.settings.fingerprint
        if wanted is None:
            return
        leaf = sock.getpeercert(binary_form=True)
        shown = "" if leaf is None else hashlib.sha256(leaf).hexdigest()
        if shown != wanted:
            raise HandshakeFailed("fingerprint", f"{WORDS['fingerprint']}: {shown}")


def _context(tls: BackendTls, ca: str | None, alpn: tuple[str, ...]) -> Sliced[ssl.SSLContext]:
    context = fresh_context(ssl.PROTOCOL_TLS_CLIENT, tls.versions)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if ca is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    else:
        certificates = [each + END for each in ca.split(END) if BEGIN in each]
        for start in range(0, len(certificates), AT_ONCE):
            context.load_verify_locations(cadata="".join(certificates[start : start + AT_ONCE]))
            yield
    if tls.ca is not None:
        # Who names a certificate trusts it, be it no root.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if tls.certificate is not None:
        load_certificate(context, tls.certificate)
    return context
