"""Who a client is by its certificate, out of what `ssl` says of it; and which certificates are not passed on."""

import hashlib
import ipaddress
import ssl
import time
from typing import Any, cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from sozu_trio.config.tls_settings import TlsSettings
from sozu_trio.errors import HandshakeFailed
from sozu_trio.routing.resolver import NO_CERTIFICATES
from sozu_trio.tls.authorities import read_authorities
from sozu_trio.tls.contexts import ServerContexts
from sozu_trio.tls.identity import LONGEST, ClientIdentity, client_identity, read_identity, rfc4514
from tests.tls.parts import issue
from tests.tls.peers import client_with, connect

DAY = 86400
LATER = "Jan  1 00:00:00 2030 GMT"
NOW = 1_800_000_000.0
"""2027"""


class FakeSocket:
    """Says of its peer what it is told to."""

    def __init__(self, der: bytes | None, said: Any = None) -> None:
        self._der = der
        self._said = said

    def getpeercert(self, binary_form: bool = False) -> Any:
        if binary_form:
            return self._der
        if isinstance(self._said, Exception):
            raise self._said
        return self._said


def identity(sock: FakeSocket, *, required: bool = False) -> ClientIdentity | None:
    return client_identity(cast(ssl.SSLSocket, sock), required=required, now=NOW)


def read(**said: Any) -> ClientIdentity:
    return read_identity({"notAfter": LATER, **said}, b"DER", NOW)


def common_name(value: str) -> tuple[tuple[tuple[str, str], ...], ...]:
    return ((("commonName", value),),)


def test_of_a_certificate_with_everything() -> None:
    attributes = [
        (NameOID.COUNTRY_NAME, "DE"),
        (NameOID.ORGANIZATION_NAME, "Müller, Söhne + Co"),
        (NameOID.COMMON_NAME, "anna"),
        (NameOID.EMAIL_ADDRESS, "anna@example.com"),
    ]
    subject = x509.Name([x509.NameAttribute(*each) for each in attributes])
    alternatives = x509.SubjectAlternativeName(
        [
            x509.DNSName("a.example"),
            x509.IPAddress(ipaddress.ip_address("192.0.2.7")),
            x509.IPAddress(ipaddress.ip_address("2001:db8::7")),
            x509.UniformResourceIdentifier("spiffe://example/a,b"),
            x509.RFC822Name("anna@example.com"),
            x509.DirectoryName(subject),
            x509.RegisteredID(x509.ObjectIdentifier("1.2.3.4")),
        ]
    )
    times: dict[str, Any] = {"begin": time.time() - DAY, "end": time.time() + DAY}
    authority = issue(common_name="root", authority=True, **times)
    shown = issue(by=authority, subject=subject, extensions=[alternatives], **times)
    settings = TlsSettings(client_auth="required", client_ca=read_authorities(authority.pem))
    made = ServerContexts(settings, NO_CERTIFICATES.with_default(issue("a.example").read()))
    client, server = connect(made, context=client_with(shown))
    with client, server:
        found = client_identity(server, required=True, now=time.time())
    der = shown.certificate.public_bytes(Encoding.DER)
    assert found == ClientIdentity(
        subject=r"emailAddress=anna@example.com,CN=anna,O=Müller\, Söhne \+ Co,C=DE",
        alternatives=(
            ("DNS", "a.example"),
            ("IP", "192.0.2.7"),
            ("IP", "2001:db8::7"),
            ("URI", "spiffe://example/a,b"),
            ("email", "anna@example.com"),
        ),
        fingerprint=hashlib.sha256(der).hexdigest(),
        not_after=shown.certificate.not_valid_after_utc.timestamp(),
    )


@pytest.mark.parametrize(
    ("subject", "text"),
    [
        ((), ""),
        (common_name("a"), "CN=a"),
        (common_name('a"b+c,d;e<f>g\\h'), r"CN=a\"b\+c\,d\;e\<f\>g\\h"),
        (common_name(" a "), r"CN=\20a\20"),
        (common_name(" "), r"CN=\20"),
        (common_name("#a#"), r"CN=\23a#"),
        (common_name("a\0b\r\n"), "CN=a\\00b\r\n"),
        (((("organizationName", "o"),), (("commonName", "a"), ("userId", "7"))), "CN=a+UID=7,O=o"),
        (((("1.2.3.4", "x"),),), "1.2.3.4=x"),
    ],
)
def test_subjects_as_rfc_4514_has_them(subject: Any, text: str) -> None:
    assert rfc4514(subject) == text


def test_two_subjects_are_never_written_alike() -> None:
    """One part that pretends to be two."""
    two = ((("organizationName", "o"),), (("commonName", "a"),))
    assert rfc4514(common_name("a,O=o")) != rfc4514(two)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["commonName", "organizationName", "userId"]), TEXT), min_size=1, max_size=4))
def test_others_read_the_very_names_that_stand_in_it(attributes: list[tuple[str, str]]) -> None:
    oids = {
        "commonName": NameOID.COMMON_NAME,
        "organizationName": NameOID.ORGANIZATION_NAME,
        "userId": NameOID.USER_ID,
    }
    text = rfc4514([[each] for each in attributes])
    assert list(x509.Name.from_rfc4514_string(text)) == [
        x509.NameAttribute(oids[kind], value) for kind, value in attributes
    ]


def test_without_a_certificate() -> None:
    assert identity(FakeSocket(None)) is None
    with pytest.raises(HandshakeFailed, match="none was shown"):
        identity(FakeSocket(None), required=True)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({}, "it was not verified"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"), "it cannot be read"),
        ({"notAfter": "Jan  1 00:00:00 2026 GMT"}, "it has expired since its session began"),
        ({"notAfter": LATER, "subject": common_name("ü" * LONGEST)}, "its subject take 8195 bytes"),
        ({"notAfter": LATER, "subjectAltName": (("DNS", "a" * 4000), ("DNS", "b" * 97))},
         "its alternative names take 4097 bytes"),
    ],
)  # fmt: skip
def test_what_is_not_passed_on(said: Any, why: str) -> None:
    with pytest.raises(HandshakeFailed, match=why) as caught:
        identity(FakeSocket(b"DER", said))
    assert caught.value.kind == "invalid_certificate"


def test_what_just_fits() -> None:
    assert len(read(subject=common_name("a" * (LONGEST - 3))).subject) == LONGEST


def test_an_address_that_is_none_stays_what_it_is_called() -> None:
    assert read(subjectAltName=(("IP Address", "<invalid>"), ("IP Address", "::1\n"))).alternatives == (
        ("IP", "<invalid>"),
        ("IP", "::1"),
    )
