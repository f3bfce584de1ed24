"""What is said with one client of the control socket: requests in, replies out, many at a time.

    conversation          cancelled when the client has gone
     ├─ hang-up           notices that, also while nobody reads
     ├─ writing           ends last
     └─ queries           one task each; end with the client

Requests that change something are carried out one after the other, in the order they came, by a task that is not part
of this tree: a change that has begun is not left half way because whoever asked for it closed a socket.
"""

import logging
import math
import os
import select
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import trio

from sozu_trio.config.limits import ControlLimits
from sozu_trio.control.answering import Answer, Answerer, Progress, answered
from sozu_trio.control.frames import Lines
from sozu_trio.control.outbox import Outbox
from sozu_trio.control.permissions import Peer
from sozu_trio.control.protocol import VERSION, Id, NoRequest, Reply, Request, read_request, refusal_of, write_reply
from sozu_trio.errors import OperatorError, Problem

log = logging.getLogger(__name__)

READ_SIZE = 65536
HELLO = "hello"
"""The one verb that belongs to the protocol itself."""
LEFT_OUT = "not carried out: main stops or is being replaced; ask again"


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What every conversation goes by."""

    answer: Answerer
    hello: Callable[[Peer], Mapping[str, Any]]
    changes_state: Callable[[str], bool]
    limits: ControlLimits
    reading: trio.CapacityLimiter
    """Of the threads that read large requests, of all clients."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover:
    """A conversation that another process goes on with: its socket, who it is with, the request that is under way, and
    what has come of the next one, a character for each byte.

    `descriptor` is a copy, so that it stays what it is when the client hangs up here; to be closed by who has it.
    """

    descriptor: int
    peer: Peer
    request: Id
    begun: str


def hello_content(service: Service, peer: Peer) -> dict[str, Any]:
    """The content of `hello`."""
    return {
        "protocol": VERSION,
        **service.hello(peer),
        "role": peer.role,
        "max_request": service.limits.request,
    }


async def hung_up(sock: trio.socket.SocketType) -> None:
    """Wait until the other side has closed altogether. One that only stops sending still waits for its replies."""
    with select.epoll() as watch:
        watch.register(sock.fileno(), 0)  # EPOLLHUP is always told
        await trio.lowlevel.wait_readable(watch.fileno())


