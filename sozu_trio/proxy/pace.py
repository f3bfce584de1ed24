"""How fast a client sends its body and takes its response: at least `min_body_rate` bytes a second.

A client has PAUSE seconds of waiting to spend; every `rate` bytes earn it one more, up to PAUSE. So in T seconds for
which it was waited for at least `rate` × (T − PAUSE) bytes have moved, and a pause shorter than PAUSE is forgiven.
Waits for the backend and time in which we are busy are not counted.

The bytes are those TCP has carried, counted by the kernel: what we wrote tells nothing of a client that reads, as the
kernel takes megabytes at once and then says for long that it has no room; nor does what we read of a client that
speaks TLS, where nothing can be read of half a record. The kernel is asked when a wait for the client begins and when
its seconds are spent: a transfer that is fast enough pays 1 µs for each wait, which costs twenty times as much itself.
"""

import math
import socket
import struct
from typing import Literal

import trio

from sozu_trio.config.limits import PAUSE
from sozu_trio.proxy.patience import GRAIN, Patience, Wheel
from sozu_trio.proxy.stream import Stream

Way = Literal["in", "out"]
"""Whether the client sends or takes what is transferred."""

_CARRIED = struct.Struct("@120x2Q")
"""Of `struct tcp_info`: tcpi_bytes_acked and tcpi_bytes_received (include/uapi/linux/tcp.h, since Linux 4.1)."""


def patience_for(wheel: Wheel, client: Stream, rate: int, way: Way) -> Patience:
    """One that ends waits for a client slower than `rate` bytes a second; 0 = of any speed."""
    return PacedPatience(wheel, client, rate, way) if rate else Patience(wheel)


def carried(stream: Stream, way: Way) -> int:
    """Bytes that came over the connection (`in`), or of ours those that the peer's kernel has confirmed (`out`)."""
    try:
        info = stream.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _CARRIED.size)
        acked, received = _CARRIED.unpack(info)
    except (OSError, struct.error):  # It is none of TCP, or closed.
        return stream.bytes_in if way == "in" else stream.bytes_out
    return int(received if way == "in" else acked)


class PacedPatience(Patience):
    """A Patience whose waits for `client`, those that `expect` begins, have the deadline of its pace besides."""

    __slots__ = ("_client", "_is_waiting", "_left", "_mark", "_otherwise", "_rate", "_since", "_way")

    def __init__(self, wheel: Wheel, client: Stream, rate: int, way: Way) -> None:
        super().__init__(wheel)
        self._client = client
        self._rate = rate
        self._way = way
        self._left = PAUSE
        """Seconds for which it may still be waited for."""
        self._mark = -1
        """What `carried` said last; -1 before the first wait."""
        self._is_waiting = False
        self._since = 0.0
        """When the wait began, or its seconds were counted last."""
        self._otherwise = math.inf
        """The deadline that the wait has without its pace."""

    def expect(self, stream: Stream) -> None:
        self._count()
        super().expect(stream)
        if stream is self._client:
            self._earn()
            self._since = self.now
            self._is_waiting = True
            self._tighten()

    def relax(self) -> None:
        self._count()
        super().relax()

    def hold(self) -> None:
        """No deadline but that of the pace."""
        super().hold()
        if self._is_waiting:
            self._tighten()

    def is_over(self, now: float) -> bool:
        """Whether the deadline, which has passed, holds; else the client has earned itself another one."""
        if not self._is_waiting or now >= self._otherwise:
            return True
        self._left -= now - self._since
        self._since = now
        self._earn()
        # Whoever has less than the grain of the wheel would be looked at at its every turn.
        self.too_slow = self._left < GRAIN
        self.deadline = self._otherwise if self.too_slow else min(self._otherwise, now + self._left)
        return self.too_slow

    def _earn(self) -> None:
        mark = carried(self._client, self._way)
        if self._mark >= 0:
            self._left = min(PAUSE, self._left + (mark - self._mark) / self._rate)
        self._mark = mark

    def _count(self) -> None:
        if self._is_waiting:
            self._is_waiting = False
            self._left -= trio.current_time() - self._since

    def _tighten(self) -> None:
        self._otherwise = self.deadline
        due = self._since + self._left
        if due < self.deadline:
            self.deadline = due
            if due < self.slot:
                self._wheel.put(self)
