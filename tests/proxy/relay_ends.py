"""The ends of relays and tunnels, and what speaks there."""

import random
import socket
from dataclasses import dataclass, field

import trio

from sozu_trio.proxy.pipes import PipeStock
from sozu_trio.proxy.relay import Relay, Tunnel
from sozu_trio.proxy.stream import Stream
from tests.nursery.parts import tcp_pair

TEXT = random.Random(2).randbytes(5 << 20)


class NoPipes(PipeStock):
    """A stock the kernel gives nothing to."""

    def borrow(self) -> None:
        return None


@dataclass
class Ends:
    """client <-> (client_side … backend_side) <-> backend, all non-blocking; the two in the middle are the proxy's."""

    pipes: PipeStock
    client: socket.socket = field(init=False)
    backend: socket.socket = field(init=False)
    client_side: Stream = field(init=False)
    backend_side: Stream = field(init=False)

    def __post_init__(self) -> None:
        self.client, ours = tcp_pair()
        self.backend, theirs = tcp_pair()
        for sock in (self.client, self.backend):
            sock.setblocking(False)
        self.client_side, self.backend_side = Stream(ours, 0), Stream(theirs, 0)

    def relay(self, left: int | None) -> Relay:
        return Relay(self.client_side, self.backend_side, self.pipes, left=left, waiting=lambda _: None)

    def tunnel(self, idle_timeout: float = 0, to_backend: bytes = b"", to_client: bytes = b"") -> Tunnel:
        return Tunnel(
            self.client_side,
            self.backend_side,
            self.pipes,
            idle_timeout=idle_timeout,
            to_backend=to_backend,
            to_client=to_client,
        )

    def close(self) -> None:
        assert self.pipes.lent == 0
        self.pipes.close()
        for sock in (self.client, self.backend, self.client_side.sock, self.backend_side.sock):
            sock.close()


async def send(sock: socket.socket, data: bytes, rng: random.Random | None = None, *, end: bool = True) -> None:
    """All of `data`, in pieces of any size where there is `rng`, with pauses in which the receiver catches up."""
    view = memoryview(data)
    while view:
        size = rng.choice([1, 100, 5000, 70_000, 300_000]) if rng else 1 << 20
        try:
            view = view[sock.send(view[:size]) :]
        except BlockingIOError:
            await trio.lowlevel.wait_writable(sock)
        if rng and rng.random() < 0.3:
            await trio.sleep(0.01)
    if end:
        sock.shutdown(socket.SHUT_WR)


async def receive(
    sock: socket.socket, into: bytearray, most: int | None = None, rng: random.Random | None = None
) -> None:
    """Into `into`, until the end or until there are `most`."""
    while most is None or len(into) < most:
        try:
            data = sock.recv(rng.choice([1, 4000, 200_000]) if rng else 1 << 20)
        except BlockingIOError:
            await trio.lowlevel.wait_readable(sock)
            continue
        if not data:
            return
        into += data
        if rng and rng.random() < 0.1:
            await trio.sleep(0.01)
