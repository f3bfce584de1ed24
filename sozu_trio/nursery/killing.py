"""An operator ends one session, which may be on its way to another worker just then."""

from collections.abc import Iterable
from typing import Final

import trio

from sozu_trio.errors import ChannelError
from sozu_trio.nursery.listener import ListenerNode, SessionNode

PATIENCE: Final = 1.0
"""Seconds to wait for the fate of one that is on its way: main asks nothing else meanwhile."""


async def kill_session(listeners: Iterable[ListenerNode], name: str) -> bool:
    """Cut the session of that name; whether this worker had it.

    Raises ChannelError where it is on its way to another worker, or from one, and it takes long to know who has it.
    """
    for listener in listeners:
        if node := listener.sessions.get(name):
            return await _kill(node)
    return False


async def _kill(node: SessionNode) -> bool:
    fate = node.fate
    if fate is not None:
        with trio.move_on_after(PATIENCE):
            await fate.known.wait()
        if not fate.known.is_set():
            raise ChannelError(f"session {node.name} is on its way from one worker to the next: try again")
        if not fate.is_ours:
            return False
    node.kill()
    return True
