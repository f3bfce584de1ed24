"""A worker as main sees it: a channel to ask over, and what it reports unasked."""

import contextlib
import itertools
from collections.abc import Callable, Sequence

import trio

from sozu_trio.control.channel import Channel
from sozu_trio.control.messages import Ask, Lines, Reply, Report, Stopped
from sozu_trio.errors import ChannelError, SozuTrioError


class WorkerRefused(SozuTrioError):
    """A worker could not do what main asked; nothing of it has happened there."""


class WorkerHandle:
    """Main's end of one worker."""

    def __init__(self, worker_id: int, channel: Channel[Report], on_lines: Callable[[Lines], None]) -> None:
        self.worker_id = worker_id
        self.stopped: Stopped | None = None
        self._channel = channel
        self._on_lines = on_lines
        self._serials = itertools.count(1)
        self._waiting: dict[int, trio.Event] = {}
        self._replies: dict[int, Reply] = {}
        self._over = False

    async def ask(self, make: Callable[[int], Ask], descriptors: Sequence[int] = ()) -> None:
        """Send `make(serial)` and wait for its reply. Raises WorkerRefused with the worker's reason, or when it ended
        without one.
        """
        serial = next(self._serials)
        answered = self._waiting[serial] = trio.Event()
        try:
            if not self._over:
                with contextlib.suppress(BrokenPipeError):
                    # Not yet the end of it: `run` still hears what the worker said last, and then wakes us.
                    await self._channel.send(make(serial), descriptors)
                await answered.wait()
        except (OSError, trio.ClosedResourceError) as error:
            raise WorkerRefused(f"worker {self.worker_id} cannot be told: {error}") from error
        finally:
            del self._waiting[serial]
            reply = self._replies.pop(serial, None)
        if reply is None:
            raise WorkerRefused(f"worker {self.worker_id} has stopped")
        if reply.failure is not None:
            raise WorkerRefused(f"worker {self.worker_id}: {reply.failure}")

    async def run(self) -> None:
        """Take what the worker says, until it has said its last; then close the channel."""
        try:
            while self.stopped is None:
                received = await self._channel.receive()
                if received is None:
                    raise ChannelError(f"worker {self.worker_id} is gone")
                self._take(received[0])
        finally:
            self._over = True
            self._channel.close()
            for answered in self._waiting.values():
                answered.set()

    def _take(self, report: Report) -> None:
        match report:
            case Reply():
                answered = self._waiting.get(report.serial)
                if answered is not None:
                    self._replies[report.serial] = report
                    answered.set()
            case Lines():
                self._on_lines(report)
            case Stopped():
                self.stopped = report
