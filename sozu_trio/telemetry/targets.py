"""Where log lines go, as values, with Sōzu's names: stdout, stderr, file://path, unix://path, udp://ip:port,
tcp://ip:port.

Reading the text opens nothing; `telemetry/writers.py` does that.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sozu_trio.config.addresses import Address, parse_address
from sozu_trio.config.nearest import nearest
from sozu_trio.errors import OperatorError

_FORMS = ("stdout", "stderr", "file://path", "unix://path", "udp://ip:port", "tcp://ip:port")


@dataclass(frozen=True, slots=True)
class Standard:
    """Standard output or standard error of the process."""

    name: Literal["stdout", "stderr"]

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class File:
    """A file that lines are appended to; a relative path starts from the working directory."""

    path: Path

    def __str__(self) -> str:
        return f"file://{self.path}"


@dataclass(frozen=True, slots=True)
class UnixDatagram:
    """A unix datagram socket someone else listens on, such as /dev/log: one line per datagram."""

    path: Path

    def __str__(self) -> str:
        return f"unix://{self.path}"


@dataclass(frozen=True, slots=True)
class Udp:
    """One line per datagram."""

    address: Address

    def __str__(self) -> str:
        return f"udp://{self.address}"


@dataclass(frozen=True, slots=True)
class Tcp:
    """Lines, each ended by a line feed, over a connection that is made when there is something to say."""

    address: Address

    def __str__(self) -> str:
        return f"tcp://{self.address}"


Target = Standard | File | UnixDatagram | Udp | Tcp


def parse_target(text: str) -> Target:
    """Read a target. Raises OperatorError that says what would be right."""
    if text in ("stdout", "stderr"):
        return Standard("stdout" if text == "stdout" else "stderr")
    scheme, separator, rest = text.partition("://")
    if separator and rest and scheme in ("file", "unix"):
        return File(Path(rest)) if scheme == "file" else UnixDatagram(Path(rest))
    if separator and rest and scheme in ("udp", "tcp"):
        address = _address(text, rest)
        return Udp(address) if scheme == "udp" else Tcp(address)
    raise OperatorError(f"{text!r} is not a log target{nearest(text, _FORMS)}; want one of {', '.join(_FORMS)}")


def _address(text: str, rest: str) -> Address:
    try:
        return parse_address(rest)
    except ValueError as error:
        raise OperatorError(f"log target {text!r}: {error}") from None
