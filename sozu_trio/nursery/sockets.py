"""The listening sockets main holds: for each worker one per listener.

Main keeps its own descriptor of each, so that a connection which waits in the queue of a worker that died is there for
its successor. Those that came from outside have no SO_REUSEPORT, so all workers share them. Where a service manager
holds them as well, no second socket can be had at their addresses, and clients can connect even while nobody listens
here: so each is kept until the stop, for a listener that comes back and for workers that come later.
"""

import contextlib
import itertools
import logging
import os
import select
import socket
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from sozu_trio.config.addresses import Address
from sozu_trio.errors import OperatorError
from sozu_trio.nursery.bind import bound_address, listen_again, open_listening_socket
from sozu_trio.nursery.steering import let_go, steer
from sozu_trio.routing.state import ListenerKey

log = logging.getLogger(__name__)

Sockets = dict[ListenerKey, socket.socket]


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What one image of main leaves to the next: descriptors by worker and listener, and whatever else
    `ListeningSockets` knows of them.
    """

    of: list[tuple[int, str, Address, int]]
    workers: tuple[int, ...]
    inherited: list[tuple[str, Address, int]]
    from_outside: tuple[ListenerKey, ...]
    shared: tuple[ListenerKey, ...]
    unnumbered: tuple[ListenerKey, ...]
    numbers: list[tuple[str, Address, tuple[int, ...]]]

    @property
    def descriptors(self) -> list[int]:
        return [*(each[3] for each in self.of), *(each[2] for each in self.inherited)]

    @property
    def keys(self) -> set[tuple[int, ListenerKey]]:
        """Each worker with where it has a socket."""
        return {(worker, (transport, address)) for worker, transport, address, _ in self.of}


class ListeningSockets:
    """Opened before a change is decided, taken over or dropped after it, closed when nobody accepts on them."""

    def __init__(self, workers: int = 1) -> None:
        """`workers`: how many there are at first; they are known by 0 … workers − 1."""
        self.of: dict[int, Sockets] = {worker: {} for worker in range(workers)}
        """Where each worker accepts, or will in a moment, by its id."""
        self._inherited: Sockets = {}
        self._from_outside: set[ListenerKey] = set()
        """Where one socket serves all workers, taken over or not."""
        self._shared: set[ListenerKey] = set()
        """Those of them that whoever gave them holds, too."""
        self._numbers: dict[ListenerKey, list[int]] = {}
        """Whose socket has which number in its SO_REUSEPORT group (`nursery/steering.py`)."""
        self._unnumbered: set[ListenerKey] = set()
        """Those of workers that a main before has left: which number each has, only that main knew."""
        self._told: set[ListenerKey] = set()
        """Those the log has said are listened on."""

    @property
    def in_use(self) -> set[ListenerKey]:
        """Where at least one worker accepts, or will in a moment."""
        return {key for sockets in self.of.values() for key in sockets}

    def inherit(self, sockets: Iterable[socket.socket], *, shared: bool = False) -> None:
        """Take over sockets that already listen; each serves the listener of its address. Those that are `shared` with
        whoever gave them are kept until the stop.
        """
        given: Sockets = {("tcp", bound_address(sock)): sock for sock in sockets}
        for sock in given.values():
            sock.setblocking(False)
        self._inherited |= given
        self._from_outside |= given.keys()
        self._shared |= given.keys() if shared else set()

    def left(self) -> Left:
        """All there is to know, for an image of main that goes on with these sockets."""
        return Left(
            of=[(worker, *key, sock.fileno()) for worker, sockets in self.of.items() for key, sock in sockets.items()],
            workers=tuple(self.of),
            inherited=[(*key, sock.fileno()) for key, sock in self._inherited.items()],
            from_outside=tuple(self._from_outside),
            shared=tuple(self._shared),
            unnumbered=tuple(self._unnumbered),
            numbers=[(*key, tuple(numbers)) for key, numbers in self._numbers.items()],
        )

    def go_on_with(self, left: Left) -> None:
        """Take over copies of what another image has left. Raises OSError where a descriptor is not there."""
        self.of = {worker: {} for worker in left.workers}
        for worker, transport, address, descriptor in left.of:
            self.of[worker][transport, address] = _copy_left(descriptor)
        for transport, address, descriptor in left.inherited:
            self._inherited[transport, address] = _copy_left(descriptor)
        self._from_outside, self._shared = set(left.from_outside), set(left.shared)
        self._unnumbered = set(left.unnumbered)
        self._numbers = {(transport, address): list(numbers) for transport, address, numbers in left.numbers}
        self._told = self.in_use

    def expect(self, there: Collection[int], workers: int) -> None:
        """There will be so many `workers`: those of `there`, and others with the lowest ids that are left."""
        others = (each for each in itertools.count() if each not in there)
        ids = {*there, *itertools.islice(others, workers - len(there))}
        self.of = {worker: {} for worker in sorted(ids)}

    def adopt(self, owner: int, key: ListenerKey, sock: socket.socket) -> None:
        """Take over one that worker `owner` accepts on, or did before it died."""
        if key in self.of.get(owner, {key: None}):
            sock.close()
            return
        self.of[owner][key] = sock
        self._unnumbered.add(key)
        # That main may have died while it steered.
        self._let_go([key])

    def open(self, wanted: Collection[ListenerKey]) -> dict[int, Sockets]:
        """For each worker a socket for each of `wanted` where it has none. An inherited one is no less inherited before
        `take_over`.

        Raises OperatorError for an address that cannot be had; nothing is open then that was not before.
        """
        opened: dict[int, Sockets] = {worker: {} for worker in self.of}
        try:
            for key in sorted(wanted):
                for worker, sockets in self.of.items():
                    if key not in sockets:
                        opened[worker][key] = self._open(key, opened)
                        if key not in self._unnumbered:
                            self._numbers.setdefault(key, []).append(worker)
        except BaseException:
            self.drop(opened)
            raise
        return opened

    def _open(self, key: ListenerKey, opened: Mapping[int, Sockets]) -> socket.socket:
        held = [*self.of.values(), self._inherited]
        if key in self._from_outside:
            for sockets in held:
                if key in sockets:
                    return _copy(key, sockets[key])
            self._from_outside.discard(key)
        return open_listening_socket(key[1], [address for each in (*held, *opened.values()) for _, address in each])

    def revive(self) -> None:
        """Have all listen that somebody has shut down: workers share them, and what they do with them."""
        for worker, sockets in self.of.items():
            for key, sock in sockets.items():
                try:
                    if listen_again(sock):
                        log.error("worker %d has shut its socket for %s down: it listens again", worker, key[1])
                        self._number_anew(worker, key)
                except OSError as error:
                    log.error("nobody can listen on the socket of worker %d for %s: %s", worker, key[1], error)

    def _number_anew(self, worker: int, key: ListenerKey) -> None:
        """It has left its SO_REUSEPORT group, and joined it as the last one."""
        if key not in self._unnumbered:
            self._leave_group(worker, key)
            self._numbers[key].append(worker)

    def _leave_group(self, worker: int, key: ListenerKey) -> None:
        numbers = self._numbers[key]
        # As the kernel does it: the last one takes the number that is free.
        numbers[numbers.index(worker)] = numbers[-1]
        numbers.pop()

    def drop(self, opened: Mapping[int, Sockets]) -> None:
        """Close what `open` has opened: it was not wanted after all."""
        for worker, sockets in opened.items():
            self._close(worker, sockets, set(sockets))

    def take_over(self, opened: Mapping[int, Sockets], wanted: Collection[ListenerKey]) -> None:
        """Use `opened` from now on, and close what is not `wanted` any more.

        Workers close theirs later, once they have let in who is in the queue; ours, open until then, would let in some
        that nobody takes.
        """
        for worker, new in opened.items():
            sockets = self.of[worker]
            for key in new.keys() & self._inherited.keys() - self._shared:
                self._inherited.pop(key).close()
            sockets.update(new)
            self._close(worker, sockets, sockets.keys() - set(wanted))

    def settle(self, heard: Iterable[tuple[int, Collection[ListenerKey]]]) -> None:
        """Close what a worker of `heard` does not accept on, for clients would wait in its queue for ever; say what has
        changed.
        """
        for worker, keys in heard:
            sockets = self.of.get(worker, {})
            self._close(worker, sockets, sockets.keys() - set(keys))
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
        for worker, sockets in self.of.items():
            self._close(worker, sockets, set(sockets))
        for key in self._shared:
            self._inherited.pop(key).close()
        self._shared = set()

    def steer_away(self, workers: Collection[int]) -> None:
        """Have no new connection wait for `workers` any more, who are not all there are; the sockets stay open, for
        the sake of who is in their queues already. Raises OperatorError; nothing has changed then.
        """
        keys = {key for worker in workers for key in self.of[worker]} - self._from_outside
        if keys & self._unnumbered:
            raise OperatorError(
                "worker_count: there are workers that a main before has left, and from them connections cannot be "
                "steered away; fewer workers can be had by a stop and a start"
            )
        steered = []
        try:
            for key in keys:
                staying = [number for number, worker in enumerate(self._numbers[key]) if worker not in workers]
                if staying:
                    steer(self._any(key), staying)
                    steered.append(key)
        except OSError as error:
            self._let_go(steered)
            raise OperatorError(f"cannot steer connections away from a worker: {error.strerror}") from error
        for worker in workers:
            # Shared by all, so nobody waits in it for this one.
            self._close(worker, self.of[worker], self.of[worker].keys() & self._from_outside)

    def is_waited_in(self, workers: Collection[int]) -> bool:
        """Whether somebody is in a queue of one of `workers`."""
        poll = select.poll()
        for worker in workers:
            for sock in self.of[worker].values():
                poll.register(sock, select.POLLIN)
        return bool(poll.poll(0))

    def retire(self, workers: Collection[int]) -> None:
        """Close those of `workers`, who are no more, and let connections go to all that are left."""
        keys = {key for worker in workers for key in self.of[worker]}
        for worker in workers:
            self._close(worker, self.of[worker], set(self.of[worker]))
            del self.of[worker]
        self._let_go(keys & self.in_use)

    def _let_go(self, keys: Iterable[ListenerKey]) -> None:
        for key in keys:
            # None is steered where it was closed and opened anew meanwhile.
            with contextlib.suppress(OSError):
                let_go(self._any(key))

    def _any(self, key: ListenerKey) -> socket.socket:
        return next(sockets[key] for sockets in self.of.values() if key in sockets)

    def close(self) -> None:
        """Close everything."""
        self.stop()
        for sock in self._inherited.values():
            sock.close()

    def _close(self, worker: int, sockets: Sockets, keys: Iterable[ListenerKey]) -> None:
        for key in keys:
            sockets.pop(key).close()
            if key in self._unnumbered:
                if key not in self.in_use:
                    self._unnumbered.discard(key)
                continue
            self._leave_group(worker, key)

    @property
    def addresses(self) -> list[Address]:
        return [address for _, address in sorted(self.in_use)]


def _copy_left(descriptor: int) -> socket.socket:
    sock = socket.socket(fileno=os.dup(descriptor))
    sock.setblocking(False)
    return sock


def _copy(key: ListenerKey, sock: socket.socket) -> socket.socket:
    try:
        return sock.dup()
    except OSError as error:
        raise OperatorError(f"cannot listen on {key[1]}: {error.strerror}") from error
