"""A worker's line to its main, which may break off and be taken up by the next main."""

import errno
from collections.abc import Sequence
from typing import Final

import trio

from sozu_trio.control.channel import Channel
from sozu_trio.control.messages import Ask

BROKEN: Final = (errno.EPIPE, errno.ECONNRESET, errno.EBADF)
"""The other end is gone, or ours was closed while a message waited for its turn."""


class Link:
    """Between `lose` and `take` there is no main; after `give_up` there will be none."""

    def __init__(self, channel: Channel[Ask]) -> None:
        channel.keep_spare()
        self.channel = channel
        """The one to receive from; after `lose` it is closed."""
        self._lost = False
        self._given_up = False
        self._settled = trio.Event()
        """There is a main, or there will be none."""
        self._settled.set()

    async def send(self, message: object, descriptors: Sequence[int] = ()) -> None:
        """Say something to main. Raises BrokenPipeError when there is none now, OSError as `Channel.send` does."""
        if self._lost:
            await trio.lowlevel.checkpoint()
            raise BrokenPipeError
        channel = self.channel
        try:
            await channel.send(message, descriptors)
        except (OSError, trio.ClosedResourceError) as error:
            if isinstance(error, OSError) and error.errno not in BROKEN:
                raise
            if channel is self.channel:
                self._break_off()
            raise BrokenPipeError from error

    async def regained(self) -> bool:
        """Wait until there is a main again; False when there will be none."""
        while self._lost and not self._given_up:
            await self._settled.wait()
            await trio.lowlevel.checkpoint()
        return not self._lost

    def lose(self) -> None:
        """Main is gone, and may be followed by another one."""
        self._break_off()
        self.channel.close()

    def _break_off(self) -> None:
        if not self._lost:
            self._lost = True
            if not self._given_up:
                self._settled = trio.Event()

    def take(self, channel: Channel[Ask]) -> None:
        """There is another main."""
        channel.keep_spare()
        self.channel = channel
        self._lost = False
        self._settled.set()

    def give_up(self) -> None:
        """Whoever is there now is the last."""
        self._given_up = True
        self._settled.set()
