"""The OpenSSL contexts of every https listener, which outlive the Tables.

They are made when the first client comes, and then follow each swap at once: whoever connects after it is shown what
is in force. Nothing is made for a connection.
"""

from sozu_trio.config.addresses import Address
from sozu_trio.config.listeners import HttpsListener
from sozu_trio.routing.resolver import NO_CERTIFICATES
from sozu_trio.routing.table import Table
from sozu_trio.tls.contexts import ServerContexts
from sozu_trio.tls.key_log import KeyLog


class TlsListeners:
    """By address, those that somebody has connected to."""

    def __init__(self, key_log: KeyLog | None = None) -> None:
        self.key_log = key_log
        """Where the secrets of all sessions go; None for nowhere."""
        self._contexts: dict[Address, ServerContexts] = {}

    def contexts(self, listener: HttpsListener, table: Table) -> ServerContexts:
        """Those of a listener of `table`, the one in force; of one that is not there any more, nothing is kept."""
        found = self._contexts.get(listener.address)
        if found is None:
            resolver = table.certificates.get(listener.address)
            found = ServerContexts(listener.tls, resolver or NO_CERTIFICATES, key_log=self.key_log)
            if resolver is not None:
                self._contexts[listener.address] = found
        return found

    def follow(self, table: Table) -> None:
        """`table` is in force from now on."""
        for address, contexts in list(self._contexts.items()):
            listener = table.listeners.get(("tcp", address))
            if not isinstance(listener, HttpsListener):
                del self._contexts[address]
                continue
            contexts.follow(table.certificates.get(address, NO_CERTIFICATES))
            if listener.tls != contexts.settings:
                contexts.change(listener.tls)
