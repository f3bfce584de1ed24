"""What happened, in plain integers: adding one is all the hot path does.

Names follow Sōzu's catalogue where it has one (reference §6.6), so that dashboards carry over; they appear in
`snapshot` only.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from sozu_trio.config.cipher_names import SOZU_NAMES
from sozu_trio.errors import BadResponse, ExchangeError, NoBackend, RequestRefused

_CLASSES: Final = 10
"""Of statuses, by their first digit."""
_OF_CERTIFICATES: Final = frozenset({"expired", "not_yet_valid", "name", "authority", "fingerprint", "certificate"})
_CIPHERS: Final = {name: index for index, name in enumerate(SOZU_NAMES)}
"""Where each has its place among the counters; behind them is that of any other."""


@dataclass(slots=True)
class Counters:
    """Totals since the process began, except those called gauges, which go down again, and one maximum."""

    sessions: int = 0
    """Gauge: client connections open now."""
    sessions_total: int = 0
    """Client connections accepted."""
    refused: int = 0
    """Client connections over `max_connections`, answered 503 or closed."""
    refused_sources: int = 0
    """Client connections over `max_connections_per_source`, answered 429 or closed."""
    refused_per_cluster: int = 0
    """Requests and TCP sessions over `max_connections_per_ip`, answered 429 or closed."""
    shed_overload: int = 0
    """The same because there was too much to do."""
    shed_memory: int = 0
    """The same because memory was short."""
    evicted: int = 0
    """Idle client connections closed to make room for others, or for want of memory."""
    requests: int = 0
    """HTTP requests whose head was complete."""
    active_requests: int = 0
    """Gauge: HTTP requests without the end of their answer."""
    tcp_sessions: int = 0
    """TCP sessions that got a backend."""
    tunnels: int = 0
    """Gauge: upgraded connections open now."""
    by_status: list[int] = field(default_factory=lambda: [0] * _CLASSES)
    """Answers by `status // 100`; 0 for requests that got none."""
    bytes_in: int = 0
    """Bytes read from clients."""
    bytes_out: int = 0
    """Bytes written to clients."""
    client_errors: int = 0
    """Request heads and bodies that could not be understood or were refused."""
    rate_limited: int = 0
    """Requests over `max_requests_per_ip` or `max_requests` of a cluster, answered 429."""
    rate_uncounted: int = 0
    """Requests that were let in because too many addresses asked at once to count them all."""
    unrouted: int = 0
    """Requests that no frontend wanted."""
    retries: int = 0
    """Tries after the first one of a request or TCP session."""
    backend_errors: int = 0
    """Connections to backends that could not be made."""
    backend_down: int = 0
    """Times a backend was found down: six failed connections in a row."""
    backend_up: int = 0
    """Times one that was down could be connected to again."""
    bad_responses: int = 0
    """Answers of backends that could not be understood or were cut short."""
    exhausted: int = 0
    """Requests and TCP sessions that got no backend at all."""
    queued: int = 0
    """Gauge: requests and TCP sessions that wait for a backend that may have one more connection."""
    queued_total: int = 0
    """Those that had to wait."""
    queue_refused: int = 0
    """Those that found too many who wait, or waited for too long."""
    pool_hits: int = 0
    """Requests that found a pooled connection."""
    pool_misses: int = 0
    """Requests that needed a new one."""
    access_lines: int = 0
    """Access lines handed to their log."""
    changes: int = 0
    """Generations that came into force."""
    longest_hold: int = 0
    """Maximum: microseconds for which a change, after the first, has held the loop at a time."""
    events_dropped: int = 0
    """Events that came faster than they could be told."""
    tls_handshakes: int = 0
    """TLS handshakes that were completed."""
    tls_1_2: int = 0
    """Those that agreed on TLS 1.2."""
    tls_1_3: int = 0
    """Those that agreed on TLS 1.3."""
    by_cipher: list[int] = field(default_factory=lambda: [0] * (len(_CIPHERS) + 1))
    """Those that agreed on each cipher; the last place is for ciphers we have no name for."""
    tls_resumed: int = 0
    """Those that resumed a session."""
    tls_default: int = 0
    """Those in which the default certificate was shown, which is not for the name asked for."""
    tls_failed_closed: int = 0
    """Handshakes that failed because the client went away."""
    tls_failed_refused: int = 0
    """… because the client sent an alert."""
    tls_failed_unknown_name: int = 0
    """… for want of a certificate for the name asked for."""
    tls_failed_not_tls: int = 0
    """… because what came was not TLS."""
    tls_failed_version: int = 0
    """… for want of a version in common."""
    tls_failed_nothing_in_common: int = 0
    """… for want of a cipher, group or kind of certificate in common."""
    tls_failed_no_certificate: int = 0
    """… because the client showed no certificate, and must."""
    tls_failed_invalid_certificate: int = 0
    """… because the client's certificate is not good."""
    tls_failed_timeout: int = 0
    """… because they took too long."""
    tls_failed_other: int = 0
    """… for any other reason."""

    backend_tls_handshakes: int = 0
    """TLS handshakes with backends that were completed."""
    backend_tls_resumed: int = 0
    """Those that resumed a session."""
    backend_tls_failed_certificate: int = 0
    """Handshakes with backends that failed because of the backend's certificate."""
    backend_tls_failed_client_certificate: int = 0
    """… because the backend wanted another certificate of ours."""
    backend_tls_failed_not_tls: int = 0
    """… because what came was not TLS."""
    backend_tls_failed_timeout: int = 0
    """… because they took too long."""
    backend_tls_failed_other: int = 0
    """… for any other reason."""

    limited_idle: int = 0
    """Client connections closed because no request came for too long."""
    limited_requests: int = 0
    """… because they had had `max_requests_per_connection`."""
    limited_request_line: int = 0
    """Requests refused for `max_request_line`."""
    limited_head_size: int = 0
    """… for `max_head_size`."""
    limited_fields: int = 0
    """… for `max_fields`."""
    limited_head_time: int = 0
    """… for `request_timeout`."""
    limited_body_size: int = 0
    """… for `max_body_size`."""
    limited_body_rate: int = 0
    """Request bodies slower than `min_body_rate`."""
    limited_body_time: int = 0
    """… of which nothing came for `front_timeout`."""
    limited_response_rate: int = 0
    """Responses read more slowly than `min_body_rate`."""
    limited_response_time: int = 0
    """… of which nothing was read for `front_timeout`."""

    def failed(self, error: ExchangeError) -> None:
        """An exchange has ended for `error`."""
        self.limited(error.limit)
        if isinstance(error, RequestRefused):
            self.client_errors += 1
        elif isinstance(error, BadResponse):
            self.bad_responses += 1
        elif isinstance(error, NoBackend):
            self.exhausted += 1

    def limited(self, limit: str) -> None:
        """One more that has passed `limit`, of which there is a counter here; empty = none."""
        if limit:
            attribute = f"limited_{limit}"
            setattr(self, attribute, getattr(self, attribute) + 1)

    def backend_handshake_failed(self, kind: str) -> None:
        """One more, of a kind as `tls.client_failures` has it."""
        group = "certificate" if kind in _OF_CERTIFICATES else kind
        attribute = f"backend_tls_failed_{group}"
        attribute = attribute if attribute in NAMES else "backend_tls_failed_other"
        setattr(self, attribute, getattr(self, attribute) + 1)

    def agreed_on(self, cipher: str) -> None:
        """One more handshake with a cipher, by OpenSSL's name."""
        self.by_cipher[_CIPHERS.get(cipher, -1)] += 1

    def handshake_failed(self, kind: str) -> None:
        """One more, of a kind as `HandshakeFailed` has it."""
        attribute = f"tls_failed_{kind}" if f"tls_failed_{kind}" in NAMES else "tls_failed_other"
        setattr(self, attribute, getattr(self, attribute) + 1)

    def snapshot(self) -> dict[str, int]:
        """Name → value, every name always there."""
        values = {name: getattr(self, attribute) for attribute, name in NAMES.items()}
        classes = {f"http.status.{hundred}xx": self.by_status[hundred] for hundred in range(1, 6)}
        rest = {"http.status.none": self.by_status[0], "http.status.other": sum(self.by_status[6:])}
        ciphers = dict(zip(CIPHER_COUNTERS, self.by_cipher, strict=True))
        return values | classes | rest | ciphers

    def add(self, other: "Counters") -> None:
        """Add another process's counters to these, gauges too; of the maximum the larger one stays."""
        longest = max(self.longest_hold, other.longest_hold)
        for attribute in NAMES:
            setattr(self, attribute, getattr(self, attribute) + getattr(other, attribute))
        self.longest_hold = longest
        self.by_status = [mine + theirs for mine, theirs in zip(self.by_status, other.by_status, strict=True)]
        self.by_cipher = [mine + theirs for mine, theirs in zip(self.by_cipher, other.by_cipher, strict=True)]

    def close_gauges(self) -> None:
        """Of a process that is no more only the totals count."""
        for attribute in GAUGES:
            setattr(self, attribute, 0)

    def numbers(self) -> tuple[int, ...]:
        """All of them in a fixed order, as they travel; `read_counters` is the way back."""
        return (*(getattr(self, attribute) for attribute in NAMES), *self.by_status, *self.by_cipher)


