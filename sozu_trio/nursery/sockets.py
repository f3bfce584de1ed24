"""The listening sockets main holds: those it was given, those it has opened, those it gives up."""

import logging
import socket
from collections.abc import Collection, Iterable

from sozu_trio.config.addresses import Address
from sozu_trio.nursery.bind import bound_address, open_listening_socket
from sozu_trio.routing.state import ListenerKey

log = logging.getLogger(__name__)

Sockets = dict[ListenerKey, socket.socket]


class ListeningSockets:
    """Opened before a change is decided, taken over or dropped after it, closed when nobody accepts on them."""

    def __init__(self) -> None:
        self.in_use: Sockets = {}
        """Where workers accept, or will in a moment."""
        self._inherited: Sockets = {}
        self._told: set[ListenerKey] = set()
        """Those the log has said are listened on."""

    def inherit(self, sockets: Iterable[socket.socket]) -> None:
        """Take over sockets that already listen; each serves the listener of its address."""
        for sock in sockets:
            sock.setblocking(False)
            self._inherited["tcp", bound_address(sock)] = sock

    def open(self, wanted: Collection[ListenerKey]) -> Sockets:
        """A socket for each of `wanted` that is not in use. An inherited one is no less inherited before `take_over`.

        Raises OperatorError for an address that cannot be had; nothing is open then that was not before.
        """
        opened: Sockets = {}
        try:
            for key in sorted(set(wanted) - self.in_use.keys()):
                ours = [address for _, address in (*self.in_use, *self._inherited, *opened)]
                opened[key] = self._inherited.get(key) or open_listening_socket(key[1], ours)
        except BaseException:
            self.drop(opened)
            raise
        return opened

    def drop(self, opened: Sockets) -> None:
        """Close what `open` has opened: it was not wanted after all."""
        for key in opened.keys() - self._inherited.keys():
            opened[key].close()

    def take_over(self, opened: Sockets, wanted: Collection[ListenerKey]) -> None:
        """Use `opened` from now on, and close what is not `wanted` any more.

        Workers close theirs later, once they have let in who is in the queue; ours, open until then, would let in some
        that nobody takes.
        """
        for key in opened:
            self._inherited.pop(key, None)
        self.in_use.update(opened)
        self._close(self.in_use.keys() - set(wanted))

    def settle(self, heard: Iterable[ListenerKey]) -> None:
        """Close what no worker accepts on, for clients would wait in its queue for ever; say what has changed."""
        self._close(self.in_use.keys() - set(heard))
        for transport, address in sorted(self.in_use.keys() - self._told):
            log.info("listening on %s %s", transport, address)
        for transport, address in sorted(self._told - self.in_use.keys()):
            log.info("no longer listening on %s %s", transport, address)
        self._told = set(self.in_use)

    def stop(self) -> None:
        """Close those in use, for good."""
        self._close(set(self.in_use))

    def close(self) -> None:
        """Close everything."""
        self.stop()
        for sock in self._inherited.values():
            sock.close()

    def _close(self, keys: Iterable[ListenerKey]) -> None:
        for key in keys:
            self.in_use.pop(key).close()

    @property
    def addresses(self) -> list[Address]:
        return [address for _, address in sorted(self.in_use)]
