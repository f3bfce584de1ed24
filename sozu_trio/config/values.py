"""What a single value of the file may be: its kinds, with their ranges and units, and how each is read from TOML.

A kind is a type together with the reader that makes it. Readers are strict — a bool is no integer, a string no number —
and what they refuse they name together with what would be right. Which key has which kind stands in `schema.py`; what
needs more than one value to judge, in `check.py`.
"""

import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from sozu_trio.config.addresses import Address, parse_address
from sozu_trio.config.secrets import PEM

_LARGEST = 2**32 - 1  # what Sōzu's own integers hold
_SHOWN = 80
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PSEUDONYM = re.compile(r"(?:[!#$%&'*+.^_`|~0-9A-Za-z:\[\]-]+)?")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"})
_ADDRESS = "ip:port, such as 127.0.0.1:8080 or [::1]:8080 (names are not resolved)"
_FINGERPRINT = "a fingerprint: the 64 hexadecimal digits of a SHA-256, as `certificate list` shows it"
_TARGET = "stdout, stderr, file://PATH, unix://PATH, udp://ip:port or tcp://ip:port"


class Unfit(ValueError):
    """A value that its key does not take; the message names both what was found and what is wanted."""

    def __init__(self, value: object, want: str) -> None:
        self.want = want
        super().__init__(f"found {show(value)}; want {want}")


def show(value: object) -> str:
    """The value as the file spells it, on one line and not longer than a person reads."""
    if is_dataclass(value) and not isinstance(value, Address):
        return "a table"
    match value:
        case None:
            return "null"  # of JSON
        case bool():
            return "true" if value else "false"
        case int() if value.bit_length() > 128:
            return f"an integer of {value.bit_length()} bits"
        case int() | float():
            return str(value)
        case dict():
            return "a table"
        case list() | tuple():
            return "an array" if value else "an empty array"
    text = str(value)
    if PEM in text:
        return "a PEM text"  # It may hold a private key.
    shown = text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
    return repr(shown) if isinstance(value, (str, Path, Address)) else shown


def one_of(choices: Iterable[str]) -> str:
    """Choices as a person lists them: 'http', 'tcp' or 'udp'."""
    *others, last = (repr(str(choice)) for choice in choices)
    return f"{', '.join(others)} or {last}" if others else last


def choice(built: Iterable[str], unbuilt: Iterable[str]) -> Callable[[object], str]:
    """A reader of one of both; what is not built is known, to be refused with the reason, and never proposed."""
    wanted = tuple(map(str, built))
    known = {*wanted, *unbuilt}

    def read(value: object) -> str:
        if not isinstance(value, str) or value not in known:
            raise Unfit(value, one_of(wanted))
        return value

    return read


def read_text(value: object) -> str:
    if not isinstance(value, str):
        raise Unfit(value, "a string")
    return value


def read_flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise Unfit(value, "true or false")
    return value


