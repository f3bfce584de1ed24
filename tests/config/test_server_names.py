"""One spelling of a name, whoever says it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sozu_trio.config.server_names import canonical_address, canonical_name, canonical_pattern


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ("Example.COM", "example.com"),
        ("example.com.", "example.com"),
        ("localhost", "localhost"),
        ("xn--BCHER-kva.example", "xn--bcher-kva.example"),
        ("_dmarc.example.com", "_dmarc.example.com"),
        ("1.example", "1.example"),
        ("127.0.0.1", "127.0.0.1"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("a" * 63 + ".example", "a" * 63 + ".example"),
    ],
)
def test_names_of_hosts(said: str, name: str) -> None:
    assert canonical_name(said) == name


@pytest.mark.parametrize(
    "said",
    [
        *("", ".", "example..com", ".example.com", "example.com..", "-a.example", "a-.example", "a b", "*.example.com"),
        *("bücher.example", "a" * 64 + ".example", "a." * 126 + "ab", "1.2.3", "example.com\n", "example.com\x00"),
        *("127.0.0.1:443", "[::1]", "256.1.1.1"),
    ],
)
def test_what_is_no_name(said: str) -> None:
    assert canonical_name(said) is None


@pytest.mark.parametrize(
    ("said", "pattern"),
    [
        ("*.Example.com.", "*.example.com"),
        ("*.com", "*.com"),
        ("example.com", "example.com"),
        ("*", None),
        ("*.", None),
        ("a*.example.com", None),
        ("*.*.example.com", None),
        ("a.*.example.com", None),
        ("127.0.0.1", None),
        ("*.0.0.1", None),
        ("*.127.0.0.1", None),
        ("My company", None),
    ],
)
def test_names_of_certificates(said: str, pattern: str | None) -> None:
    assert canonical_pattern(said) == pattern


def test_an_address_mapped_into_ipv6_is_itself() -> None:
    assert canonical_address("::ffff:192.0.2.1") == "192.0.2.1"


@given(st.text(st.sampled_from("aZ09-_.*é:"), max_size=20))
def test_the_spelling_of_a_spelling_is_itself(text: str) -> None:
    for spell in (canonical_name, canonical_pattern, canonical_address):
        if (name := spell(text)) is not None:
            assert spell(name) == name