def read_counters(numbers: Iterable[int]) -> Counters:
    """The Counters of `numbers()`. Raises ValueError for what are none."""
    values = list(numbers)
    want = len(NAMES) + _CLASSES + len(CIPHER_COUNTERS)
    if len(values) != want or min(values) < 0:
        raise ValueError(f"want {want} counters, none below 0: there are {len(values)}")
    plain, rest = values[: len(NAMES)], values[len(NAMES) :]
    return Counters(**dict(zip(NAMES, plain, strict=True)), by_status=rest[:_CLASSES], by_cipher=rest[_CLASSES:])


CIPHER_COUNTERS: Final = (*(f"tls.cipher.{name}" for name in SOZU_NAMES.values()), "tls.cipher.other")
NAMES = {
    "sessions": "client.connections",
    "sessions_total": "listener.accepted.total",
    "refused": "listener.connection_capped",
    "refused_sources": "listener.source_capped",
    "refused_per_cluster": "cluster.source_capped",
    "shed_overload": "listener.shed.overload",
    "shed_memory": "listener.shed.memory",
    "evicted": "sessions.evicted",
    "requests": "http.requests",
    "active_requests": "http.active_requests",
    "tcp_sessions": "tcp.requests",
    "tunnels": "websocket.active_requests",
    "bytes_in": "bytes_in",
    "bytes_out": "bytes_out",
    "client_errors": "http.frontend_parse_errors",
    "rate_limited": "http.rate_limited",
    "rate_uncounted": "http.rate_uncounted",
    "unrouted": "http.failed_backend_matching",
    "retries": "backend.retries",
    "backend_errors": "backend.connections.error",
    "backend_down": "backend.down",
    "backend_up": "backend.up",
    "bad_responses": "http.backend_parse_errors",
    "exhausted": "backend.connect.retries_exhausted",
    "queued": "backend.queue.waiting",
    "queued_total": "backend.queue.total",
    "queue_refused": "backend.queue.refused",
    "pool_hits": "backend.pool.hit",
    "pool_misses": "backend.pool.miss",
    "access_lines": "access_logs.count",
    "changes": "configuration.changes",
    "longest_hold": "configuration.longest_hold_us",
    "events_dropped": "events.dropped",
    "tls_handshakes": "tls.handshakes",
    "tls_1_2": "tls.version.TLSv1_2",
    "tls_1_3": "tls.version.TLSv1_3",
    "tls_resumed": "tls.resumed",
    "tls_default": "tls.default_cert_used",
    "tls_failed_closed": "tls.handshake.failed.closed",
    "tls_failed_refused": "tls.handshake.failed.alert_received",
    "tls_failed_unknown_name": "tls.handshake.failed.unknown_name",
    "tls_failed_not_tls": "tls.handshake.failed.not_tls",
    "tls_failed_version": "tls.handshake.failed.version",
    "tls_failed_nothing_in_common": "tls.handshake.failed.nothing_in_common",
    "tls_failed_no_certificate": "tls.handshake.failed.no_certificate",
    "tls_failed_invalid_certificate": "tls.handshake.failed.invalid_certificate",
    "tls_failed_timeout": "tls.handshake.failed.timeout",
    "tls_failed_other": "tls.handshake.failed.other",
    "backend_tls_handshakes": "backend.tls.handshakes",
    "backend_tls_resumed": "backend.tls.resumed",
    "backend_tls_failed_certificate": "backend.tls.failed.certificate",
    "backend_tls_failed_client_certificate": "backend.tls.failed.client_certificate",
    "backend_tls_failed_not_tls": "backend.tls.failed.not_tls",
    "backend_tls_failed_timeout": "backend.tls.failed.timeout",
    "backend_tls_failed_other": "backend.tls.failed.other",
    "limited_idle": "limits.idle",
    "limited_requests": "limits.requests_per_connection",
    "limited_request_line": "limits.request_line",
    "limited_head_size": "limits.head_size",
    "limited_fields": "limits.fields",
    "limited_head_time": "limits.head_time",
    "limited_body_size": "limits.body_size",
    "limited_body_rate": "limits.body_rate",
    "limited_body_time": "limits.body_time",
    "limited_response_rate": "limits.response_rate",
    "limited_response_time": "limits.response_time",
}
"""Attribute → the name it is shown under, after Sōzu's; ours: `backend.retries`, `backend.tls.*`, `configuration.*`,
`events.*`, `tls.handshakes`, `tls.resumed`, `tls.cipher.other` and most kinds of failed handshakes. docs/ctl.md lists
them.
"""

GAUGES: Final = ("sessions", "active_requests", "tunnels", "queued")