def integer(low: int, high: int, unit: str = "") -> Callable[[object], int]:
    """A reader of integers from `low` to `high`, both included."""
    want = f"an integer from {low} to {high}{unit}"

    def read(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise Unfit(value, want)
        return value

    return read


def read_seconds(value: object) -> float:
    """A float stays a float and an integer an integer, so that it is shown as it was written."""
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value <= _LARGEST:
        raise Unfit(value, f"a number of seconds from 0 to {_LARGEST}")
    return value


def read_address(value: object) -> Address:
    """Port 0 is left in: where an address only names what is there, nothing is found by it."""
    try:
        return parse_address(read_text(value))
    except ValueError:
        raise Unfit(value, _ADDRESS) from None


def read_reachable_address(value: object) -> Address:
    """An address that can be connected to. Port 0 would be another one for each worker that listens there."""
    address = read_address(value)
    if address.port == 0:
        raise Unfit(value, "a port from 1 to 65535")
    return address


def read_path(value: object) -> Path:
    """A relative path stays relative here: only `resolve.py` knows the file's directory."""
    if not isinstance(value, str) or not value or "\0" in value:
        raise Unfit(value, "a path")
    return Path(value)


def read_network(value: object) -> str:
    want = "a network or an address, such as 10.0.0.0/8 or ::1"
    text = read_text(value)
    try:
        return str(ipaddress.ip_network(text))
    except ValueError:
        pass
    try:
        nearest = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise Unfit(value, want) from None
    raise Unfit(value, f"{want}; the network of this address is {nearest}")


def read_protocol(value: object) -> str:
    """Upgrade to h2c would let a client speak past every rule here (request smuggling), so it is never passed on."""
    if not isinstance(value, str) or not _TOKEN.fullmatch(value) or value.lower() == "h2c":
        raise Unfit(value, "the name of a protocol, such as websocket, and never h2c")
    return value.lower()


def read_field_name(value: object) -> str:
    if not isinstance(value, str) or not _TOKEN.fullmatch(value):
        raise Unfit(value, "the name of a header field, such as Sozu-Id")
    return value


def read_optional_field_name(value: object) -> str:
    if value == "":
        return ""
    if not isinstance(value, str) or not _TOKEN.fullmatch(value):
        raise Unfit(value, "the name of a header field, such as X-Client-Subject, or an empty string for none")
    return value


def read_pseudonym(value: object) -> str:
    if not isinstance(value, str) or not _PSEUDONYM.fullmatch(value):
        raise Unfit(value, "a pseudonym for the Via field without spaces or commas, or an empty string for none")
    return value


def read_method(value: object) -> str:
    """Methods are case-sensitive (RFC 9110 §9.1); as in Sōzu, `get` still means GET and so for all well-known ones."""
    if not isinstance(value, str) or not _TOKEN.fullmatch(value):
        raise Unfit(value, "an HTTP method, such as GET")
    return value.upper() if value.upper() in _METHODS else value


def read_fingerprint(value: object) -> str:
    """In lower case, without the colons that some tools write."""
    digits = value.replace(":", "").lower() if isinstance(value, str) else ""
    if len(digits) != 64 or not set(digits) <= set("0123456789abcdef"):
        raise Unfit(value, _FINGERPRINT)
    return digits


def read_log_target(value: object) -> str:
    text = read_text(value)
    scheme, _, rest = text.partition("://")
    try:
        if scheme in ("udp", "tcp"):
            parse_address(rest)
        elif scheme in ("file", "unix"):
            read_path(rest)
        elif text not in ("stdout", "stderr"):
            raise Unfit(value, _TARGET)
    except ValueError:
        raise Unfit(value, _TARGET) from None
    return text


Seconds = Annotated[float, read_seconds]
Milliseconds = Annotated[int, integer(0, _LARGEST, " (milliseconds)")]
Bytes = Annotated[int, integer(0, _LARGEST, " (bytes)")]
Count = Annotated[int, integer(0, _LARGEST)]
Positive = Annotated[int, integer(1, _LARGEST)]
Workers = Annotated[int, integer(1, 65535)]
Weight = Annotated[int, integer(0, 255)]
Port = Annotated[int, integer(1, 65535)]
Status = Annotated[int, integer(0, 999)]
HeadSize = Annotated[int, integer(256, 1 << 24, " (bytes)")]
"""A head is parsed as a whole, so it is neither tiny nor boundless."""
ReachableAddress = Annotated[Address, read_reachable_address]
Network = Annotated[str, read_network]
Protocol = Annotated[str, read_protocol]
FieldName = Annotated[str, read_field_name]
OptionalFieldName = Annotated[str, read_optional_field_name]
Pseudonym = Annotated[str, read_pseudonym]
Method = Annotated[str, read_method]
LogTarget = Annotated[str, read_log_target]
TlsVersion = Literal["TLS_V12", "TLS_V13"]
ClientAuth = Literal["none", "optional", "required"]
Fingerprint = Annotated[str, read_fingerprint]

READERS: Mapping[Any, Callable[[object], object]] = {
    str: read_text,
    bool: read_flag,
    Path: read_path,
    Address: read_address,
}
"""The readers of kinds that need no name of their own."""
