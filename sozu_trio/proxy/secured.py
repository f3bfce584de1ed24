"""What a connection over TLS has besides: the name it is for, and what browsers are told to remember (RFC 6797).

`Secured` stands before the routes of its listener: it refuses a request for a host that the connection is not for
before any rule is looked at (RFC 9110 §7.4), as Sōzu does.
"""

from collections.abc import Sequence
from typing import Final, Protocol

from sozu_trio.config.hsts import Hsts
from sozu_trio.config.listeners import HttpsListener
from sozu_trio.config.server_names import canonical_name
from sozu_trio.routing.decisions import MISDIRECTED, Decision
from sozu_trio.routing.http_routes import NO_ROUTES
from sozu_trio.routing.resolver import Shown, is_for
from sozu_trio.telemetry.access_log import AccessRecord, TlsFacts
from sozu_trio.wire.field_lines import lines_without, name_of
from sozu_trio.wire.heads import Field, Line

FIELD: Final = b"strict-transport-security"


class Routes(Protocol):
    """What finds the way of a request: `HttpRoutes`, or Secured before them."""

    def find(self, host: bytes, path: bytes, method: bytes) -> Decision:
        """As `HttpRoutes.find`."""


class Secured:
    """One connection's; at most one `find`, then one `note`, for each request."""

    def __init__(
        self, listener: HttpsListener, facts: TlsFacts, shown: Shown | None, identity: Sequence[Field] = ()
    ) -> None:
        """`identity`: the fields that tell backends who the client is, by its certificate."""
        self.facts = facts
        self.identity = identity
        self.routes: Routes = NO_ROUTES
        self._listener = listener
        self._shown = shown
        self._named = None if facts.server_name is None else canonical_name(facts.server_name)
        self._hsts: Hsts | None = listener.hsts
        self._fitting = b""
        """The host that was last found to fit."""

    def adopt(self, listener: HttpsListener) -> None:
        """Go by `listener` from the request on that has begun."""
        self._listener = listener
        self._hsts = listener.hsts

    def find(self, host: bytes, path: bytes, method: bytes) -> Decision:
        """As `HttpRoutes.find`; MISDIRECTED for a host that the connection is not for."""
        if (not host or host != self._fitting) and self._listener.strict_sni_binding and not self._fits(host):
            return MISDIRECTED
        decision = self.routes.find(host, path, method)
        frontend = decision.frontend
        if frontend is not None and frontend.hsts is not None:
            self._hsts = frontend.hsts
        return decision

    def _fits(self, host: bytes) -> bool:
        """Whether the client may have come here for `host`."""
        if not is_for(self._shown, self._named, host):
            return False
        self._fitting = host
        return True

    def note(self, record: AccessRecord) -> None:
        """Say in the record of a request, which is over, that it came over TLS."""
        record.tls = self.facts
        record.protocol = "WSS" if record.protocol == "WS" else "HTTPS"
        self._hsts = self._listener.hsts  # Nothing is known of the next one yet.

    @property
    def hsts_value(self) -> str:
        """Of the field; empty for none."""
        return "" if self._hsts is None else self._hsts.value

    def lines(self, lines: list[Line]) -> list[Line]:
        """Those of a backend's fields, with Strict-Transport-Security where it is wanted."""
        value = self.hsts_value
        if not value or self._hsts is None:
            return lines
        if FIELD in map(name_of, lines):
            if not self._hsts.force_replace_backend:
                return lines
            lines = lines_without(lines, FIELD)
        return [*lines, b"Strict-Transport-Security: " + value.encode()]
