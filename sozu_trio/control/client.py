"""The control socket from Python, on anyio: it works on Trio and on asyncio.

    async with open_client("/run/sozu/sozu.sock") as client:
        reply = await client.ask("cluster list", {"id": "api"})
        async for event in client.events():
            print(event["kind"])

Asks may run at the same time, each gets its own replies. Time limits are the caller's: `with anyio.fail_after(30):`.
"""

import itertools
import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any
from weakref import WeakValueDictionary

import anyio
import anyio.lowlevel
from anyio.abc import SocketStream

from sozu_trio.control.frames import Lines
from sozu_trio.control.protocol import VERSION, Id, NoReply, Reply, Request, read_reply, write_request
from sozu_trio.errors import ConnectionLost, ControlError, RequestFailed

READ_SIZE = 262144
LARGEST_REPLY = 1 << 30
"""Bytes of one line."""
MOST_WAITING = 10_000
"""Replies to one request that nobody has taken yet; a further one ends it."""

OnProcessing = Callable[[Reply], None]


@asynccontextmanager
async def open_client(path: str | os.PathLike[str]) -> AsyncIterator["Client"]:
    """A connection to the proxy whose control socket is at `path`, until the body ends.

    Raises ControlError when nobody is there, or nobody who speaks our version, and RequestFailed when the proxy turns
    us away. What the body raises comes out as it is, in no group.
    """
    failure: BaseException | None = None
    async with await _connect(path) as stream:
        client = Client(stream, await _greeting(stream, path))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(client.read, name="replies")
            tasks.start_soon(client.write, name="requests")
            try:
                yield client
            except (Exception, KeyboardInterrupt, SystemExit) as error:
                failure = error
            tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def _connect(path: str | os.PathLike[str]) -> SocketStream:
    try:
        return await anyio.connect_unix(path)
    except ConnectionRefusedError as error:
        # Main takes the file along when it stops.
        raise ControlError(
            f"no proxy listens at {os.fspath(path)} any more (if main has died its workers serve on: start it again)"
        ) from error
    except FileNotFoundError as error:
        raise ControlError(
            f"no proxy listens at {os.fspath(path)} (is it running? its key command_socket says where)"
        ) from error
    except PermissionError as error:
        raise ControlError(
            f"permission denied at {os.fspath(path)}: the socket is its owner's, and you are uid {os.geteuid()}"
        ) from error
    except OSError as error:
        raise ControlError(f"cannot connect to {os.fspath(path)}: {error.strerror or error}") from error


async def _greeting(stream: SocketStream, path: str | os.PathLike[str]) -> "_Greeting":
    lines = _LineStream(stream)
    try:
        hello = read_reply(await lines.receive())
    except anyio.EndOfStream:
        raise ControlError(f"whoever listens at {os.fspath(path)} closed the connection without a word") from None
    except NoReply as error:
        raise ControlError(f"whoever listens at {os.fspath(path)} does not speak our protocol: {error}") from error
    if hello.status == "failure":
        raise RequestFailed(hello.message, hello.content)
    content = hello.content if isinstance(hello.content, dict) else {}
    if content.get("protocol") != VERSION:
        spoken = content.get("protocol")
        raise ControlError(
            f"the proxy at {os.fspath(path)} speaks version {spoken} of the protocol, and we version {VERSION}"
        )
    return _Greeting(content, lines)


class _LineStream:
    """The lines that come over a stream."""

    def __init__(self, stream: SocketStream) -> None:
        self._stream = stream
        self._lines = Lines(LARGEST_REPLY)
        self._ready: deque[bytes] = deque()

    async def receive(self) -> bytes:
        """The next line. Raises EndOfStream, also in the middle of one, and NoReply for one that is far too long."""
        while not self._ready:
            try:
                data = await self._stream.receive(READ_SIZE)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                raise anyio.EndOfStream from None
            for line in self._lines.feed(data):
                if line is None:
                    raise NoReply(f"a line of more than {LARGEST_REPLY} bytes")
                self._ready.append(line)
        return self._ready.popleft()


class _Greeting:
    """What the proxy said first, and where the rest will come from."""

    def __init__(self, content: dict[str, Any], lines: _LineStream) -> None:
        self.content = content
        self.lines = lines


