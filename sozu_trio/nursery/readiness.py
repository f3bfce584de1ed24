"""Waits for the next message on sockets that are waited for again and again, and tells when a peer has gone.

`trio.lowlevel.wait_readable` asks the kernel anew for each wait, which is most of its cost. Here a socket is put into
an epoll set of our own at its first wait, level-triggered, and stays: a wait is then an attribute that is set, and one
system call tells of all sockets that have become readable. A bare relay of small requests on 64 connections takes 16 µs
of CPU for each instead of 24; with a single connection there is nothing to share, and it takes 8 µs more. A relay of
bodies, which waits for one side while the other one is readable, is better off with Trio's.

    readable, and somebody waits     it is read, and the task rescheduled with what came
    readable, and nobody waits       whoever reads it is busy with something else: it is only watched for a hang-up, or
                                     taken out of the set, until its next wait
    hung up, and nobody waits        who watches is told, once; whoever waits reads first, and may find a last request

While a session waits for its backend nobody reads from the client, so nobody would notice that it has left. A second
task per request would cost a third of the request; reading ahead would break backpressure. EPOLLRDHUP is a FIN. A
client may in principle shut its sending side and wait for the answer; it looks the same as one that closed, and as
nginx does we take it for gone. TCP relays, where half-close is ordinary, do not watch.

The set is looked at in each pass of Trio's loop, by an instrument, so that whoever is woken runs in that same pass, and
what they have to say leaves at its end (`volley.py`). All reads come before the first of them runs, so that the code
of the kernel is in the cache for all but one: 5 % less CPU for a small request on 64 connections. So do first looks at
what has come, for the same reason, where there are many: another 6 %. A system task waits for the set itself: that ends
Trio's own wait when something happens in it. Both begin with the first wait of a run.
"""

import contextlib
import select
import socket
from collections.abc import Callable
from typing import Final, Self

import outcome
import trio
from trio.lowlevel import Abort, RaiseCancelT, Task, current_task, reschedule

from sozu_trio.config.limits import READ_TOGETHER
from sozu_trio.nursery.volley import Volley

READING: Final = select.EPOLLIN | select.EPOLLRDHUP
READING_AND_WRITING: Final = READING | select.EPOLLOUT
HANGING_UP: Final = select.EPOLLRDHUP
"""The kernel adds EPOLLHUP and EPOLLERR to whatever is asked for."""
HUNG_UP: Final = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
Foresee = Callable[[bytes], object]
"""A first look at what has come. What it raises is not heard: whoever waited is to find the same."""
BUSY: Final = "another task is already waiting for this socket"


class Readable:
    """The waits of one task for one socket. Call `forget` before the socket is closed: its number may go to another,
    and of a socket that lives on in another process one would be told for ever.

    It is the outcome of its own waits: to make an `outcome.Value` for each, and use it up, is 4 % of a request.
    """

    __slots__ = (
        "_number", "_set", "asked", "data", "failure", "foresee", "on_hangup", "size", "sock", "task", "volley",
    )  # fmt: skip

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._number = -1
        self._set: _Set | None = None
        """Where it is, while it is."""
        self.asked = 0
        """Which events the set asks for."""
        self.task: Task | None = None
        """Who waits."""
        self.size = 0
        """Bytes that are to be read at the end of the wait; 0 = nothing."""
        self.foresee: Foresee | None = None
        """Who has a first look at what is read, in this wait or the last."""
        self.data: bytes | None = None
        self.failure: Exception | None = None
        """What the reading came to; None and None where there was nothing to read after all."""
        self.on_hangup: Callable[[], None] | None = None
        """Called once, in no task, when the peer has gone: it must not fail. None: nobody cares, or it was."""
        self.volley: Volley | None = None
        """Of the run in which it was waited for."""

    def expect(self, size: int = 0, foresee: Foresee | None = None) -> Callable[[RaiseCancelT], Abort]:
        """What to give to `wait_task_rescheduled`, at once: it lasts until the socket is readable or has failed.
        `foresee` may have seen what was read by then.

        That returns what was read, at most `size` bytes; None where there was nothing, or too much was there for others
        (READ_TOGETHER), so that it is still to be read. It raises what reading does, and trio.ClosedResourceError where
        the socket is forgotten meanwhile. This raises trio.BusyResourceError where somebody waits.
        """
        if self.task is not None:
            raise trio.BusyResourceError(BUSY)
        if self.asked != READING:
            self._ask_for(READING)
        self.task = current_task()
        self.size = size
        self.foresee = foresee
        return self._abort

    def unwrap(self) -> bytes | None:
        """All that Trio does with the outcome of `wait_task_rescheduled`."""
        if self.failure is not None:
            failure, self.failure = self.failure, None
            try:
                raise failure
            finally:
                del failure  # Else it would refer to this frame, and this frame to it.
        data, self.data = self.data, None
        return data

    def _abort(self, _: RaiseCancelT) -> Abort:
        self.task = None
        return Abort.SUCCEEDED

    def watch(self, on_hangup: Callable[[], None]) -> None:
        """Have `on_hangup` called when the peer has gone, or has already."""
        self.on_hangup = on_hangup
        if not self.asked:
            self._ask_for(READING)  # It is about to be waited for.

    def _ask_for(self, events: int) -> None:
        if self._set is None:
            number, known = self.sock.fileno(), _set_of_run()
            known.put(number, self, events)
            self._number, self._set = number, known
            self.volley = known.volley
        else:
            self._set.change(self._number, events)
        self.asked = events

    def end_with_room(self) -> None:
        """The wait now going on is to end, too, as soon as the socket takes more, and nothing is read."""
        if self.task is not None:
            self.size = 0
            self._ask_for(READING_AND_WRITING)

    def rest(self) -> None:
        """Nobody reads: ask for hang-ups only, or for nothing, until the next wait."""
        if self.on_hangup is not None:
            self._ask_for(HANGING_UP)
        else:
            self._leave()

    def _leave(self) -> None:
        if self._set is not None:
            self._set.take_out(self._number, self)
            self._set, self.asked = None, 0

    def yield_to(self, other: Self) -> None:
        """`other` waits for the same socket from now on. Raises trio.BusyResourceError while somebody waits here."""
        if self.task is not None:
            raise trio.BusyResourceError(BUSY)
        if other is not self:
            assert self.on_hangup is None, "it would never be told"
            self._set, self.asked = None, 0

    def forget(self) -> None:
        """Leave the set, and wake whoever waits, as Trio's `notify_closing` does."""
        self._leave()
        if self.task is not None:
            task, self.task = self.task, None
            reschedule(task, outcome.Error(trio.ClosedResourceError("another task closed this socket")))


