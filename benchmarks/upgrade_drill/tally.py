"""What the clients of a drill have seen: one `Tally` for all of them, as they are tasks of one thread."""

from dataclasses import dataclass, field

MOST_REASONS = 20
"""Different ones that are kept: a proxy that is gone fails in many ways at once."""


@dataclass(slots=True)
class Tally:
    """Counts; times in seconds."""

    requests: int = 0
    """Sent, or meant to be sent; also those that failed."""
    failures: int = 0
    """Of these: no complete right answer came, for whatever reason."""
    closed: int = 0
    """Keep-alive connections the proxy closed, or said it would, though the client had not asked for it."""
    slowest: float = 0
    """The request that took longest since `begin`, from the moment it was due until its answer was complete; those of
    wrk from its first on, and from the moment they were sent.
    """
    connections: int = 0
    """New ones, for a single request."""
    messages: int = 0
    """Sent over WebSockets."""
    lost: int = 0
    """Messages that never came back."""
    disordered: int = 0
    """Messages that came back after a later one, or more than once, or that nobody had sent."""
    slowest_echo: float = 0
    """The message that took longest to come back since `begin`, from the moment it was due."""
    streamed: int = 0
    """Bytes sent over TCP."""
    missing: int = 0
    """Bytes that never came back."""
    wrong: int = 0
    """Bytes that came back as others, or that nobody had sent."""
    sessions: int = 0
    """WebSocket and TCP sessions that were opened, or could not be."""
    cut: int = 0
    """Of these: could not be opened, or ended before the client closed them."""
    reasons: dict[str, int] = field(default_factory=dict)
    """Why, in words; how often."""

    def begin(self) -> None:
        """Everybody is at work: from now on it counts how slow anything is."""
        self.slowest = self.slowest_echo = 0

    def answered(self, seconds: float) -> None:
        """A request has its right answer."""
        self.requests += 1
        self.slowest = max(self.slowest, seconds)

    def failed(self, reason: str) -> None:
        """A request has none."""
        self.requests += 1
        self.failures += 1
        self.because(f"request: {reason}")

    def because(self, reason: str, times: int = 1) -> None:
        """Keep `reason`, unless there are too many already."""
        if reason in self.reasons or len(self.reasons) < MOST_REASONS:
            self.reasons[reason] = self.reasons.get(reason, 0) + times
