"""The file with the authorities of clients: what is taken, and what can be wrong with it."""

import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sozu_trio.errors import BadCertificate
from sozu_trio.tls import authorities as module
from sozu_trio.tls.authorities import read_authorities
from tests.tls.parts import authorities, issue

ROOT, MIDDLE = authorities("root", "middle")
OLD = issue(common_name="old", authority=True, end=time.time() - 10**9, begin=time.time() - 2 * 10**9)


def usage(*, signs: bool) -> x509.KeyUsage:
    others = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement")
    rest = dict.fromkeys((*others, "encipher_only", "decipher_only"), False)
    return x509.KeyUsage(key_cert_sign=signs, crl_sign=True, **rest)


def test_all_of_them_each_once_and_nothing_else() -> None:
    text = b"what people write\n" + ROOT.pem + MIDDLE.pem + ROOT.key_pem + ROOT.pem + OLD.pem
    assert read_authorities(text) == (ROOT.pem + MIDDLE.pem + OLD.pem).decode()


def test_reading_them_again_changes_nothing() -> None:
    text = read_authorities(ROOT.pem + MIDDLE.pem)
    assert read_authorities(text.encode()) == text


def test_one_that_may_sign_says_so() -> None:
    one = issue(common_name="one", authority=True, extensions=[usage(signs=True)])
    assert read_authorities(one.pem) == one.pem.decode()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "no certificate in PEM form; want a block `BEGIN CERTIFICATE`"),
        (b"\x00\xff garbage", "no certificate in PEM form"),
        (ROOT.key_pem, "no certificate in PEM form: this is a private key"),
        (ROOT.certificate.public_bytes(Encoding.DER), "no certificate in PEM form"),
        (ROOT.pem.replace(b"M", b"N", 1), "certificate 1 cannot be read: its PEM block is damaged"),
        (ROOT.pem + issue(common_name="leaf", by=ROOT).pem,
         "`CN=leaf` is no authority: want certificates whose basic constraints say CA, not those of clients"),
        (issue(common_name="one", authority=True, extensions=[usage(signs=False)]).pem,
         "`CN=one` may sign no certificates, as its key usage says"),
        (b"x" * ((1 << 20) + 1), "1,048,577 bytes are no certificate"),
    ],
)  # fmt: skip
def test_what_is_wrong(text: bytes, why: str) -> None:
    with pytest.raises(BadCertificate) as caught:
        read_authorities(text)
    assert str(caught.value).startswith(why)
    assert "PRIVATE" not in str(caught.value)


def test_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_AUTHORITIES", 1)
    with pytest.raises(BadCertificate, match="2 authorities: want at most 1"):
        read_authorities(ROOT.pem + MIDDLE.pem)