def notify_closing(sock: socket.socket) -> None:
    """`sock` is about to be closed by somebody who does not know whether it was waited for, and by whom."""
    known = _current.get()
    if known is not None and (readable := known.readable.get(sock.fileno())) is not None:
        readable.forget()


class _Set(trio.abc.Instrument):
    """All that is waited for in one run of Trio."""

    def __init__(self) -> None:
        self._epoll = select.epoll(flags=select.EPOLL_CLOEXEC)
        self.readable: dict[int, Readable] = {}
        """By the numbers of their sockets."""
        self.volley = Volley()

    def put(self, number: int, readable: Readable, events: int) -> None:
        """Raises OSError, ValueError where `number` is that of no open socket."""
        if (before := self.readable.get(number)) is not None:
            before.yield_to(readable)
        try:
            self._epoll.register(number, events)
        except FileExistsError:
            self._epoll.modify(number, events)
        self.readable[number] = readable

    def change(self, number: int, events: int) -> None:
        self._epoll.modify(number, events)

    def take_out(self, number: int, readable: Readable) -> None:
        if self.readable.get(number) is not readable:
            return
        del self.readable[number]
        with contextlib.suppress(OSError, ValueError):  # It was closed first, or the set was.
            self._epoll.unregister(number)

    def before_io_wait(self, timeout: float) -> None:
        """The pass is over. It must not raise."""
        self.volley.fire()

    def after_io_wait(self, timeout: float) -> None:
        """Reschedule all whose time has come; they run in this pass. It must not raise: Trio would call it no more."""
        strange, room = False, READ_TOGETHER
        read: list[Readable] = []
        found = self._epoll.poll(0)
        self.volley.begin(len(found))
        for number, events in found:
            readable = self.readable.get(number)
            if readable is None:
                strange = True
                continue
            if readable.task is not None:
                task, readable.task = readable.task, None
                if readable.size and room > 0:
                    try:
                        data = readable.data = readable.sock.recv(readable.size)
                        room -= len(data)
                        read.append(readable)
                    except BlockingIOError:
                        pass  # Somebody else's event, or a checksum that was wrong: see BUGS in select(2).
                    except Exception as error:
                        # Without this frame, which has to do with others as well.
                        readable.failure = error.with_traceback(None)
                reschedule(task, readable)  # type: ignore[arg-type]
                continue
            if events & HUNG_UP and readable.on_hangup is not None:
                tell, readable.on_hangup = readable.on_hangup, None
                tell()
            try:
                readable.rest()
            except OSError:  # It was closed, and nobody said so.
                readable.forget()
        if self.volley.gathers:
            _foresee_all(read)
        if strange:
            self._renew()

    def _renew(self) -> None:
        """A socket that lives on in another process was closed here first: only with the set does it leave it."""
        try:
            new = select.epoll(flags=select.EPOLL_CLOEXEC)
        except OSError:
            return  # There is no descriptor for it now; the next look tries again.
        before, self._epoll = self._epoll, new
        for number, readable in list(self.readable.items()):
            try:
                self._epoll.register(number, readable.asked)
            except OSError:
                readable.forget()
        trio.lowlevel.notify_closing(before)
        before.close()

    async def run(self) -> None:
        """Have Trio's loop wake up for the set, until the run ends."""
        try:
            while True:
                with contextlib.suppress(trio.ClosedResourceError):
                    await trio.lowlevel.wait_readable(self._epoll)
        finally:
            with contextlib.suppress(KeyError):
                trio.lowlevel.remove_instrument(self)
            trio.lowlevel.notify_closing(self._epoll)
            self._epoll.close()


def _foresee_all(read: list[Readable]) -> None:
    """Have a first look taken at what has been read."""
    for readable in read:
        if readable.data and readable.foresee is not None:
            try:
                readable.foresee(readable.data)
            except Exception:
                continue  # It is looked at again, where that harms nobody else.


_current: Final[trio.lowlevel.RunVar[_Set | None]] = trio.lowlevel.RunVar("sockets that are waited for", None)


def _set_of_run() -> _Set:
    known = _current.get()
    if known is None:
        known = _Set()
        _current.set(known)
        trio.lowlevel.add_instrument(known)
        trio.lowlevel.spawn_system_task(known.run, name="readiness")
    return known
