"""HTTP clients that ask at fixed times, however long the answers take, and look at every answer.

A request counts as failed whenever no complete right answer comes, for whatever reason. Before a request is sent, its
connection is looked at: the proxy may have closed it meanwhile, which counts as closed and fails no request; one that
is closed after the request was sent counts as both.
"""

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

import h11
import trio

from benchmarks.upgrade_drill.tally import Tally

PATIENCE = 10
"""Seconds from sending a request to the last byte of its answer."""
CLOSE = ("Connection", "close")
IDLE_CLOSED = "an idle connection was closed"


class NoAnswer(Exception):
    """No complete right answer came; the message says why."""


class Closed(NoAnswer):
    """The connection was closed or reset instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is asked for where, and the right answer: its `status` and, unless it is None, its `body`."""

    host: str
    port: int
    authority: str
    """The Host field."""
    target: str = "/"
    status: int = 200
    body: bytes | None = None


def asked_by(url: str) -> Asked:
    """`http://HOST[:PORT][/PATH]`. Raises ValueError for anything else."""
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        raise ValueError(f"{url!r} is no URL of the form http://HOST[:PORT][/PATH]")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    authority = parts.netloc.rpartition("@")[2]
    return Asked(host=parts.hostname, port=parts.port or 80, authority=authority, target=target)


async def keep_asking(asked: Asked, tally: Tally, *, first: float, every: float, over: trio.Event) -> None:
    """One client, one connection: a request at `first` of Trio's clock and `every` so many seconds, until `over`."""
    due = first
    async with Client(asked, tally) as client:
        while not over.is_set():
            await trio.sleep_until(due)
            await client.ask(due)
            due += every


async def keep_connecting(asked: Asked, tally: Tally, *, first: float, every: float, over: trio.Event) -> None:
    """From `first` on a new connection `every` so many seconds, for one request, until `over`; waits for the last."""
    async with trio.open_nursery() as nursery:
        due = first
        while not over.is_set():
            await trio.sleep_until(due)
            nursery.start_soon(ask_once, asked, tally, due)
            due += every


async def ask_once(asked: Asked, tally: Tally, due: float) -> None:
    """One request over a connection of its own."""
    tally.connections += 1
    async with Client(asked, tally, keep_alive=False) as client:
        await client.ask(due)


async def probe(asked: Asked) -> int:
    """The status that is answered now. Raises NoAnswer."""
    async with Client(asked, Tally(), keep_alive=False) as client:
        return (await client.answer())[0]


@contextlib.contextmanager
def told_as_no_answer() -> Iterator[None]:
    """What goes wrong with a connection, as NoAnswer or Closed."""
    try:
        yield
    except trio.BrokenResourceError as error:
        raise Closed(f"the connection broke: {error.__cause__ or error}") from error
    except OSError as error:
        raise NoAnswer(f"no connection: {error.strerror or error}") from error


def unasked(stream: trio.SocketStream) -> bytes | None:
    """What waits to be read where nothing should: empty where the other side has closed, None where all is quiet."""
    try:
        return os.read(stream.socket.fileno(), 100)
    except BlockingIOError:
        return None
    except OSError:
        return b""


class Client:
    """A client with one connection, opened when it is needed, closed when the `with` is left."""

    def __init__(self, asked: Asked, tally: Tally, *, keep_alive: bool = True) -> None:
        self._asked = asked
        self._tally = tally
        self._keep_alive = keep_alive
        self._stream: trio.SocketStream | None = None
        self._wire = h11.Connection(h11.CLIENT)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """The connection, if there is one; the next request opens another."""
        if self._stream is not None:
            self._stream.socket.close()
            self._stream = None

    async def ask(self, due: float) -> None:
        """One request that should have been sent at `due`; the tally gets what came of it."""
        try:
            self._judge(*await self.answer())
        except NoAnswer as error:
            self._tally.closed += self._keep_alive and isinstance(error, Closed)
            self._tally.failed(str(error))
            self.close()
        else:
            self._tally.answered(trio.current_time() - due)

    async def answer(self) -> tuple[int, bytes]:
        """Ask; status and body, complete. Raises NoAnswer."""
        with trio.move_on_after(PATIENCE), told_as_no_answer():
            stream = await self._connected()
            fields = [("Host", self._asked.authority), *(() if self._keep_alive else (CLOSE,))]
            request = h11.Request(method="GET", target=self._asked.target, headers=fields)
            await stream.send_all(b"".join(self._wire.send(event) or b"" for event in (request, h11.EndOfMessage())))
            found = await self._receive(stream)
            self._finish()
            return found
        self.close()
        raise NoAnswer(f"not complete within {PATIENCE} s")

    def _judge(self, status: int, body: bytes) -> None:
        if status != self._asked.status:
            raise NoAnswer(f"status {status} instead of {self._asked.status}")
        if self._asked.body is not None and body != self._asked.body:
            raise NoAnswer(f"{len(body)} bytes that are not the {len(self._asked.body)} asked for")

    async def _connected(self) -> trio.SocketStream:
        """The connection, if it is as it was left, else a new one. Raises NoAnswer, OSError."""
        if self._stream is not None and (waiting := unasked(self._stream)) is not None:
            self.close()
            if waiting:
                raise NoAnswer(f"bytes came that nobody had asked for: {waiting!r}")
            self._tally.closed += 1
            self._tally.because(IDLE_CLOSED)
        if self._stream is None:
            self._wire = h11.Connection(h11.CLIENT)
            self._stream = await trio.open_tcp_stream(self._asked.host, self._asked.port)
        return self._stream

    async def _receive(self, stream: trio.SocketStream) -> tuple[int, bytes]:
        """Status and body of the answer. Raises NoAnswer, Closed, BrokenResourceError."""
        status, pieces, ended = 0, [], False
        while True:
            try:
                event = self._wire.next_event()
            except h11.RemoteProtocolError as error:
                if ended:
                    raise Closed("the connection was closed before the answer was complete") from error
                raise NoAnswer(f"not HTTP: {error}") from error
            if event is h11.NEED_DATA:
                data = await stream.receive_some()
                ended = not data
                self._wire.receive_data(data)
            elif isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                pieces.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                return status, b"".join(pieces)

    def _finish(self) -> None:
        """Ready for the next request; where the proxy wants the connection closed, it is, and counts as closed by it.

        Raises NoAnswer.
        """
        if self._wire.trailing_data[0]:
            raise NoAnswer("more bytes came than the answer has")
        if self._wire.our_state is h11.DONE and self._wire.their_state is h11.DONE:
            self._wire.start_next_cycle()
            return
        self.close()
        if self._keep_alive:
            self._tally.closed += 1
            self._tally.because("an answer said Connection: close")
