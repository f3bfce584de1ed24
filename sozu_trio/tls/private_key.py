"""A private key, and whether TLS can use it. Nothing of a key is in any error.

The limits are those of OpenSSL's security level 2, which Debian and OpenSSL since 3.2 have by default: a worker could
not load what is below them, and main should say so.
"""

from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from sozu_trio.config.certificates import KeyKind
from sozu_trio.errors import BadCertificate
from sozu_trio.tls.pem import Blocks, is_encrypted

SMALLEST_RSA: Final = 2048
"""Bits."""
CURVES: Final = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
"""Those of TLS 1.3 (RFC 8446 §4.2.3) by their names in `cryptography`."""
_WANTED = f"want RSA with at least {SMALLEST_RSA} bits, ECDSA on {', '.join(CURVES.values())}, or Ed25519"

Key = RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey


def read_key(blocks: Blocks) -> tuple[Key, bytes]:
    """The only private key among `blocks`, and its PEM. Raises BadCertificate."""
    block = _only_key(blocks)
    try:
        # Its own check of an RSA key takes 60 times as long as all else; `_check_rsa` sees what is likely.
        key = load_pem_private_key(block, None, unsafe_skip_rsa_key_validation=True)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        # Without its cause, whose text may quote the file.
        raise BadCertificate("the private key cannot be read: its PEM block is damaged") from None
    return _usable(key), block


def kind_of(key: Key) -> KeyKind:
    if isinstance(key, RSAPrivateKey):
        return "rsa"
    return "ecdsa" if isinstance(key, EllipticCurvePrivateKey) else "ed25519"


def _only_key(blocks: Blocks) -> bytes:
    if not blocks.keys:
        instead = ": this is a certificate" if blocks.certificates else ""
        raise BadCertificate(f"no private key in PEM form{instead}; want a block `BEGIN PRIVATE KEY`")
    if len(set(blocks.keys)) > 1:
        raise BadCertificate(f"{len(blocks.keys)} private keys where one is wanted, that of the certificate")
    if is_encrypted(blocks.keys[0]):
        raise BadCertificate(
            "the private key has a passphrase, and nobody could type it when a worker starts;"
            " `openssl pkey -in KEY -out PLAIN` removes it"
        )
    return blocks.keys[0]


def _usable(key: PrivateKeyTypes) -> Key:
    if isinstance(key, RSAPrivateKey):
        _check_rsa(key)
        return key
    if isinstance(key, EllipticCurvePrivateKey):
        if key.curve.name not in CURVES:
            raise BadCertificate(f"TLS has no certificates with keys on the curve {key.curve.name}: {_WANTED}")
        return key
    if isinstance(key, Ed25519PrivateKey):
        return key
    raise BadCertificate(f"a private key of this kind is of no use here: {_WANTED}")


def _check_rsa(key: RSAPrivateKey) -> None:
    if key.key_size < SMALLEST_RSA:
        raise BadCertificate(f"an RSA key of {key.key_size} bits is too short: {_WANTED}")
    numbers = key.private_numbers()
    if numbers.p * numbers.q != numbers.public_numbers.n:
        raise BadCertificate("the private key is damaged: its numbers do not belong together")
