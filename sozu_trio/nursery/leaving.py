"""A worker that has handed over to a successor: it moves its sessions, and those that cannot move drain.

May begin again with another successor, where the one before has died.
"""

import contextlib
import math
import socket
from collections.abc import Callable
from typing import Final

import trio

from sozu_trio.control.channel import Channel
from sozu_trio.control.messages import HandedOver, Stranded
from sozu_trio.control.moves import ANSWERS, Learned
from sozu_trio.errors import ChannelError
from sozu_trio.nursery.departure import Departure
from sozu_trio.nursery.link import Link
from sozu_trio.nursery.listener import ListenerNode

SHORTEST: Final = 5.0
"""Seconds of grace that sessions get at least: ten thousand move in one."""


class Leaving:
    """Whether, where to and until when a worker leaves."""

    def __init__(self, nodes: set[ListenerNode], learned: Callable[[], Learned], link: Link) -> None:
        """`nodes`: all listeners of the worker, also as they change. `learned` is asked what it knows of backends."""
        self._nodes = nodes
        self._learned = learned
        self._link = link
        self._departure: Departure | None = None
        self._at: float | None = None

    @property
    def began(self) -> bool:
        """A successor accepts in its place."""
        return self._at is not None

    def seconds_left(self) -> float | None:
        """Until what is left is cut; None: never, or it does not leave."""
        if self._at is None or self._at == math.inf:
            return None
        return max(0.0, self._at - trio.current_time())

    def begin(self, grace: float | None, sock: socket.socket) -> Departure:
        """Accept no more, and cut after `grace` seconds (None = never) what is left then, but nobody before all have
        had time to move. What is returned, when it is run, moves sessions over the channel of which `sock` is an end.
        """
        if self._departure is not None:
            self._departure.finish()
        self._at = math.inf if grace is None else trio.current_time() + max(grace, SHORTEST)
        channel = Channel(sock, ANSWERS)
        departure = Departure(channel, self._nodes, self._learned(), self._report, self._report_stranded)
        self._departure = departure
        for node in self._nodes:
            node.leave(departure, self._at)
        return departure

    async def _report(self, moved: int, left: int) -> None:
        # A main that is gone meanwhile is followed by one that asks.
        with contextlib.suppress(OSError):
            await self._link.send(HandedOver(moved=moved, left=left))

    async def _report_stranded(self, left: int) -> None:
        with contextlib.suppress(OSError):
            await self._link.send(Stranded(left=left))

    def stop(self) -> None:
        """It is an ordinary stop after all: nobody moves any more."""
        self._at = None
        if self._departure is not None:
            self._departure.finish()
            self._departure = None


def taken_over(descriptors: list[int]) -> socket.socket:
    """The one end of a channel that came. Raises ChannelError where something else did."""
    if len(descriptors) != 1:
        raise ChannelError(f"{len(descriptors)} descriptors came, and not the end of a channel")
    sock = socket.socket(fileno=descriptors[0])
    descriptors.clear()
    return sock
