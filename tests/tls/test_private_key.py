"""Keys that TLS can use, and clear words for the others."""

import base64
import re

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)

from sozu_trio.errors import BadCertificate
from sozu_trio.tls.pem import read_blocks
from sozu_trio.tls.private_key import kind_of, read_key
from tests.tls.parts import issue, rsa_key

PLAIN = NoEncryption()


def pem(key: object, form: PrivateFormat = PrivateFormat.PKCS8, how: KeySerializationEncryption = PLAIN) -> bytes:
    text: bytes = key.private_bytes(Encoding.PEM, form, how)  # type: ignore[attr-defined]
    return text


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
@pytest.mark.parametrize(
    ("key", "kind"),
    [
        (rsa_key(), "rsa"),
        (ec.generate_private_key(ec.SECP256R1()), "ecdsa"),
        (ec.generate_private_key(ec.SECP384R1()), "ecdsa"),
        (ec.generate_private_key(ec.SECP521R1()), "ecdsa"),
    ],
)
def test_keys_in_both_forms(key: object, kind: str, form: PrivateFormat) -> None:
    text = pem(key, form)
    read, block = read_key(read_blocks(b"about it\n" + text))
    assert (kind_of(read), block) == (kind, text)


def test_ed25519() -> None:
    assert kind_of(read_key(read_blocks(pem(ed25519.Ed25519PrivateKey.generate())))[0]) == "ed25519"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "no private key in PEM form; want a block `BEGIN PRIVATE KEY`"),
        (issue("example.com").pem, "no private key in PEM form: this is a certificate;"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", "its PEM block is damaged"),
        (pem(rsa_key(1024)), "an RSA key of 1024 bits is too short: want RSA with at least 2048 bits, ECDSA on P-256"),
        (pem(ec.generate_private_key(ec.SECP256K1())), "on the curve secp256k1"),
        (pem(ed448.Ed448PrivateKey.generate()), "of this kind is of no use here: want RSA"),
        (pem(dsa.generate_private_key(1024)), "of this kind is of no use here: want RSA"),
        (issue("a.example").key_pem + issue("b.example").key_pem, "2 private keys where one is wanted"),
        (pem(rsa_key(), how=BestAvailableEncryption(b"secret")), "has a passphrase"),
        (
            pem(rsa_key(), PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"secret")),
            "`openssl pkey -in KEY -out PLAIN` removes it",
        ),
    ],
    ids=range(10),
)
def test_what_is_of_no_use(text: bytes, said: str) -> None:
    with pytest.raises(BadCertificate, match=re.escape(said)):
        read_key(read_blocks(text))


def test_an_rsa_key_whose_numbers_do_not_belong_together() -> None:
    whole = rsa_key().private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, PLAIN)
    ours, other = (key.private_numbers().p.to_bytes(128) for key in (rsa_key(), rsa.generate_private_key(65537, 2048)))
    assert ours in whole
    damaged = base64.encodebytes(whole.replace(ours, other))
    text = b"-----BEGIN RSA PRIVATE KEY-----\n" + damaged + b"-----END RSA PRIVATE KEY-----\n"
    with pytest.raises(BadCertificate, match="its numbers do not belong together"):
        read_key(read_blocks(text))


def test_the_same_key_twice_is_one() -> None:
    text = issue("example.com").key_pem
    assert read_key(read_blocks(text + text))[1] == text
