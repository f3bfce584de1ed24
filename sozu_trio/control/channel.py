"""How messages travel between main and a worker: one SOCK_SEQPACKET socket.

A stream would glue a message to the one before it and leave open to which its descriptors belong; a packet keeps both
boundaries. The kernel takes packets up to the send buffer (212,960 bytes by default), so what is larger goes into a
memfd that is passed along. `socket.recv_fds` ignores its flags (cpython #107898), hence `recvmsg` with
MSG_CMSG_CLOEXEC here.
"""

import array
import contextlib
import os
import socket
import stat
import time
from collections.abc import Sequence
from typing import Generic, TypeVar

import trio

from sozu_trio.control.codec import decode, encode
from sozu_trio.control.messages import ASKS, REPORTS, Ask, Report
from sozu_trio.control.sizes import check_size, largest_of
from sozu_trio.control.spare import SpareDescriptor
from sozu_trio.errors import ChannelError

INLINE_SIZE = 65536
"""Bytes of a message that goes into the packet itself."""
MOST_DESCRIPTORS = 253
"""SCM_MAX_FD: one more and sendmsg fails with EINVAL."""
INLINE, IN_MEMFD = b"i", b"m"

In = TypeVar("In")


class DescriptorsLost(ChannelError):
    """A message came without all of its descriptors, because none was free here; the channel is sound.

    `message` is what was said, None where that was in a descriptor too.
    """

    def __init__(self, message: object) -> None:
        self.message = message
        name = "a large message" if message is None else type(message).__name__
        super().__init__(f"{name} was cut short: no descriptor free for what came with it")


def channel_pair() -> tuple["Channel[Report]", "Channel[Ask]"]:
    """Both ends of a new channel: (main's, the worker's)."""
    main, worker = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    return Channel(main, REPORTS), Channel(worker, ASKS)


class Channel(Generic[In]):
    """One end; `In` is what the other end says. Sends take turns; one task receives."""

    def __init__(self, sock: socket.socket, kinds: dict[str, type[In]]) -> None:
        self._sock = trio.socket.from_stdlib_socket(sock)
        self._plain = sock
        self._spare: SpareDescriptor | None = None
        self._kinds = kinds
        self._largest = largest_of(kinds)
        self._sending = trio.Lock()
        self.reading_since = 0.0
        """When the message received last had come and began to be read: seconds of `time.perf_counter`."""

    def keep_spare(self) -> None:
        """Be able to receive one descriptor, once, when none is free; then again when one has become so."""
        if self._spare is None:
            self._spare = SpareDescriptor()

    async def send(self, message: object, descriptors: Sequence[int] = ()) -> None:
        """Send one message with copies of `descriptors`. Raises OSError when the other end is gone, and TooLarge for
        what it would not take.
        """
        document = encode(message)
        check_size(document)
        if len(document) <= INLINE_SIZE:
            await self._send_packet(INLINE + document, descriptors)
            return
        memory = os.memfd_create("sozu_trio message", os.MFD_CLOEXEC)
        try:
            _write_memory(memory, document)
            await self._send_packet(IN_MEMFD, [*descriptors, memory])
        finally:
            os.close(memory)

    async def _send_packet(self, packet: bytes, descriptors: Sequence[int]) -> None:
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
        async with self._sending:
            await self._sock.sendmsg([packet], rights)

    async def receive(self) -> tuple[In, list[int]] | None:
        """The next message with its descriptors, which are the caller's to close; None when the other end has closed.

        Raises DescriptorsLost when there is no room for them, and ChannelError for what is no message of ours; no
        descriptor stays open then.
        """
        packet, descriptors, lost = await self._receive_packet()
        self.reading_since = time.perf_counter()
        try:
            if lost:
                raise DescriptorsLost(decode(packet[1:], self._kinds) if packet[:1] == INLINE else None)
            if not packet and not descriptors:
                return None
            return decode(_document(packet, descriptors, self._largest), self._kinds), descriptors
        except BaseException:
            close_all(descriptors)
            raise

    async def _receive_packet(self) -> tuple[bytes, list[int], bool]:
        """A packet, its descriptors, and whether some of these were lost."""
        try:
            packet, extra, flags = await self._receive_message()
        except ConnectionResetError:
            # The other end closed with messages of ours unread. That is told once, and before what it had still said.
            packet, extra, flags = await self._receive_message()
        received = array.array("i")
        for level, kind, payload in extra:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                received.frombytes(payload[: len(payload) - len(payload) % received.itemsize])
        if flags & socket.MSG_TRUNC:
            close_all(received)
            raise ChannelError("a message was cut short")
        return packet, list(received), bool(flags & socket.MSG_CTRUNC)

    async def _receive_message(self) -> tuple[bytes, list[tuple[int, int, bytes]], int]:
        space = socket.CMSG_SPACE(MOST_DESCRIPTORS * array.array("i").itemsize)
        while (spare := self._spare) is not None:
            spare.renew()
            await trio.lowlevel.wait_readable(self._plain)
            with contextlib.suppress(BlockingIOError), spare.given_up():
                packet, extra, flags, _ = self._plain.recvmsg(INLINE_SIZE + 1, space, socket.MSG_CMSG_CLOEXEC)
                return packet, extra, flags
        packet, extra, flags, _ = await self._sock.recvmsg(INLINE_SIZE + 1, space, socket.MSG_CMSG_CLOEXEC)
        return packet, extra, flags

    def fileno(self) -> int:
        return self._sock.fileno()

    def detach(self) -> socket.socket:
        """The socket, for another process. The channel is of no use any more."""
        self._let_go_of_spare()
        return socket.socket(fileno=self._sock.detach())

    def close(self) -> None:
        self._let_go_of_spare()
        self._sock.close()

    def _let_go_of_spare(self) -> None:
        if self._spare is not None:
            self._spare.close()
            self._spare = None


def _document(packet: bytes, descriptors: list[int], largest: int) -> bytes:
    """The message itself, which may be in the last of `descriptors`, and has up to `largest` bytes there."""
    if packet[:1] == INLINE:
        return packet[1:]
    if packet != IN_MEMFD or not descriptors:
        raise ChannelError(f"neither a message nor where one is: {packet[:80]!r}")
    return _read_memory(descriptors.pop(), largest)


def _write_memory(descriptor: int, document: bytes) -> None:
    with open(descriptor, "wb", closefd=False) as file:
        file.write(document)


def _read_memory(descriptor: int, largest: int) -> bytes:
    """All of the file behind `descriptor`, which is closed."""
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or status.st_size > largest:
            raise ChannelError(f"no file, or one of more than {largest} bytes: {status}")
        with open(descriptor, "rb", closefd=False) as file:
            file.seek(0)
            return file.read(status.st_size)
    except (OSError, MemoryError) as error:
        raise ChannelError(f"a message that cannot be read: {error}") from error
    finally:
        os.close(descriptor)


def close_all(descriptors: Sequence[int]) -> None:
    """Those that came with a message and are not kept."""
    for descriptor in descriptors:
        os.close(descriptor)