class _Mailbox:
    """Replies to one request, in order, until it ends or is lost."""

    def __init__(self) -> None:
        self._replies: deque[Reply] = deque()
        self._lost: str | None = None
        self._arrived = anyio.Event()

    def put(self, reply: Reply) -> bool:
        """False when nobody takes them, and this was one too many."""
        if len(self._replies) == MOST_WAITING:
            self.lose(f"{MOST_WAITING} replies to this request wait to be taken; further ones are lost")
            return False
        self._replies.append(reply)
        self._arrived.set()
        return True

    def lose(self, why: str) -> None:
        self._lost = why
        self._arrived.set()

    async def take(self) -> Reply:
        """The next reply. Raises RequestFailed for a failure, ConnectionLost when there will be none."""
        await anyio.lowlevel.checkpoint()
        while not self._replies:
            if self._lost is not None:
                raise ConnectionLost(self._lost)
            self._arrived = anyio.Event()
            await self._arrived.wait()
        reply = self._replies.popleft()
        if reply.status == "failure":
            raise RequestFailed(reply.message, reply.content)
        return reply


class Client:
    """A connection to a proxy; comes from `open_client`."""

    def __init__(self, stream: SocketStream, greeting: _Greeting) -> None:
        self.hello: Mapping[str, Any] = greeting.content
        """Versions, pid, generation, role and limits, as docs/control-protocol.md has them."""
        self._stream = stream
        self._lines = greeting.lines
        self._numbers = itertools.count(1)
        # Whoever waits for replies holds the mailbox: when they are gone, so is it, and late replies are dropped.
        self._mailboxes: WeakValueDictionary[Id, _Mailbox] = WeakValueDictionary()
        self._put, self._take = anyio.create_memory_object_stream[bytes](16)
        self._lost: str | None = None

    async def ask(
        self, verb: str, body: Mapping[str, Any] | None = None, on_processing: OnProcessing | None = None
    ) -> Reply:
        """Ask and wait for the last reply, whose `message` and `content` are the answer.

        Raises RequestFailed for a failure and ConnectionLost when the connection ends before; TypeError or ValueError
        for a body that is not JSON. Cancelled, it forgets the request; the proxy still carries it out.
        """
        mailbox = await self._send(verb, body or {})
        while (reply := await mailbox.take()).status == "processing":
            if on_processing is not None:
                on_processing(reply)
        return reply

    def events(self, body: Mapping[str, Any] | None = None) -> "Events":
        """What happens in the proxy from now on, as an async iterator of objects with a `kind` and a `time` each."""
        return Events(self, body or {})

    async def _send(self, verb: str, body: Mapping[str, Any]) -> _Mailbox:
        """Send one request; the mailbox gets its replies. The line leaves whole or not at all."""
        number = next(self._numbers)
        line = write_request(Request(id=number, verb=verb, body=body))
        size, most = len(line) - 1, self.hello.get("max_request")
        if isinstance(most, int) and size > most:
            raise RequestFailed(f"a request of {size} bytes; the proxy takes {most} (max_command_buffer_size)")
        if self._lost is not None:
            raise ConnectionLost(self._lost)
        mailbox = self._mailboxes[number] = _Mailbox()
        try:
            await self._put.send(line)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            raise ConnectionLost("the proxy closed the connection") from None
        return mailbox

    async def write(self) -> None:
        """Send requests until the connection ends. Runs in a task of its own: a cancelled ask must not cut a line."""
        with self._put, self._take:
            try:
                async for line in self._take:
                    await self._stream.send(line)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                return  # what the proxy said before it closed is still to be read

    async def read(self) -> None:
        """Hand out replies until the connection ends."""
        try:
            while True:
                self._deliver(read_reply(await self._lines.receive()))
        except anyio.EndOfStream:
            self._lose("the proxy closed the connection")
        except NoReply as error:
            self._lose(str(error))

    def _deliver(self, reply: Reply) -> None:
        if reply.id is None:
            self._lose(f"the proxy gave the connection up: {reply.message}")
        elif (mailbox := self._mailboxes.get(reply.id)) and not mailbox.put(reply):
            del self._mailboxes[reply.id]

    def _lose(self, why: str) -> None:
        if self._lost is None:
            self._lost = why
            for mailbox in list(self._mailboxes.values()):
                mailbox.lose(why)


class Events:
    """The content of each `processing` reply to `events`."""

    def __init__(self, client: Client, body: Mapping[str, Any]) -> None:
        self._client = client
        self._body = body
        self._mailbox: _Mailbox | None = None

    def __aiter__(self) -> "Events":
        return self

    async def __anext__(self) -> Any:
        """Raises RequestFailed when the proxy ends the stream with a failure, ConnectionLost when it goes away."""
        if self._mailbox is None:
            self._mailbox = await self._client._send("events", self._body)
        reply = await self._mailbox.take()
        if reply.status == "ok":
            raise StopAsyncIteration
        return reply.content
