"""Every way in which a process can end has a name."""

import signal

import pytest

from sozu_trio.nursery.exit_status import ended_with


@pytest.mark.parametrize(
    ("code", "said"),
    [(0, "exit code 0"), (3, "exit code 3"), (-signal.SIGKILL, "SIGKILL"), (-signal.SIGRTMIN - 1, "signal 35")],
)
def test_how_it_ended(code: int, said: str) -> None:
    assert ended_with(code) == said
