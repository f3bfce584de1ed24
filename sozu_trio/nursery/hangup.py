"""Tells a session at once that its client has gone.

While a session waits for its backend nobody reads from the client, so nobody would notice that it left. A second task
per request would cost a third of the request; reading ahead would break backpressure. So every client socket is put
once, at accept, into an epoll set of our own that asks for nothing but hang-ups, edge-triggered: no cost per request,
one event per connection.

EPOLLRDHUP is a FIN. A client may in principle shut its sending side and wait for the answer; it looks the same as one
that closed, and as nginx does we take it for gone. TCP relays, where half-close is ordinary, do not use this.
"""

import select
import socket
from collections.abc import Callable

import trio

EVENTS = select.EPOLLRDHUP | select.EPOLLET


class HangupWatch:
    """An epoll set of sockets with what to call when their peer has hung up."""

    __slots__ = ("_callbacks", "_epoll")

    def __init__(self) -> None:
        self._epoll = select.epoll(flags=select.EPOLL_CLOEXEC)
        self._callbacks: dict[int, Callable[[], None]] = {}

    def add(self, sock: socket.socket, gone: Callable[[], None]) -> None:
        self._epoll.register(sock, EVENTS)
        self._callbacks[sock.fileno()] = gone

    def remove(self, sock: socket.socket) -> None:
        """Forget `sock`; call it before the socket is closed, which may leave its number to another."""
        if self._callbacks.pop(sock.fileno(), None) is not None:
            self._epoll.unregister(sock)

    async def run(self) -> None:
        """Serve until cancelled, then close the set."""
        try:
            while True:
                await trio.lowlevel.wait_readable(self._epoll.fileno())
                for descriptor, _ in self._epoll.poll(0):
                    if gone := self._callbacks.get(descriptor):
                        gone()
        finally:
            trio.lowlevel.notify_closing(self._epoll.fileno())
            self._callbacks.clear()
            self._epoll.close()
