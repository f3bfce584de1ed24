"""The listening sockets main holds: for each worker one per listener.

Main keeps its own descriptor of each, so that a connection which waits in the queue of a worker that died is there for
its successor. Those that came from outside have no SO_REUSEPORT, so all workers share them. Where a service manager
holds them as well, no second socket can be had at their addresses, and clients can connect even while nobody listens
here: so each is kept until the stop, for a listener that comes back and for workers that come later.
"""

import logging
import socket
from collections.abc import Collection, Iterable

from sozu_trio.config.addresses import Address
from sozu_trio.errors import OperatorError
from sozu_trio.nursery.bind import bound_address, open_listening_socket
from sozu_trio.routing.state import ListenerKey

log = logging.getLogger(__name__)

Sockets = dict[ListenerKey, socket.socket]


class ListeningSockets:
    """Opened before a change is decided, taken over or dropped after it, closed when nobody accepts on them."""

    def __init__(self, workers: int = 1) -> None:
        """`workers`: how many there are; they are known by 0 … workers − 1."""
        self.of: tuple[Sockets, ...] = tuple({} for _ in range(workers))
        """Where each worker accepts, or will in a moment."""
        self._inherited: Sockets = {}
        self._shared: set[ListenerKey] = set()
        """Those of `_inherited` that whoever gave them holds, too."""
        self._told: set[ListenerKey] = set()
        """Those the log has said are listened on."""

    @property
    def in_use(self) -> set[ListenerKey]:
        """Where at least one worker accepts, or will in a moment."""
        return {key for sockets in self.of for key in sockets}

    def inherit(self, sockets: Iterable[socket.socket], *, shared: bool = False) -> None:
        """Take over sockets that already listen; each serves the listener of its address. Those that are `shared` with
        whoever gave them are kept until the stop.
        """
        given: Sockets = {("tcp", bound_address(sock)): sock for sock in sockets}
        for sock in given.values():
            sock.setblocking(False)
        self._inherited |= given
        self._shared |= given.keys() if shared else set()

    def adopt(self, owner: int, key: ListenerKey, sock: socket.socket) -> None:
        """Take over one that worker `owner` accepts on, or did before it died."""
        if owner < len(self.of) and key not in self.of[owner]:
            self.of[owner][key] = sock
        else:
            sock.close()

    def open(self, wanted: Collection[ListenerKey]) -> list[Sockets]:
        """For each worker a socket for each of `wanted` where it has none. An inherited one is no less inherited before
        `take_over`.

        Raises OperatorError for an address that cannot be had; nothing is open then that was not before.
        """
        opened: list[Sockets] = [{} for _ in self.of]
        try:
            for key in sorted(wanted):
                for worker, sockets in enumerate(self.of):
                    if key not in sockets:
                        opened[worker][key] = self._open(key, opened)
        except BaseException:
            self.drop(opened)
            raise
        return opened

    def _open(self, key: ListenerKey, opened: Iterable[Sockets]) -> socket.socket:
        if key in self._inherited:
            try:
                return self._inherited[key].dup()
            except OSError as error:
                raise OperatorError(f"cannot listen on {key[1]}: {error.strerror}") from error
        ours = [address for sockets in (*self.of, self._inherited, *opened) for _, address in sockets]
        return open_listening_socket(key[1], ours)

    def drop(self, opened: Iterable[Sockets]) -> None:
        """Close what `open` has opened: it was not wanted after all."""
        for sockets in opened:
            for sock in sockets.values():
                sock.close()

    def take_over(self, opened: Iterable[Sockets], wanted: Collection[ListenerKey]) -> None:
        """Use `opened` from now on, and close what is not `wanted` any more.

        Workers close theirs later, once they have let in who is in the queue; ours, open until then, would let in some
        that nobody takes.
        """
        for sockets, new in zip(self.of, opened, strict=True):
            for key in new.keys() & self._inherited.keys() - self._shared:
                self._inherited.pop(key).close()
            sockets.update(new)
            self._close(sockets, sockets.keys() - set(wanted))

    def settle(self, heard: Iterable[tuple[int, Collection[ListenerKey]]]) -> None:
        """Close what a worker of `heard` does not accept on, for clients would wait in its queue for ever; say what has
        changed.
        """
        for worker, keys in heard:
            self._close(self.of[worker], self.of[worker].keys() - set(keys))
        in_use = self.in_use
        for transport, address in sorted(in_use - self._told):
            log.info("listening on %s %s", transport, address)
        for transport, address in sorted(self._told - in_use):
            log.info("no longer listening on %s %s%s", transport, address, self._who_waits((transport, address)))
        self._told = in_use

    def _who_waits(self, key: ListenerKey) -> str:
        """The end of a line that says that nobody listens there any more."""
        return "; its socket was handed over and stays open: clients wait there" if key in self._shared else ""

    def stop(self) -> None:
        """Close those in use, for good."""
        for sockets in self.of:
            self._close(sockets, set(sockets))
        self._close(self._inherited, self._shared)
        self._shared = set()

    def close(self) -> None:
        """Close everything."""
        self.stop()
        for sock in self._inherited.values():
            sock.close()

    def _close(self, sockets: Sockets, keys: Iterable[ListenerKey]) -> None:
        for key in keys:
            sockets.pop(key).close()

    @property
    def addresses(self) -> list[Address]:
        return [address for _, address in sorted(self.in_use)]
