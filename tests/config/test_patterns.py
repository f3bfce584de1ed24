"""Host patterns and path rules: what is read into what, and what is said about what cannot be read."""

import re
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sozu_trio.config.clusters import PathType
from sozu_trio.config.patterns import (
    ANY_HOST,
    Wildcard,
    canonical_host,
    canonical_literal,
    check_path,
    compile_path_regex,
    parse_host,
    why_idle,
)

ONE = Wildcard.ONE_LABEL


def regex(text: str) -> re.Pattern[bytes]:
    return re.compile(text.encode(), re.IGNORECASE)


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("example.com", (b"example", b"com")),
        ("localhost", (b"localhost",)),
        ("Example.COM.", (b"example", b"com")),
        ("under_score.a-b.example", (b"under_score", b"a-b", b"example")),
        ("*", ANY_HOST),
        ("*.example.com", (ONE, b"example", b"com")),
        ("127.0.0.1", (b"127", b"0", b"0", b"1")),
        ("[::1]", (b"[::1]",)),
        ("::1", (b"[::1]",)),
        ("[2001:DB8:0::1]", (b"[2001:db8::1]",)),
        ("/cdn[0-9]+/.example.com", (regex("cdn[0-9]+"), b"example", b"com")),
        ("www./a|b/.com", (b"www", regex("a|b"), b"com")),
        ("/a.b/./c:d/", (regex("a.b"), regex("c:d"))),
        ("*./x/.com", (ONE, regex("x"), b"com")),
        ("bücher.example", (b"xn--bcher-kva", b"example")),
        ("BÜCHER.example", (b"xn--bcher-kva", b"example")),
        ("straße.example", (b"xn--strae-oqa", b"example")),
    ],
)
def test_a_host_is_read(text: str, labels: tuple[object, ...]) -> None:
    assert parse_host(text) == labels


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "a label is empty"),
        ("a..b", "a label is empty"),
        ("a..", "a label is empty"),
        (".a", "a label is empty"),
        ("a.*.b", "'*' stands for the whole first label or the whole host"),
        ("*.", "'*' stands for the whole first label or the whole host"),
        ("w*.example", "'*' stands for the whole first label or the whole host"),
        ("*.*.example", "'*' stands for the whole first label or the whole host"),
        ("/a.example", "a regex is a whole label between two slashes"),
        ("x/a/.example", "a regex is a whole label between two slashes"),
        ("//.example", "a regex is a whole label between two slashes"),
        ("a b.example", "'a b' is no label of 1 to 63 letters"),
        ("a" * 64, "is no label of 1 to 63 letters"),
        ("a。b", "'a。b' is no label"),
        ("\ue000.example", "is no label"),
        ("example.com:8080", "neither IPv6 literal nor name without port"),
        ("[127.0.0.1]", "neither IPv6 literal nor name without port"),
        ("[::1", "neither IPv6 literal nor name without port"),
        ("[fe80::1%eth0]", "has no zone"),
        ("127.0.0.256", "looks like an IPv4 address but is none"),
        ("/é/.example", "a regex sees names in ASCII"),
        (
            "/a(/.example",
            "'/a(/.example' is not a host: 'a(' is not a regex: missing ), unterminated subpattern at position 1",
        ),
        ("/[[:alpha:]]/.example", "'[[:alpha:]]' is not a regex: Possible nested set at position 1"),
        ("/a{99999999999}/.example", "is not a regex: the repetition number is too large"),
    ],
)
def test_a_host_is_refused(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        parse_host(text)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("Example.com.", "example.com"),
        ("*.Example.com", "*.example.com"),
        ("*", "*"),
        ("0:0::1", "[::1]"),
        ("bücher.example", "xn--bcher-kva.example"),
        (r"/\D+/.EXAMPLE", r"/\D+/.example"),
    ],
)
def test_hosts_that_mean_the_same_are_spelt_the_same(text: str, canonical: str) -> None:
    assert canonical_host(text) == canonical
    assert parse_host(canonical) == parse_host(text)


@given(st.text(max_size=20) | st.text("ab*./[]:-1é(", max_size=20))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        labels = parse_host(text)
    except ValueError:
        return
    assert parse_host(canonical_host(text)) == labels


@pytest.mark.parametrize(
    ("host", "canonical"),
    [
        (b"[0:0::1]", b"[::1]"),
        (b"[::1]", b"[::1]"),
        (b"[::g]", b"[::g]"),
        (b"[\xff]", b"[\xff]"),
        (b"[::1", b"[::1"),
        (b"example.com", b"example.com"),
        (b"", b""),
    ],
)
def test_an_ipv6_literal_of_a_request_has_one_spelling(host: bytes, canonical: bytes) -> None:
    assert canonical_literal(host) == canonical


@pytest.mark.parametrize(
    ("path_type", "path"),
    [
        (PathType.PREFIX, ""),
        (PathType.PREFIX, "/api"),
        (PathType.EQUALS, "/api"),
        (PathType.EQUALS, "*"),
        (PathType.REGEX, "/v[0-9]+(/.*)?"),
    ],
)
def test_a_path_rule_is_accepted(path_type: PathType, path: str) -> None:
    check_path(path_type, path)


@pytest.mark.parametrize(
    ("path_type", "path", "says"),
    [
        (PathType.PREFIX, "/api?x=1", "compared without the query"),
        (PathType.EQUALS, "/?", "compared without the query"),
        (PathType.REGEX, "/a(b", "'/a(b' is not a regex: missing ), unterminated subpattern at position 2"),
        (PathType.REGEX, "/[a--b]", "is not a regex: Possible set difference"),
    ],
)
def test_a_path_rule_is_refused(path_type: PathType, path: str, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        check_path(path_type, path)


@pytest.mark.parametrize(
    ("path_type", "path", "idle"),
    [
        (PathType.PREFIX, "", False),
        (PathType.PREFIX, "/v2", False),
        (PathType.PREFIX, "*", False),
        (PathType.EQUALS, "*", False),
        (PathType.REGEX, "v2", False),
        (PathType.PREFIX, "v2", True),
        (PathType.PREFIX, "*/v2", True),
        (PathType.EQUALS, "v2", True),
        (PathType.EQUALS, "", True),
    ],
)
def test_a_path_rule_that_no_request_can_match(path_type: PathType, path: str, idle: bool) -> None:
    assert why_idle(path_type, path) == (f"no request can match {path!r}: a path begins with '/'" if idle else None)


def test_what_python_only_warns_of_is_refused_whatever_becomes_of_warnings() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(ValueError, match="Possible nested set"):
            check_path(PathType.REGEX, "/[[:digit:]]+")


def test_a_path_regex_sees_bytes_and_case() -> None:
    assert compile_path_regex("/é|/b").fullmatch("/é".encode())
    assert not compile_path_regex("/b").fullmatch(b"/B")
