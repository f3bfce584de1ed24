"""Hosts and targets: every spelling that is one, and those that are none."""

import pytest

from sozu_trio.errors import RequestRefused
from sozu_trio.wire import authority as module
from sozu_trio.wire.authority import LONGEST_KNOWN, MOST_KNOWN, host_of, read_target


@pytest.mark.parametrize(
    ("authority", "host"),
    [
        (b"a.example", b"a.example"),
        (b"A.Example:8080", b"a.example"),
        (b"a.example.", b"a.example"),
        (b"a.example.:80", b"a.example"),
        (b"127.0.0.1:65535", b"127.0.0.1"),
        (b"[::1]", b"[::1]"),
        (b"[2001:DB8::0:1]:1", b"[2001:db8::1]"),
        (b"my_host-1~x", b"my_host-1~x"),
        (b"a%2db", b"a%2db"),
    ],
)
def test_hosts(authority: bytes, host: bytes) -> None:
    assert host_of(authority) == host


@pytest.mark.parametrize(
    "authority",
    [
        *(b"", b".", b":80", b"a:", b"a:0", b"a:65536", b"a:+1", b"a:1 ", b"a:1:1", b"a:\xd9\xa1", b"a:000001"),
        *(b"me@a", b"me:x@a", b"a/", b"a?", b"a#", b"a b", b"a\tb", b"a\\b", b"a%2", b"a%zz", b"\xe4", b'a"', b"<a>"),
        *(b"::1", b"[::1", b"::1]", b"[]", b"[::g]", b"[1.2.3.4]", b"[::1%25eth0]", b"[v1.a]", b"[::1]x", b"a[::1]"),
        *(b"[1:2:3:4:5:6:7:8:9]", b"a\n", b"[::1]\n"),
    ],
)
def test_no_hosts(authority: bytes) -> None:
    with pytest.raises(RequestRefused, match="host") as refused:
        host_of(authority)
    assert refused.value.status == 400


def test_only_a_bounded_number_of_short_hosts_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    known: dict[bytes, bytes] = {}
    monkeypatch.setattr(module, "_known", known)
    for number in range(MOST_KNOWN):
        assert host_of(b"A%d:80" % number) == host_of(b"A%d:80" % number) == b"a%d" % number
    assert len(known) == MOST_KNOWN
    assert host_of(b"B") == b"b"
    assert known == {b"B": b"b"}
    assert host_of(b"c" * (LONGEST_KNOWN + 1)) == b"c" * (LONGEST_KNOWN + 1)
    with pytest.raises(RequestRefused):
        host_of(b"a:0")
    assert known == {b"B": b"b"}


@pytest.mark.parametrize(
    ("method", "target", "forwarded", "authority"),
    [
        (b"GET", b"/", b"/", b""),
        (b"GET", b"/a?b=http://c/", b"/a?b=http://c/", b""),
        (b"GET", b"//a/b", b"//a/b", b""),
        (b"OPTIONS", b"*", b"*", b""),
        (b"GET", b"http://a", b"/", b"a"),
        (b"GET", b"HTTPS://a:1/b", b"/b", b"a:1"),
        (b"GET", b"http://a?b", b"/?b", b"a"),
        (b"GET", b"http://me@a/", b"/", b"me@a"),
        (b"OPTIONS", b"http://a", b"*", b"a"),
        (b"OPTIONS", b"http://a/", b"/", b"a"),
    ],
)
def test_targets(method: bytes, target: bytes, forwarded: bytes, authority: bytes) -> None:
    assert read_target(method, target) == (forwarded, authority)


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        (b"CONNECT", b"a:443", 405),
        (b"CONNECT", b"/", 405),
        (b"GET", b"*", 400),
        (b"OPTIONS", b"**", 400),
        (b"GET", b"/a#b", 400),
        (b"GET", b"http://a/#b", 400),
        (b"GET", b"a", 400),
        (b"GET", b"a:443", 400),
        (b"GET", b"?a", 400),
        (b"GET", b"http:/a", 400),
        (b"GET", b"http://", 400),
        (b"GET", b"http:///a", 400),
        (b"GET", b"ftp://a/", 400),
        (b"GET", b"xhttp://a/", 400),
    ],
)
def test_no_targets(method: bytes, target: bytes, status: int) -> None:
    with pytest.raises(RequestRefused) as refused:
        read_target(method, target)
    assert refused.value.status == status
