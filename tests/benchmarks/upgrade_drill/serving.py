"""Small servers in the test's process, most of them misbehaving."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import trio

Handle = Callable[[trio.SocketStream], Awaitable[None]]


@asynccontextmanager
async def serving(handle: Handle) -> AsyncIterator[int]:
    """The port of a server while the body runs; `handle` gets each connection, which is closed afterwards."""

    async def bounded(stream: trio.SocketStream) -> None:
        try:
            await handle(stream)
        except trio.BrokenResourceError:
            return

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, bounded, 0, host="127.0.0.1"))
        yield listener.socket.getsockname()[1]
        nursery.cancel_scope.cancel(reason="the test is over")
