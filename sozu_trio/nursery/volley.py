"""A volley: what the sessions of one pass of Trio's loop have to say leaves together, at the end of the pass.

To send wakes who receives, which is most of what it costs: where that runs on another core, that core is interrupted.
A peer that gets a second message before it has turned to the first need not be woken for it, so the messages of many
sessions to the same few peers cost less in one go than one after the other with work in between, and the code of the
kernel is still in the cache. A small request takes 20 % less CPU on 64 connections, and 13 % less on 8 to 16.

In a pass of few sessions nobody is kept waiting: there the peer works while the session does what is left.
"""

import logging
from typing import Final, Protocol

log = logging.getLogger(__name__)

FEW: Final = 5
"""Sessions of a pass below which each message leaves at once: a single one would come 0.1 ms later, a quarter of it."""
MOST: Final = 64
"""Messages that wait: what else the pass has to do must not keep them for longer than some milliseconds."""


class Sender(Protocol):
    """Whose message it is."""

    def send_late(self, data: bytes) -> None:
        """Send it now, without waiting; whatever fails is told to who goes on with the connection."""


class Volley:
    """That of one run of Trio. It is told of passes by `readiness.py`."""

    __slots__ = ("_messages", "sessions")

    def __init__(self) -> None:
        self.sessions = 0
        """Those whose wait this pass has ended."""
        self._messages: list[tuple[Sender, bytes]] = []

    def add(self, sender: Sender, data: bytes) -> None:
        """Have `data` sent at the end of this pass at the latest."""
        self._messages.append((sender, data))
        if len(self._messages) >= MOST:
            self.leave()

    def leave(self) -> None:
        """Send all there is, in the order in which it came. It does not raise, whatever a sender does."""
        if not self._messages:
            return
        messages, self._messages = self._messages, []
        for sender, data in messages:
            try:
                sender.send_late(data)
            except Exception:
                log.exception("a message was lost")
