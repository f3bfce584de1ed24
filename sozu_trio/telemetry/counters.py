"""What happened, in plain integers: adding one is all the hot path does.

Names follow Sōzu's catalogue where it has one (reference §6.6), so that dashboards carry over; they appear in
`snapshot` only.
"""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Counters:
    """Totals since the process began, except those called gauges, which go down again."""

    sessions: int = 0
    """Gauge: client connections open now."""
    sessions_total: int = 0
    """Client connections accepted."""
    refused: int = 0
    """Client connections over `max_connections`, answered 503 or closed."""
    requests: int = 0
    """HTTP requests whose head was complete."""
    active_requests: int = 0
    """Gauge: HTTP requests without the end of their answer."""
    tcp_sessions: int = 0
    """TCP sessions that got a backend."""
    tunnels: int = 0
    """Gauge: upgraded connections open now."""
    by_status: list[int] = field(default_factory=lambda: [0] * 10)
    """Answers by `status // 100`; 0 for requests that got none."""
    bytes_in: int = 0
    """Bytes read from clients."""
    bytes_out: int = 0
    """Bytes written to clients."""
    client_errors: int = 0
    """Request heads and bodies that could not be understood or were refused."""
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
    pool_hits: int = 0
    """Requests that found a pooled connection."""
    pool_misses: int = 0
    """Requests that needed a new one."""
    access_lines: int = 0
    """Access lines handed to their log."""

    def snapshot(self) -> dict[str, int]:
        """Name → value, every name always there."""
        values = {name: getattr(self, attribute) for attribute, name in NAMES.items()}
        classes = {f"http.status.{hundred}xx": self.by_status[hundred] for hundred in range(1, 6)}
        rest = {"http.status.none": self.by_status[0], "http.status.other": sum(self.by_status[6:])}
        return values | classes | rest

    def add(self, other: "Counters") -> None:
        """Add another process's counters to these, gauges too."""
        for attribute in NAMES:
            setattr(self, attribute, getattr(self, attribute) + getattr(other, attribute))
        self.by_status = [mine + theirs for mine, theirs in zip(self.by_status, other.by_status, strict=True)]


NAMES = {
    "sessions": "client.connections",
    "sessions_total": "listener.accepted.total",
    "refused": "listener.connection_capped",
    "requests": "http.requests",
    "active_requests": "http.active_requests",
    "tcp_sessions": "tcp.requests",
    "tunnels": "websocket.active_requests",
    "bytes_in": "bytes_in",
    "bytes_out": "bytes_out",
    "client_errors": "http.frontend_parse_errors",
    "unrouted": "http.failed_backend_matching",
    "retries": "backend.retries",
    "backend_errors": "backend.connections.error",
    "backend_down": "backend.down",
    "backend_up": "backend.up",
    "bad_responses": "http.backend_parse_errors",
    "exhausted": "backend.connect.retries_exhausted",
    "pool_hits": "backend.pool.hit",
    "pool_misses": "backend.pool.miss",
    "access_lines": "access_logs.count",
}
"""Attribute → the name it is shown under, after Sōzu's; `backend.retries` is ours."""
