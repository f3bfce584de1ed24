"""Where a client that is redirected is to go instead."""

from dataclasses import dataclass
from typing import Final

HTTPS: Final = 443


@dataclass(frozen=True, slots=True)
class Redirect:
    """To https, at the same host and path, with 301."""

    port: int | None
    """None = that of https."""

    def location(self, host: bytes, target: bytes) -> bytes:
        """The whole URL. `host`: as `Decision`s are found by, without port, IPv6 in brackets; `target`: path and query
        as they were sent.
        """
        port = b"" if self.port in (None, HTTPS) else b":%d" % self.port
        return b"https://%b%b%b" % (host, port, target if target.startswith(b"/") else b"/")
