"""The OpenSSL contexts of a listener: one that wraps every connection, and one for each certificate in use.

The wrapping context has no certificate. Its SNI callback asks the Resolver and switches the connection to the context
of what is to be shown. What follows such a switch, and what does not, is up to OpenSSL (measured with 3.0; a test holds
it): certificates, ciphers of TLS 1.2, ALPN and the authorities of clients come from the context switched to; versions,
groups, tickets, sessions, and whether clients must show a certificate, from the wrapping one. So everything but the
certificates is set on both, and the wrapping context stays as long as it can, since sessions can be resumed only with
the one that began them. Where clients must show other certificates than before there is a new one: who resumes a
session is not verified again. So there is one when a certificate has expired that a session may have begun with. To
refuse that session alone would lock its client out: it is told nothing, and resumes it again with a new certificate.

Contexts of certificates are made when a client first asks for them, because 5,000 take 3 s and 100 MB.
"""

import logging
import math
import os
import socket
import ssl
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

from sozu_trio.config.certificates import Certificate
from sozu_trio.config.limits import TLS_CONTEXTS, TLS_WARNING_PAUSE
from sozu_trio.config.tls_settings import TlsSettings
from sozu_trio.routing.resolver import Resolver, Shown
from sozu_trio.tls.fresh_context import fresh_context
from sozu_trio.tls.key_log import KeyLog

log = logging.getLogger(__name__)

