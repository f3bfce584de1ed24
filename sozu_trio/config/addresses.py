"""Socket addresses as values: an IP literal and a port, nothing to resolve.

Names are not addresses: looking one up may block and may change, so it is main's work and never a worker's.
"""

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

_OCTET: Final = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_CANONICAL: Final = re.compile(rf"(?:{_OCTET}\.){{3}}{_OCTET}")
"""What `ipaddress` would return as it is, and takes 5 µs for: a large journal has tens of thousands."""


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """`127.0.0.1:8080` or `[::1]:8080`. `host` is the canonical IP literal without brackets."""

    host: str
    port: int

    @property
    def is_ipv6(self) -> bool:
        return ":" in self.host

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if self.is_ipv6 else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """Read `ip:port` or `[ip6]:port`. Raises ValueError that says what would be right."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 65535:
        raise ValueError(f"{text!r} is not an address: want ip:port, such as 127.0.0.1:8080 or [::1]:8080")
    if _CANONICAL.fullmatch(host):
        return Address(host, int(port))
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        ip = ipaddress.ip_address(host[1:-1] if bracketed else host)
    except ValueError:
        raise ValueError(f"{text!r} is not an address: {host!r} is no IP literal (names are not resolved)") from None
    if (ip.version == 6) is not bracketed:
        raise ValueError(f"{text!r} is not an address: want ip:port, such as 127.0.0.1:8080 or [::1]:8080")
    return Address(str(ip), int(port))
