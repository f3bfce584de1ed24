"""Whom a certificate is for: every name a client could ask for, and no other."""

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtensionOID

from sozu_trio.errors import BadCertificate
from sozu_trio.tls.subject import addresses_of, names_of
from tests.tls.parts import issue, rsa_key


def test_names_and_addresses() -> None:
    certificate = issue("Example.COM", "*.example.com", "192.0.2.1", "::1", "example.com").certificate
    assert names_of(certificate) == ("example.com", "*.example.com")
    assert addresses_of(certificate) == ("192.0.2.1", "::1")


def test_the_common_name_counts_beside_others_where_it_is_one() -> None:
    assert names_of(issue("a.example", common_name="b.example").certificate) == ("a.example", "b.example")
    assert names_of(issue(common_name="only.example").certificate) == ("only.example",)
    assert names_of(issue("a.example", common_name="My company").certificate) == ("a.example",)


def test_a_certificate_for_nobody() -> None:
    certificate = issue().certificate
    assert (names_of(certificate), addresses_of(certificate)) == ((), ())


def test_wildcards_that_no_client_matches_are_left_out() -> None:
    assert names_of(issue("a*.example", "*", "*.*.example", "ok.example").certificate) == ("ok.example",)


def test_extensions_that_are_garbage() -> None:
    garbage = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, b"\x30\x03\x82\x01\xff")
    template = issue("a.example")
    builder = x509.CertificateBuilder(
        x509.Name([]),
        x509.Name([]),
        rsa_key().public_key(),
        1,
        template.certificate.not_valid_before_utc,
        template.certificate.not_valid_after_utc,
    )
    certificate = builder.add_extension(garbage, critical=False).sign(rsa_key(), SHA256())
    with pytest.raises(BadCertificate, match="the extensions of the certificate cannot be read"):
        names_of(certificate)
