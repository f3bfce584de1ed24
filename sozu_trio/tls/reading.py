"""Files with a certificate, its chain and its key → a Certificate, or a clear error. Used by main alone.

Pure: whoever calls has read the files, and says what time it is. One certificate takes about a third of a millisecond.
"""

from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives.hashes import MD5, SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding

from sozu_trio.config.certificates import Certificate
from sozu_trio.errors import BadCertificate
from sozu_trio.tls.chain import order_chain, shown
from sozu_trio.tls.pem import read_blocks
from sozu_trio.tls.private_key import kind_of, read_key
from sozu_trio.tls.subject import addresses_of, names_of


def read_certificate(certificates: bytes, key: bytes, now: float | None) -> Certificate:
    """The certificate that `key` belongs to, with its chain; `now` in seconds since the epoch, None where it may have
    expired.

    Both are PEM; certificates may come in any order, and one file may hold everything. Only the leaf is held against
    `now`: an expired authority may be in a chain on purpose. Raises BadCertificate.
    """
    read = read_all(certificates)
    private_key, key_block = read_key(read_blocks(key))
    chain = order_chain(read, private_key.public_key())
    leaf = chain[0]
    if now is not None:
        _check_times(leaf, now)
    _check_signatures(chain)
    return Certificate(
        fingerprint=leaf.fingerprint(SHA256()).hex(),
        names=names_of(leaf),
        addresses=addresses_of(leaf),
        not_before=int(leaf.not_valid_before_utc.timestamp()),
        not_after=int(leaf.not_valid_after_utc.timestamp()),
        key_kind=kind_of(private_key),
        subject=leaf.subject.rfc4514_string(),
        issuer=leaf.issuer.rfc4514_string(),
        chain=b"".join(each.public_bytes(Encoding.PEM) for each in chain).decode("ascii"),
        key=key_block.decode("ascii"),
    )


def fingerprint_of(certificate: bytes) -> str:
    """The fingerprint of the first certificate in PEM, for those who have a file and want what it is known by."""
    return read_all(certificate)[0].fingerprint(SHA256()).hex()


def read_all(text: bytes) -> list[x509.Certificate]:
    """All certificates in PEM, at least one. Raises BadCertificate."""
    blocks = read_blocks(text)
    if not blocks.certificates:
        instead = ": this is a private key" if blocks.keys else ""
        raise BadCertificate(f"no certificate in PEM form{instead}; want a block `BEGIN CERTIFICATE`")
    return [_read_one(block, number) for number, block in enumerate(blocks.certificates, 1)]


def _read_one(block: bytes, number: int) -> x509.Certificate:
    try:
        certificate = x509.load_pem_x509_certificate(block)
        certificate.public_key()
        certificate.subject.rfc4514_string()
        certificate.issuer.rfc4514_string()
    except Exception as error:  # Besides ValueError and UnsupportedAlgorithm a few of OpenSSL's own.
        raise BadCertificate(f"certificate {number} cannot be read: its PEM block is damaged") from error
    return certificate


def _check_times(leaf: x509.Certificate, now: float) -> None:
    begin, end = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    if now > end.timestamp():
        raise BadCertificate(f"the certificate of {shown(leaf)} expired at {_time(end)}")
    if now < begin.timestamp():
        raise BadCertificate(
            f"the certificate of {shown(leaf)} is not valid before {_time(begin)}, and now it is"
            f" {_time(datetime.fromtimestamp(now, UTC))}"
        )


def _time(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"


def _check_signatures(chain: list[x509.Certificate]) -> None:
    """OpenSSL's security level 2 as well; the signature of one on itself proves nothing, and may be of any kind."""
    for each in chain:
        weak = isinstance(each.signature_hash_algorithm, MD5 | SHA1)
        if weak and each.subject != each.issuer:
            raise BadCertificate(
                f"the certificate of {shown(each)} is signed with SHA-1 or MD5: want SHA-256 or better"
            )
