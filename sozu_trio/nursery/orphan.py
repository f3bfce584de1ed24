"""A worker whose main has died: it serves on, and the next main finds it at its door.

What it says of itself then is all that main can know: which listening sockets it has, its own and lent ones, and the
settings it began with. The State it is told anew.
"""

import contextlib
import logging
import math
import socket
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

import trio

from sozu_trio.control.channel import Channel, close_all
from sozu_trio.control.messages import ASKS, PROTOCOL, Adopt, Adopted, Ask, Holding, Reply
from sozu_trio.control.spare import SpareDescriptor
from sozu_trio.errors import ChannelError
from sozu_trio.routing.state import ListenerKey

log = logging.getLogger(__name__)

PATIENCE = 5.0
"""Seconds whoever knocks may take to say who they are."""
BACKLOG = 64
"""Mains that wait at the door of a worker which is stuck."""
AWAY = 2.0
"""Seconds without a main that are nothing to complain of."""
PAUSE = 1.0
"""Seconds until the next try where a connection could not be taken."""
AT_ONCE = 100
"""Listening sockets that go with one message; 253 could."""

Held = tuple[int, ListenerKey, socket.socket]
"""A listening socket: the worker it belongs to, and for what."""


class OtherProtocol(ChannelError):
    """Main is of a version that cannot talk to this worker."""


class Door:
    """The worker's side of its door."""

    def __init__(self, sock: socket.socket) -> None:
        """`sock` is bound. Listening now has the kernel tell whoever knocks that it is this process they talk to."""
        sock.listen(BACKLOG)
        sock.setblocking(False)
        self._sock = trio.socket.from_stdlib_socket(sock)
        self._listening = sock
        self._spare = SpareDescriptor()
        """Clients take every descriptor there is, and a worker that cannot answer is killed."""

    async def next_main(self, introduce: Callable[[Channel[Ask]], Awaitable[None]]) -> Channel[Ask]:
        """The channel of the next main that `introduce` could talk to; it raises ChannelError where that is none.

        Raises trio.ClosedResourceError once closed.
        """
        while True:
            channel = Channel(await self._accept(), ASKS)
            try:
                with trio.fail_after(PATIENCE):
                    await introduce(channel)
            except (ChannelError, OSError, trio.TooSlowError) as error:
                log.warning("not adopted: %s", str(error) or type(error).__name__)
                channel.close()
            except BaseException:
                channel.close()
                raise
            else:
                return channel

    async def _accept(self) -> socket.socket:
        while self._sock.fileno() >= 0:
            try:
                sock, _ = await self._sock.accept()
            except OSError as error:
                if (found := self._accept_instead_of_the_spare()) is not None:
                    return found
                log.warning("nobody can come in: %s", error)
                await trio.sleep(PAUSE)
            else:
                return socket.socket(fileno=sock.detach())
        raise trio.ClosedResourceError

    def _accept_instead_of_the_spare(self) -> socket.socket | None:
        if not self._spare.renew():
            return None
        with contextlib.suppress(OSError), self._spare.given_up():
            return self._listening.accept()[0]
        return None

    def close(self) -> None:
        """Nobody is to come any more."""
        self._sock.close()
        self._spare.close()


async def await_main(next_main: Callable[[], Awaitable[Channel[Ask]]], patience: float) -> Channel[Ask] | None:
    """What `next_main` returns, and a complaint once that takes long; None where the door is closed, or nobody has come
    in `patience` seconds.
    """
    found: Channel[Ask] | None = None
    async with trio.open_nursery() as waiting:
        # Beside it: whoever comes in that moment must not be turned away.
        waiting.start_soon(_complain, patience, name="main is gone")
        with trio.move_on_after(patience), contextlib.suppress(trio.ClosedResourceError):
            found = await next_main()
        waiting.cancel_scope.cancel(reason="another main has come, or none will")
    return found


async def _complain(patience: float) -> None:
    # A main that replaces itself is back by then.
    await trio.sleep(AWAY)
    log.warning("main is gone: serving on %s", _spelled(patience))


def _spelled(patience: float) -> str:
    return f"for {patience:g} s" if patience < math.inf else "until another comes"


async def introduce(channel: Channel[Ask], itself: Adopted, held: Iterable[Held], own: Sequence[int]) -> None:
    """Hear main's Adopt and tell what there is: what the worker says of `itself`, and what it holds; `own`: the
    descriptors that belong to Adopted.

    Raises OtherProtocol, ChannelError for what is no Adopt, OSError when main is gone.
    """
    adopt = await _adopt(channel)
    if adopt.protocol != PROTOCOL:
        failure = f"the worker speaks protocol {PROTOCOL}, main {adopt.protocol}"
        await channel.send(Reply(serial=adopt.serial, failure=failure))
        raise OtherProtocol(failure)
    for some in _batches(held):
        sockets = tuple((owner, transport, address) for owner, (transport, address), _ in some)
        await channel.send(Holding(sockets=sockets), [sock.fileno() for _, _, sock in some])
    await channel.send(itself, own)
    await channel.send(Reply(serial=adopt.serial))


async def _adopt(channel: Channel[Ask]) -> Adopt:
    received = await channel.receive()
    if received is None:
        raise ChannelError("whoever came has gone again")
    message, descriptors = received
    if descriptors or not isinstance(message, Adopt):
        close_all(descriptors)
        raise ChannelError(f"the first message was {type(message).__name__}, not Adopt")
    return message


def _batches(held: Iterable[Held]) -> Iterator[list[Held]]:
    rest = list(held)
    while rest:
        yield rest[:AT_ONCE]
        del rest[:AT_ONCE]
