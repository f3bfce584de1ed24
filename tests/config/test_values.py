"""Readers of single values, and what they say of a wrong one."""

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

from sozu_trio.config import values
from sozu_trio.config.addresses import Address
from sozu_trio.config.schema import BackendTable
from sozu_trio.config.values import READERS, Unfit, show

Reader = Callable[[object], object]


def reader(kind: Any) -> Reader:
    """The reader that a kind carries, or that stands in the table."""
    return READERS[kind] if kind in READERS else get_args(kind)[1]


@pytest.mark.parametrize(
    ("kind", "value", "read"),
    [
        (str, "x", "x"),
        (str, "", ""),
        (bool, False, False),
        (Path, "a/b", Path("a/b")),
        (Address, "[::1]:80", Address("::1", 80)),
        (values.ReachableAddress, "[::1]:80", Address("::1", 80)),
        (values.Seconds, 0, 0),
        (values.Seconds, 1.5, 1.5),
        (values.Milliseconds, 1000, 1000),
        (values.Bytes, 0, 0),
        (values.Count, 4294967295, 4294967295),
        (values.Positive, 1, 1),
        (values.Weight, 255, 255),
        (values.Port, 65535, 65535),
        (values.HeadSize, 256, 256),
        (values.Network, "10.0.0.0/8", "10.0.0.0/8"),
        (values.Network, "10.1.2.3", "10.1.2.3/32"),
        (values.Network, "::1", "::1/128"),
        (values.Protocol, "WebSocket", "websocket"),
        (values.FieldName, "X-Id", "X-Id"),
        (values.Pseudonym, "", ""),
        (values.Pseudonym, "proxy.example:8080", "proxy.example:8080"),
        (values.Method, "get", "GET"),
        (values.Method, "purge", "purge"),
        (values.LogTarget, "stdout", "stdout"),
        (values.LogTarget, "stderr", "stderr"),
        (values.LogTarget, "file:///var/log/x", "file:///var/log/x"),
        (values.LogTarget, "unix://sock", "unix://sock"),
        (values.LogTarget, "udp://127.0.0.1:514", "udp://127.0.0.1:514"),
        (values.LogTarget, "tcp://[::1]:514", "tcp://[::1]:514"),
    ],
)
def test_read(kind: Any, value: object, read: object) -> None:
    assert reader(kind)(value) == read


ADDRESS = "want ip:port, such as 127.0.0.1:8080 or [::1]:8080 (names are not resolved)"
SECONDS = "want a number of seconds from 0 to 4294967295"
NETWORK = "want a network or an address, such as 10.0.0.0/8 or ::1"
TARGET = "want stdout, stderr, file://PATH, unix://PATH, udp://ip:port or tcp://ip:port"
PROTOCOL = "want the name of a protocol, such as websocket, and never h2c"


@pytest.mark.parametrize(
    ("kind", "value", "complaint"),
    [
        (values.ReachableAddress, "127.0.0.1:0", "found '127.0.0.1:0'; want a port from 1 to 65535"),
        (str, 1, "found 1; want a string"),
        (bool, 1, "found 1; want true or false"),
        (bool, "true", "found 'true'; want true or false"),
        (Path, "", "found ''; want a path"),
        (Path, "a\0b", "found 'a\\x00b'; want a path"),
        (Path, 3, "found 3; want a path"),
        (Address, 8080, f"found 8080; {ADDRESS}"),
        (Address, "localhost:80", f"found 'localhost:80'; {ADDRESS}"),
        (values.Seconds, True, f"found true; {SECONDS}"),
        (values.Seconds, -1, f"found -1; {SECONDS}"),
        (values.Seconds, "1", f"found '1'; {SECONDS}"),
        (values.Seconds, float("inf"), f"found inf; {SECONDS}"),
        (values.Seconds, float("nan"), f"found nan; {SECONDS}"),
        (values.Milliseconds, 1.0, "found 1.0; want an integer from 0 to 4294967295 (milliseconds)"),
        (values.Bytes, -1, "found -1; want an integer from 0 to 4294967295 (bytes)"),
        (values.Count, False, "found false; want an integer from 0 to 4294967295"),
        (values.Positive, 0, "found 0; want an integer from 1 to 4294967295"),
        (values.Workers, 65536, "found 65536; want an integer from 1 to 65535"),
        (values.Weight, 256, "found 256; want an integer from 0 to 255"),
        (values.Port, 0, "found 0; want an integer from 1 to 65535"),
        (values.HeadSize, 255, "found 255; want an integer from 256 to 16777216 (bytes)"),
        (values.Network, "10.0.0.1/8", f"found '10.0.0.1/8'; {NETWORK}; the network of this address is 10.0.0.0/8"),
        (values.Network, "here", f"found 'here'; {NETWORK}"),
        (values.Network, 10, "found 10; want a string"),
        (values.Protocol, "h2c", f"found 'h2c'; {PROTOCOL}"),
        (values.Protocol, "H2C", f"found 'H2C'; {PROTOCOL}"),
        (values.Protocol, "a b", f"found 'a b'; {PROTOCOL}"),
        (values.FieldName, "a:b", "found 'a:b'; want the name of a header field, such as Sozu-Id"),
        (values.FieldName, "a\r\n", "found 'a\\r\\n'; want the name of a header field, such as Sozu-Id"),
        (values.Method, "", "found ''; want an HTTP method, such as GET"),
        (values.LogTarget, "syslog", f"found 'syslog'; {TARGET}"),
        (values.LogTarget, "file://", f"found 'file://'; {TARGET}"),
        (values.LogTarget, "udp://host:514", f"found 'udp://host:514'; {TARGET}"),
        (values.LogTarget, None, "found null; want a string"),
    ],
)
def test_refused(kind: Any, value: object, complaint: str) -> None:
    with pytest.raises(Unfit) as caught:
        reader(kind)(value)
    assert str(caught.value) == complaint


def test_a_pseudonym_is_one_element_of_the_via_list() -> None:
    with pytest.raises(Unfit, match="pseudonym"):
        reader(values.Pseudonym)("a, b")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (True, "true"),
        (1 << 200, "an integer of 201 bits"),
        ({"a": 1}, "a table"),
        (BackendTable(), "a table"),
        ([1], "an array"),
        ((), "an empty array"),
        (Address("::1", 80), "'[::1]:80'"),
        (Path("a"), "'a'"),
        (dt.date(2026, 1, 2), "2026-01-02"),
        ("a\nb", "'a\\nb'"),
        ("x" * 81, "'" + "x" * 79 + "…'"),
    ],
)
def test_show(value: object, shown: str) -> None:
    assert show(value) == shown