_VERIFY: Final = {"optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}
PAUSE: Final = 1.0
"""Seconds for which sessions can be resumed at least."""


class ServerSocket(ssl.SSLSocket):
    """A client's connection; the callback leaves here what it saw."""

    address: str = ""
    """The IP address the client connected to."""
    server_name: str | None = None
    """As the client said it, once it has."""
    shown: Shown | None = None
    """What it was shown; None while nothing was, and where there is nothing to show."""
    unknown: bool = False
    """There is nothing to show for what it asked for."""


class ServerContexts:
    """TLS as one listener speaks it. What it follows may change at any time; handshakes under way are not disturbed."""

    def __init__(
        self, settings: TlsSettings, resolver: Resolver, most: int = TLS_CONTEXTS, key_log: KeyLog | None = None
    ) -> None:
        """At most `most` contexts of certificates are kept, those used last."""
        self._key_log = key_log
        self.resolver = resolver
        self.settings = settings
        self.made = 0
        """Contexts of certificates made so far."""
        self._most = most
        self._silent_until = 0.0
        """By the monotonic clock: no warning of what is missing before that."""
        self._contexts: OrderedDict[tuple[str, ...], ssl.SSLContext | None] = OrderedDict()
        """By fingerprints; None for what OpenSSL would not take, so that it is tried and said once."""
        self._expires = math.inf
        """When the first certificate that a client has shown in a session that can be resumed does."""
        self._began = -math.inf
        """When sessions were last made void, by the clock of `forget_expired`."""
        self._wrapping = self._logged(_wrapping_context(settings, self._switch))

    def change(self, settings: TlsSettings) -> None:
        """Speak otherwise to those who connect from now on. Sessions can be resumed if no more than ALPN changes."""
        before, self.settings = self.settings, settings
        self._contexts.clear()
        if _of_wrapping(before) != _of_wrapping(settings):
            self._begin()

    def _begin(self) -> None:
        """From here on no session of before can be resumed."""
        self._expires = math.inf
        self._wrapping = self._logged(_wrapping_context(self.settings, self._switch))

    def remember(self, not_after: float) -> None:
        """A client whose certificate expires then has a session, in seconds since the epoch."""
        self._expires = min(self._expires, not_after)

    def forget_expired(self, now: float) -> None:
        """Have nobody resume a session whose certificate has expired, `now` in seconds since the epoch.

        At most once in PAUSE seconds, since it costs everybody a whole handshake.
        """
        if self._expires < now and abs(now - self._began) >= PAUSE:
            self._began = now
            self._begin()

    def follow(self, resolver: Resolver) -> None:
        """Show what `resolver` finds from now on, and let go of the contexts, and with them of the keys, of what was
        removed or replaced.
        """
        before, self.resolver = self.resolver, resolver
        for key in list(self._contexts) if before is not resolver else ():
            if any(_held(before, each) != _held(resolver, each) for each in key):
                del self._contexts[key]

    def wrap(self, sock: socket.socket, address: str = "") -> ServerSocket:
        """A connected, non-blocking socket for TLS, before its handshake; `sock` itself is detached.

        `address`: the IP address the client connected to. Raises OSError, with `sock` as it was, when the connection is
        broken already.
        """
        sock.getpeername()  # `wrap_socket` would ask after it has detached `sock`, and leave it open.
        wrapped = self._wrapping.wrap_socket(
            sock, server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=False
        )
        assert isinstance(wrapped, ServerSocket)
        wrapped.address = address
        return wrapped

    def _switch(self, sock: ssl.SSLObject, server_name: str | None, _wrapping: ssl.SSLContext) -> int | None:
        """OpenSSL's question which certificate to show; an answer other than None is an alert, and ends the handshake.

        An exception would be printed, not raised.
        """
        try:
            return self._show(sock, server_name)
        except OSError as error:
            self._warn(error)
            return ssl.AlertDescription.ALERT_DESCRIPTION_INTERNAL_ERROR
        except Exception:
            log.exception("no certificate could be chosen for %r", server_name)
            return ssl.AlertDescription.ALERT_DESCRIPTION_INTERNAL_ERROR

    def _warn(self, error: OSError) -> None:
        """Now and then: every client meets the same want, and the next one may be over it."""
        now = time.monotonic()
        if now >= self._silent_until:
            self._silent_until = now + TLS_WARNING_PAUSE
            log.warning("no certificate could be shown, handshakes fail: %s", error)

    def _show(self, sock: ssl.SSLObject | ssl.SSLSocket, server_name: str | None) -> int | None:
        assert isinstance(sock, ServerSocket)
        sock.server_name = server_name
        sock.shown = self.resolver.find(server_name, sock.address)
        if sock.shown is None:
            sock.unknown = True
            return ssl.AlertDescription.ALERT_DESCRIPTION_UNRECOGNIZED_NAME
        context = self._context(sock.shown.certificates)
        if context is None:
            return ssl.AlertDescription.ALERT_DESCRIPTION_INTERNAL_ERROR
        sock.context = context
        return None

    def _context(self, certificates: Sequence[Certificate]) -> ssl.SSLContext | None:
        key = tuple(certificate.fingerprint for certificate in certificates)
        if key in self._contexts:
            self._contexts.move_to_end(key)
            return self._contexts[key]
        self._contexts[key] = context = self._make(certificates)
        if len(self._contexts) > self._most:
            self._contexts.popitem(last=False)
        return context

    def _make(self, certificates: Sequence[Certificate]) -> ssl.SSLContext | None:
        self.made += 1
        try:
            return self._logged(certificate_context(self.settings, certificates))
        except ssl.SSLError as error:
            shown = ", ".join(certificate.fingerprint for certificate in certificates)
            log.error("OpenSSL does not take the certificate %s: %s", shown, error)
            return None

    def _logged(self, context: ssl.SSLContext) -> ssl.SSLContext:
        # The secrets come from whichever context the connection has at the time.
        if self._key_log is not None:
            self._key_log.follow(context)
        return context


def _held(resolver: Resolver, fingerprint: str) -> Certificate | None:
    found = resolver.certificates.get(fingerprint)
    return found or next((each for each in resolver.default if each.fingerprint == fingerprint), None)


def certificate_context(settings: TlsSettings, certificates: Sequence[Certificate]) -> ssl.SSLContext:
    """A context that shows one of `certificates`, of different kinds of keys: the one the client can check.

    Raises ssl.SSLError when OpenSSL takes one of them not.
    """
    context = _context(settings)
    for certificate in certificates:
        load_certificate(context, certificate)
    return context


def load_certificate(context: ssl.SSLContext, certificate: Certificate) -> None:
    """Have `context` show it. Raises ssl.SSLError when OpenSSL does not take it.

    `load_cert_chain` takes nothing but a path, and a worker opens none: so the path is that of a piece of memory.
    """
    memory = os.memfd_create("certificate", os.MFD_CLOEXEC)
    with open(memory, "wb", buffering=0) as file:
        file.write(f"{certificate.chain}{certificate.key}".encode("ascii"))
        # With no password given OpenSSL would ask for one on the terminal.
        context.load_cert_chain(f"/proc/self/fd/{memory}", password="")


def _of_wrapping(settings: TlsSettings) -> object:
    # A session of TLS 1.2 is resumed with its cipher, before any switch: one that was removed would live on.
    return (
        *(settings.versions, settings.groups, settings.tickets, settings.ciphers),
        *(settings.client_auth, settings.client_ca),
    )


def _wrapping_context(settings: TlsSettings, switch: Callable[..., int | None]) -> ssl.SSLContext:
    context = _context(settings)
    context.sslsocket_class = ServerSocket
    context.sni_callback = switch
    return context


def _context(settings: TlsSettings) -> ssl.SSLContext:
    context = fresh_context(ssl.PROTOCOL_TLS_SERVER, settings.versions)
    context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    if settings.ciphers:
        context.set_ciphers(":".join(settings.ciphers))
    _set_groups(context, settings.groups)
    context.set_alpn_protocols(list(settings.alpn))
    context.num_tickets = settings.tickets
    _ask_for_certificates(context, settings)
    return context


def _ask_for_certificates(context: ssl.SSLContext, settings: TlsSettings) -> None:
    if settings.client_auth == "none":
        return
    context.verify_mode = _VERIFY[settings.client_auth]
    # An authority that another one has signed is trusted without that one.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if settings.client_ca:
        context.load_verify_locations(cadata=settings.client_ca)


def _set_groups(context: ssl.SSLContext, groups: Sequence[str]) -> None:
    if len(groups) == 1:
        context.set_ecdh_curve(groups[0])
    elif groups:
        context.set_groups(":".join(groups))  # type: ignore[attr-defined]
