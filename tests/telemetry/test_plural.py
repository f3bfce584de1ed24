"""One of something, or more."""

from sozu_trio.telemetry.plural import count


def test_counts() -> None:
    assert [count(number, "session") for number in (0, 1, 2000)] == ["0 sessions", "1 session", "2,000 sessions"]