class Conversation:
    """One client from hello to the end; closing the socket is left to the caller."""

    def __init__(self, service: Service, peer: Peer, sock: trio.socket.SocketType, changing: trio.Nursery) -> None:
        """`changing` outlives the client: a change that has begun is finished there."""
        self._service = service
        self._peer = peer
        self._sock = sock
        self._changing = changing
        self._limits = service.limits
        self._outbox = Outbox(service.limits)
        self._lines = Lines(service.limits.request)
        self._line_deadline: float | None = None
        self._scope = trio.CancelScope()
        self._receiving = trio.CancelScope()
        self._stopping = trio.Event()
        self._taken = trio.Event()
        """No more requests are taken, and no line that has come is without its answer or its place."""
        self._room = trio.Semaphore(service.limits.requests)
        self._under_way: set[Id] = set()
        self._answered_one = trio.lowlevel.ParkingLot()
        self._changes: deque[Request] = deque()
        self._change_runs = False
        self._greeted = False

    def stop(self) -> None:
        """Take no more requests; the conversation ends when those under way have been answered."""
        self._stopping.set()
        self._receiving.cancel(reason="the control server stops")

    def cut(self) -> None:
        """End it now, whatever is under way."""
        self._scope.cancel(reason="the control server ends it")

    async def pause(self, request_id: Id) -> None:
        """Take no more requests, and have all that was asked answered but `request_id`. The conversation ends when that
        request is answered here all the same.
        """
        self.stop()
        while self._changes:
            await self._leave_out(self._changes.popleft())
        await self._taken.wait()
        while self._under_way - {request_id}:
            await self._answered_one.park()
        await self._outbox.written()

    def handover(self, request_id: Id) -> Handover:
        """After `pause`: what another process needs that is to go on. The client has not gone.

        Raises OSError where there is no room for a descriptor.
        """
        begun = self._lines.begun.decode("latin-1")
        return Handover(descriptor=os.dup(self._sock.fileno()), peer=self._peer, request=request_id, begun=begun)

    async def _leave_out(self, request: Request) -> None:
        try:
            await self._refuse(request)
        finally:
            self._end(request)

    async def _refuse(self, request: Request) -> None:
        await self._say(Reply(id=request.id, status="failure", message=LEFT_OUT))

    def go_on(self, handover: Handover, answer: Answerer) -> None:
        """Before `run`: another process has begun it, and it is `answer` that carries the request out."""
        self._greeted = True
        self._lines.feed(handover.begun.encode("latin-1"))
        self._under_way.add(handover.request)
        self._room.acquire_nowait()
        request = Request(id=handover.request, verb="")
        # Changes behind it wait for their turn.
        self._change_runs = True
        self._changing.start_soon(self._finish, request, answer, name=f"request {request.id}")

    async def _finish(self, request: Request, answer: Answerer) -> None:
        await self._carry_out(request, answer)
        await self._change()

    async def run(self) -> None:
        """Until the client has gone, or has been told why it must go."""
        try:
            with self._scope:
                async with trio.open_nursery() as connection:
                    connection.start_soon(self._end_on_hangup, name="hang-up")
                    connection.start_soon(self._write, connection.cancel_scope, name="writing")
                    await self._converse()
        finally:
            self._taken.set()
            # Nobody waits for these any more, and none of them has begun.
            self._changes.clear()
            self._outbox.finish()

    async def _converse(self) -> None:
        if not self._greeted:
            content = hello_content(self._service, self._peer)
            await self._say(Reply(id=None, status="ok", message=HELLO, content=content))
        async with trio.open_nursery() as queries:
            complaint = await self._take_requests(queries)
            self._taken.set()
            if complaint:
                await self._complain(complaint)
                queries.cancel_scope.cancel(reason=complaint)
        while self._under_way:
            await self._answered_one.park()
        self._outbox.finish()

    async def _end_on_hangup(self) -> None:
        await hung_up(self._sock)
        self._scope.cancel(reason="the client has gone")

    async def _write(self, connection: trio.CancelScope) -> None:
        try:
            await self._outbox.write(self._sock)
            connection.cancel(reason="everything has been said")
        except trio.TooSlowError:
            log.warning("%s: has not read its replies for %g s: dropped", self._peer, self._limits.unread)
            self._scope.cancel(reason="the client does not read")
        except OSError:
            self._scope.cancel(reason="the client has gone")

    async def _take_requests(self, queries: trio.Nursery) -> str | None:
        """Until the client sends no more or `stop`; what to complain of, if anything, before what runs is cut."""
        while not self._stopping.is_set():
            with trio.CancelScope(deadline=self._patience()) as self._receiving:
                data = await self._receive()
            if self._receiving.cancelled_caught:
                return None if self._stopping.is_set() else self._impatience()
            if not data:
                if self._lines.unfinished:
                    await self._complain("cut short: the last line has no line feed")
                return None
            for line in self._lines.feed(data):
                self._line_deadline = None
                await self._take(line, queries)
        return None

    async def _receive(self) -> bytes:
        try:
            return await self._sock.recv(READ_SIZE)
        except ConnectionError:
            return b""

    def _patience(self) -> float:
        """Trio's time until which the next bytes are waited for."""
        if not self._lines.unfinished:
            return math.inf if self._under_way else trio.current_time() + self._limits.idle
        if self._line_deadline is None:
            self._line_deadline = trio.current_time() + self._limits.half_line
        return self._line_deadline

    def _impatience(self) -> str:
        if self._lines.unfinished:
            return f"cut short: a line was not complete {self._limits.half_line:g} s after it began"
        return f"idle: no request for {self._limits.idle:g} s"

    async def _take(self, line: bytes | None, queries: trio.Nursery) -> None:
        """Start on the request in `line`, or say why not. Waits while too many are under way."""
        await self._room.acquire()
        try:
            request = await self._request_in(line)
        except NoRequest as refused:
            self._room.release()
            await self._say(refusal_of(refused))
            await trio.sleep(0 if self._stopping.is_set() else self._limits.after_garbage)
            return
        if self._stopping.is_set():
            self._room.release()
            await self._refuse(request)
            return
        self._under_way.add(request.id)
        if not self._service.changes_state(request.verb):
            queries.start_soon(self._query, request, name=f"query {request.id}")
            return
        self._changes.append(request)
        if not self._change_runs:
            self._change_runs = True
            self._changing.start_soon(self._change, name=f"changes of client {self._peer.client_id}")

    async def _request_in(self, line: bytes | None) -> Request:
        """Raises NoRequest, without the id where another request goes by it: that one has not failed."""
        if line is None:
            limit = f"a line of more than {self._limits.request} bytes; the limit is max_command_buffer_size"
            raise NoRequest((Problem("", limit),))
        try:
            request = await self._read(line)
        except NoRequest as refused:
            if refused.id in self._under_way:
                refused.id = None
            raise
        if request.id in self._under_way:
            raise NoRequest((Problem("id", f"{request.id!r} is that of a request which is still under way"),))
        return request

    async def _read(self, line: bytes) -> Request:
        if len(line) < self._limits.large_request:
            return read_request(line)
        return await trio.to_thread.run_sync(read_request, line, limiter=self._service.reading)

    async def _query(self, request: Request) -> None:
        try:
            # Who does not read what has been asked for gets nothing more made.
            await self._outbox.room()
            await self._outbox.put(await self._answered(request, self._outbox.put))
        finally:
            self._end(request)

    async def _change(self) -> None:
        try:
            while self._changes:
                await self._carry_out(self._changes.popleft())
        finally:
            self._change_runs = False

    async def _carry_out(self, request: Request, answer: Answerer | None = None) -> None:
        try:
            await self._outbox.put(await self._answered(request, self._outbox.offer, answer))
        finally:
            self._end(request)

    def _end(self, request: Request) -> None:
        self._under_way.discard(request.id)
        self._room.release()
        self._answered_one.unpark_all()
        if not self._under_way and not self._lines.unfinished:
            self._receiving.deadline = self._patience()

    async def _answered(
        self, request: Request, send: Callable[[bytes], Awaitable[None]], answer: Answerer | None = None
    ) -> bytes:
        async def progress(message: str, content: Any) -> None:
            await send(write_reply(Reply(id=request.id, status="processing", message=message, content=content)))

        return await answered(answer or self._answer, self._peer, request, progress)

    async def _answer(self, peer: Peer, request: Request, progress: Progress) -> Answer:
        if request.verb == HELLO:
            if request.body:
                raise OperatorError("hello takes no body")
            return Answer(HELLO, hello_content(self._service, peer))
        return await self._service.answer(peer, request, progress)

    async def _complain(self, complaint: str) -> None:
        await self._say(Reply(id=None, status="failure", message=complaint))

    async def _say(self, reply: Reply) -> None:
        await self._outbox.put(write_reply(reply))
