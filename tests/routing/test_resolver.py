"""Who is shown which certificate, and that no order of changes makes a difference."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sozu_trio.config.certificates import Certificate, KeyKind
from sozu_trio.routing.resolver import NO_CERTIFICATES, Resolver, Why, covers


def certificate(
    *names: str,
    kind: KeyKind = "ecdsa",
    end: int = 1000,
    begin: int = 0,
    mark: str = "",
    addresses: Sequence[str] = (),
) -> Certificate:
    """One with nothing but what resolving looks at."""
    return Certificate(
        fingerprint=mark or "|".join((*names, *addresses, kind, str(end), str(begin))),
        names=names,
        addresses=tuple(addresses),
        not_before=begin,
        not_after=end,
        key_kind=kind,
        subject="",
        issuer="",
        chain="",
        key="",
    )


def resolver(*certificates: Certificate, default: Sequence[Certificate] = ()) -> Resolver:
    return NO_CERTIFICATES.amended(add=certificates).with_default(*default)


def found(resolver: Resolver, name: str | None, address: str = "") -> tuple[str, Why] | None:
    shown = resolver.find(name, address)
    return (shown.certificates[0].fingerprint, shown.why) if shown else None


EXACT = certificate("a.example.com", mark="exact")
WILD = certificate("*.example.com", mark="wild")
HOST = certificate("host.example", addresses=["192.0.2.1", "2001:db8::1"], mark="host")
ALL = resolver(EXACT, WILD, HOST)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.example.com", ("exact", "exact")),
        ("A.Example.COM.", ("exact", "exact")),
        ("b.example.com", ("wild", "wildcard")),
        ("b.EXAMPLE.com.", ("wild", "wildcard")),
        ("xn--bcher-kva.example.com", ("wild", "wildcard")),
        ("example.com", None),
        ("a.b.example.com", None),
        ("*.example.com", None),
        (".example.com", None),
        ("", None),
        ("192.0.2.1", ("host", "exact")),
        ("2001:DB8:0::1", ("host", "exact")),
        ("192.0.2.2", None),
        ("nonsense\x00.example.com", None),
    ],
)
def test_names(name: str, expected: tuple[str, Why] | None) -> None:
    assert found(ALL, name) == expected


def test_no_name() -> None:
    assert found(ALL, None) is None
    assert found(ALL, None, "192.0.2.1") == ("host", "address")
    assert found(ALL, None, "::ffff:192.0.2.1") == ("host", "address")
    assert found(ALL, None, "192.0.2.2") is None
    assert found(ALL, "unknown.example", "192.0.2.1") is None


def test_the_default_is_for_unknown_names_and_for_none() -> None:
    whole = resolver(EXACT, HOST, default=[WILD])
    assert found(whole, "unknown.example") == ("wild", "default")
    assert found(whole, None) == ("wild", "default")
    assert found(whole, "not a name") == ("wild", "default")
    assert found(whole, None, "192.0.2.1") == ("host", "address")
    assert found(whole, "a.example.com") == ("exact", "exact")
    # Its names are found once it is a certificate of the listener, too.
    assert found(whole, "b.example.com") == ("wild", "default")


def test_among_equals_the_one_that_expires_last() -> None:
    old, new = certificate("a.example", end=10, mark="old"), certificate("a.example", end=20, mark="new")
    assert found(resolver(old, new), "a.example") == found(resolver(new, old), "a.example") == ("new", "exact")
    assert found(resolver(default=[old, new]), None) == ("new", "default")
    same = certificate("a.example", end=20, begin=5, mark="renewed"), new
    assert found(resolver(*same), "a.example") == ("renewed", "exact")


def test_one_of_each_kind_of_key() -> None:
    rsa = certificate("a.example", kind="rsa", end=5, mark="rsa")
    old, new = certificate("a.example", end=10, mark="old"), certificate("a.example", end=20, mark="new")
    for order in ((rsa, old, new), (new, old, rsa)):
        shown = resolver(*order).find("a.example")
        assert shown is not None
        assert {each.fingerprint for each in shown.certificates} == {"rsa", "new"}


def test_a_wildcard_is_not_combined_with_a_name() -> None:
    rsa = certificate("*.example.com", kind="rsa", mark="rsa")
    shown = resolver(EXACT, rsa).find("a.example.com")
    assert shown is not None
    assert shown.certificates == (EXACT,)


def test_what_is_removed_makes_way_for_the_next_best() -> None:
    old, new = certificate("a.example", end=10, mark="old"), certificate("a.example", end=20, mark="new")
    whole = resolver(old, new, WILD)
    assert found(whole.amended(remove=["new"]), "a.example") == ("old", "exact")
    assert found(whole.amended(remove=["new", "old", "unknown"]), "a.example") is None
    assert found(whole, "a.example") == ("new", "exact")
    assert list(whole.amended(remove=["new"]).certificates) == ["old", "wild"]


def test_one_is_replaced_by_itself() -> None:
    assert ALL.amended(remove=["exact"], add=[EXACT]).find("a.example.com") == ALL.find("a.example.com")


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        *(("a.example.com", True), ("A.EXAMPLE.com.", True), ("b.example.org", True), ("b.c.example.org", False)),
        *(("example.org", False), ("192.0.2.1", True), ("192.0.2.2", False), ("", False), ("*.example.org", False)),
    ],
)
def test_what_a_certificate_covers(host: str, expected: bool) -> None:
    subject = certificate("a.example.com", "*.example.org", addresses=["192.0.2.1"])
    assert covers(subject, host) is expected


LABELS = st.sampled_from(["a", "b", "xn--c"])
NAMES = st.lists(LABELS, min_size=1, max_size=3).map(".".join)
PATTERNS = st.one_of(NAMES, NAMES.map("*.{}".format))
KINDS = st.sampled_from(["rsa", "ecdsa"])
CERTIFICATES = st.builds(
    lambda names, kind, end, number: certificate(*names, kind=kind, end=end, mark=f"{number}"),
    st.lists(PATTERNS, max_size=3, unique=True),
    KINDS,
    st.integers(1, 4),
    st.integers(),
)
MANY = st.lists(CERTIFICATES, max_size=8, unique_by=lambda each: each.fingerprint)


@given(MANY, NAMES)
def test_as_a_naive_search_would(certificates: list[Certificate], name: str) -> None:
    shown = resolver(*certificates).find(name)
    exact = [each for each in certificates if name in each.names]
    wild = [each for each in certificates if f"*.{name.partition('.')[2]}" in each.names and "." in name]
    candidates = exact or wild
    if not candidates:
        assert shown is None
        return
    assert shown is not None
    assert shown.why == ("exact" if exact else "wildcard")
    for kind in ("rsa", "ecdsa"):
        best = max((each.not_after for each in candidates if each.key_kind == kind), default=None)
        assert [each.not_after for each in shown.certificates if each.key_kind == kind] == (
            [] if best is None else [best]
        )
    assert all(covers(each, name) for each in shown.certificates)


@given(MANY, st.data())
def test_no_order_of_changes_makes_a_difference(certificates: list[Certificate], data: st.DataObject) -> None:
    kept = data.draw(st.lists(st.sampled_from(certificates), unique=True)) if certificates else []
    whole = NO_CERTIFICATES
    for each in data.draw(st.permutations(certificates)):
        whole = whole.amended(add=[each])
    for each in certificates:
        if each not in kept:
            whole = whole.amended(remove=[each.fingerprint])
    direct = resolver(*kept)
    assert dict(whole.certificates) == dict(direct.certificates)
    assert whole._found == direct._found


@given(MANY, NAMES)
def test_spelling_does_not_matter(certificates: list[Certificate], name: str) -> None:
    whole = resolver(*certificates)
    assert whole.find(name) == whole.find(name.upper()) == whole.find(f"{name}.")
