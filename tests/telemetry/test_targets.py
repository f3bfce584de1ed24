"""Log targets as text and value."""

from pathlib import Path

import pytest

from sozu_trio.config.addresses import Address
from sozu_trio.errors import OperatorError
from sozu_trio.telemetry.targets import File, Standard, Target, Tcp, Udp, UnixDatagram, parse_target


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("stdout", Standard("stdout")),
        ("stderr", Standard("stderr")),
        ("file:///var/log/proxy.log", File(Path("/var/log/proxy.log"))),
        ("file://logs/proxy.log", File(Path("logs/proxy.log"))),
        ("unix:///dev/log", UnixDatagram(Path("/dev/log"))),
        ("udp://127.0.0.1:514", Udp(Address("127.0.0.1", 514))),
        ("udp://[::1]:514", Udp(Address("::1", 514))),
        ("tcp://[::1]:514", Tcp(Address("::1", 514))),
    ],
)
def test_a_target_reads_and_prints_the_same(text: str, target: Target) -> None:
    assert parse_target(text) == target
    assert str(target) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("stdotu", "'stdotu' is not a log target (did you mean 'stdout'?); want one of stdout, stderr, file://path"),
        ("", "'' is not a log target; want one of"),
        ("/var/log/proxy.log", "'/var/log/proxy.log' is not a log target"),
        ("file://", "'file://' is not a log target (did you mean 'file://path'?)"),
        ("http://127.0.0.1:80", "'http://127.0.0.1:80' is not a log target"),
        ("udp://127.0.0.1", "log target 'udp://127.0.0.1': '127.0.0.1' is not an address"),
        ("tcp://collector:514", "'collector' is no IP literal"),
    ],
)
def test_anything_else_is_an_error_that_says_what_would_be_right(text: str, message: str) -> None:
    with pytest.raises(OperatorError) as caught:
        parse_target(text)
    assert message in str(caught.value)
