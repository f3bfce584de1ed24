"""What a service manager is told: sd_notify(3), one small datagram to the socket that NOTIFY_SOCKET names.

Nothing here blocks or fails: a manager that does not listen is nobody's business but its own, so the log says it once
and no more. What it must not miss is said again when its queue was full. Without a NOTIFY_SOCKET there is nobody to
tell.
"""

import logging
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Final

from sozu_trio.config.environment import take_number
from sozu_trio.errors import OperatorError

log = logging.getLogger(__name__)

REMEMBERED: Final = 8
"""Words the manager must not miss and has no room for yet; what is older does not matter any more."""
NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


def service_manager(environment: MutableMapping[str, str]) -> "ServiceManager":
    """Whoever the variables tell of. They are removed, so that no child takes them to be meant for it.

    Raises OperatorError for a watchdog that is no number of microseconds.
    """
    names = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")
    variables = {name: environment[name] for name in names if name in environment}
    pid, period = take_number(environment, "WATCHDOG_PID"), take_number(environment, "WATCHDOG_USEC")
    if period == 0:
        raise OperatorError("WATCHDOG_USEC: found 0 in the environment; want microseconds above 0")
    ours = pid in (None, os.getpid())
    return ServiceManager(
        environment.pop("NOTIFY_SOCKET", None) or None,
        watchdog=period / 1e6 if period and ours else None,
        variables=variables,
    )


class ServiceManager:
    """Told how it goes, in this order: ready, then reloading and ready again as often as it happens, then stopping."""

    def __init__(
        self,
        address: str | None = None,
        *,
        watchdog: float | None = None,
        variables: Mapping[str, str] = NOTHING,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """`address`: the path of its socket, or `@` and an abstract name. `watchdog`: seconds without a sign of life
        after which it kills us. `clock` tells nanoseconds as CLOCK_MONOTONIC does.
        """
        self.watchdog = None if address is None else watchdog
        self.variables = variables
        """Of the environment, as they were: for a process that takes our place under our id."""
        self._address = address
        self._clock = clock
        self._serving = False
        self._reloads = 0
        self._status = ""
        self._unsaid: deque[str] = deque(maxlen=REMEMBERED)
        self._complained = False

    @property
    def there(self) -> bool:
        """Whether there is one."""
        return self._address is not None

    def ready(self, status: str) -> None:
        """Every worker accepts; `status` is one line for people."""
        self._serving = True
        self._status = status
        self._say_surely("READY=1", f"MAINPID={os.getpid()}", f"STATUS={status}")

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """The configuration is read again while the body runs; bodies may overlap."""
        if self._serving:
            self._say_surely("RELOADING=1", f"MONOTONIC_USEC={self._clock() // 1000}")
        self._reloads += 1
        try:
            yield
        finally:
            self._reloads -= 1
            if self._serving and not self._reloads:
                self._say_surely("READY=1")

    def status(self, status: str) -> None:
        """How it goes now, on one line for people."""
        if status != self._status or self._unsaid:
            self._status = status
            self._say(f"STATUS={status}")

    def alive(self) -> None:
        """A sign of life for the watchdog."""
        self._say("WATCHDOG=1")

    def stopping(self, status: str) -> None:
        """The stop has begun; `status` as above."""
        self._serving = False
        self._status = status
        self._say_surely("STOPPING=1", f"STATUS={status}")

    def still_stopping(self, status: str, seconds: float) -> None:
        """The stop goes on: have patience for `seconds` more, in which this is said again."""
        self._status = status
        self._say(f"EXTEND_TIMEOUT_USEC={round(seconds * 1e6)}", f"STATUS={status}")

    def close(self) -> None:
        """We end, for whatever reason."""
        if self._serving:
            self.stopping("ending")

    def _say_surely(self, *lines: str) -> None:
        self._unsaid.append("\n".join(lines))
        self._say()

    def _say(self, *lines: str) -> None:
        """Say what waits to be said, then `lines`."""
        if self._address is None:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.setblocking(False)
                sock.connect("\0" + self._address[1:] if self._address.startswith("@") else self._address)
                while self._unsaid:
                    sock.send(self._unsaid[0].encode())
                    self._unsaid.popleft()
                if lines:
                    sock.send("\n".join(lines).encode())
        except OSError as error:
            self._complain(error)

    def _complain(self, error: OSError) -> None:
        if not self._complained:
            self._complained = True
            log.warning("the service manager cannot be told anything at %s: %s", self._address, error)
