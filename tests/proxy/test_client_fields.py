"""Fields that say who the client is: whatever a certificate says is safe in them, and nobody else's gets through."""

from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sozu_trio.config.addresses import Address
from sozu_trio.config.limits import HeadLimits
from sozu_trio.config.listeners import HttpsListener
from sozu_trio.errors import BadResponse, ClientGone
from sozu_trio.proxy.body import Body
from sozu_trio.proxy.client_fields import drop_fields, fields_of
from sozu_trio.proxy.stream import Stream
from sozu_trio.tls.identity import LONGEST, ClientIdentity
from sozu_trio.wire.heads import Framing
from sozu_trio.wire.request import RequestParser
from tests.proxy.parts import request

HERE = Address("127.0.0.1", 443)
NAMES = frozenset({b"x-client-subject", b"x-forwarded-client-cert"})


def told(subject: str = "CN=a", *alternatives: tuple[str, str], **names: str) -> dict[bytes, bytes]:
    identity = ClientIdentity(subject=subject, alternatives=alternatives, fingerprint="ab12", not_after=0)
    return dict(fields_of(identity, HttpsListener(address=HERE, **names)))  # type: ignore[arg-type]


def test_what_backends_are_told() -> None:
    assert told("CN=anna,O=Example Co", ("DNS", "a.example"), ("URI", "spiffe://a/b")) == {
        b"X-Client-Subject": b"CN=anna,O=Example Co",
        b"X-Client-San": b"DNS:a.example,URI:spiffe://a/b",
        b"X-Client-Fingerprint": b"ab12",
    }


def test_what_is_not_there_makes_no_field() -> None:
    assert told("") == {b"X-Client-Fingerprint": b"ab12"}


def test_other_names_and_none() -> None:
    assert told("CN=a", client_subject_header="X-Who", client_fingerprint_header="") == {b"X-Who": b"CN=a"}


@pytest.mark.parametrize(
    ("subject", "value"),
    [
        ("CN=Jürgen", b"CN=J%C3%BCrgen"),
        ("CN=100%", b"CN=100%25"),
        ("CN=a\r\nX-Admin: yes", b"CN=a%0D%0AX-Admin: yes"),
        ("CN=a\0b\x7f\t", b"CN=a%00b%7F%09"),
        (r"CN=\"a\"\,b", rb"CN=\"a\"\,b"),
    ],
)
def test_subjects_are_safe_in_a_field(subject: str, value: bytes) -> None:
    assert told(subject)[b"X-Client-Subject"] == value


def test_a_comma_within_a_name_is_no_comma_between_two() -> None:
    found = told("", ("URI", "http://a/b,DNS:admin.example"), ("email", "a b@c"))
    assert found[b"X-Client-San"] == b"URI:http://a/b%2CDNS:admin.example,email:a%20b@c"


TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


@settings(max_examples=200, deadline=None)
@given(TEXT, st.lists(st.tuples(st.sampled_from(["DNS", "IP", "URI", "email"]), TEXT), min_size=1, max_size=4))
def test_whatever_they_say_is_visible_ascii_and_can_be_read_again(
    subject: str, alternatives: list[tuple[str, str]]
) -> None:
    found = told(subject, *alternatives)
    assert all(0x20 <= byte < 0x7F for value in found.values() for byte in value)
    assert unquote(found[b"X-Client-Subject"].decode()) == subject
    read = [each.split(":", 1) for each in found[b"X-Client-San"].decode().split(",")]
    assert [(kind, unquote(value)) for kind, value in read] == alternatives


def test_the_longest_fits_into_a_head_of_usual_size() -> None:
    found = told("\0" * LONGEST, ("DNS", "\0" * LONGEST))
    assert sum(map(len, found.values())) < HeadLimits().head


def body_of(rest: bytes = b"") -> Body:
    stream = Stream(None, 0)  # type: ignore[arg-type]
    body = Body(stream, Framing.CHUNKED, -1, HeadLimits(), BadResponse, ClientGone)
    body.rest = rest
    return body


def test_what_clients_send_is_dropped_however_it_is_spelled() -> None:
    sent = (
        *("X-Client-Subject: CN=admin", "x-client-SUBJECT: CN=admin", "X_Client_Subject: CN=admin", "Accept: x"),
        *("X-Forwarded-Client-Cert: By=me", "X-Forwarded-For: 192.0.2.1", "X-Client-Subjects: stays"),
    )
    head = RequestParser(HeadLimits()).parse(request("POST /", *sent, "Transfer-Encoding: chunked"))
    assert head is not None
    body = body_of(b"0\r\nX-Client-Subject: CN=admin\r\nX_Client_Subject: CN=admin\r\nX-Sum: 1\r\n\r\n")
    drop_fields(head, body, NAMES)
    body.begin()
    assert head.lines == [b"Accept: x", b"X-Client-Subjects: stays"]
    assert head.forwarding == [(b"x-forwarded-for", b"192.0.2.1")]
    assert body.wanted_trailers() == [(b"X-Sum", b"1")]
