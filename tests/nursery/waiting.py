"""What tests of waits and of hang-ups share."""

import socket

import trio
from trio.lowlevel import wait_task_rescheduled

from sozu_trio.nursery.readiness import Readable

Pair = tuple[socket.socket, socket.socket]
"""A peer, and our side."""


async def wait_for(readable: Readable) -> None:
    """Until it is readable; nothing is read."""
    await wait_task_rescheduled(readable.expect())


async def waits(readable: Readable) -> bool:
    """Whether a wait lasts."""
    with trio.move_on_after(1) as scope:
        await wait_for(readable)
    return scope.cancelled_caught


async def pass_by(passes: int) -> None:
    """Let Trio's loop go round so often."""
    for _ in range(passes):
        await trio.lowlevel.checkpoint()
