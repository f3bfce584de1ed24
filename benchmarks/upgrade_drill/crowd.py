"""The clients of a drill, at work together. Each kind is spread over its interval, so that they come one by one."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import trio

from benchmarks.upgrade_drill import keep_alive, tcp, websocket
from benchmarks.upgrade_drill.keep_alive import Asked
from benchmarks.upgrade_drill.tally import Tally

SOON = 0.2
"""Seconds until the first of them begins."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """Who asks what, how many of them, and every how many seconds each."""

    pages: tuple[Asked, ...]
    """Each is asked for by as many clients."""
    keep_alive: int = 64
    keep_alive_every: float = 0.5
    new_every: float = 0.02
    """Seconds between two new connections, to each of the pages in turn; 0 = there are none."""
    echo: Asked | None = None
    """Where WebSockets are opened."""
    websockets: int = 50
    websockets_every: float = 0.02
    stream: tuple[str, int] | None = None
    """Where TCP sessions are opened."""
    streams: int = 20
    streams_every: float = 0.05

    @property
    def sessions(self) -> int:
        """WebSocket and TCP sessions together."""
        return (self.websockets if self.echo else 0) + (self.streams if self.stream else 0)


@asynccontextmanager
async def at_work(crowd: Crowd, tally: Tally) -> AsyncIterator[None]:
    """All of them while the body runs; each then ends what it has begun, within seconds."""
    over = trio.Event()
    async with trio.open_nursery() as nursery:

        def start(count: int, every: float, client: Callable[[int, float], Awaitable[None]]) -> None:
            begin = trio.current_time() + SOON
            for number in range(count):
                nursery.start_soon(client, number, begin + every * number / count)

        def page(number: int) -> Asked:
            return crowd.pages[number % len(crowd.pages)]

        async def asking(number: int, first: float) -> None:
            every = crowd.keep_alive_every
            await keep_alive.keep_asking(page(number), tally, first=first, every=every, over=over)

        async def echoing(number: int, first: float) -> None:
            if crowd.echo is not None:
                every = crowd.websockets_every
                await websocket.keep_echoing(crowd.echo, tally, first=first, every=every, over=over)

        async def streaming(number: int, first: float) -> None:
            if crowd.stream is not None:
                every = crowd.streams_every
                await tcp.keep_streaming(crowd.stream, f"{number}", tally, first=first, every=every, over=over)

        async def connecting(number: int, first: float) -> None:
            every = crowd.new_every * len(crowd.pages)
            await keep_alive.keep_connecting(page(number), tally, first=first, every=every, over=over)

        start(crowd.keep_alive, crowd.keep_alive_every, asking)
        start(crowd.websockets, crowd.websockets_every, echoing)
        start(crowd.streams, crowd.streams_every, streaming)
        if crowd.new_every:
            start(len(crowd.pages), crowd.new_every * len(crowd.pages), connecting)
        yield
        over.set()
