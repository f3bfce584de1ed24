"""Blocks out of PEM files, whatever stands around them."""

import pytest

from sozu_trio.errors import BadCertificate
from sozu_trio.tls.pem import LARGEST_PEM, is_encrypted, read_blocks

CERTIFICATE = b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
KEY = b"-----BEGIN EC PRIVATE KEY-----\nMHcC\n-----END EC PRIVATE KEY-----\n"
PARAMETERS = b"-----BEGIN EC PARAMETERS-----\nBggq\n-----END EC PARAMETERS-----\n"


def test_blocks_are_sorted() -> None:
    blocks = read_blocks(b"Subject: CN = a\n" + PARAMETERS + KEY + CERTIFICATE + b"text\n" + CERTIFICATE)
    assert blocks.certificates == (CERTIFICATE, CERTIFICATE)
    assert blocks.keys == (KEY,)


def test_lines_may_end_as_on_windows() -> None:
    assert len(read_blocks(CERTIFICATE.replace(b"\n", b"\r\n")).certificates) == 1


@pytest.mark.parametrize("text", [b"", b"garbage", CERTIFICATE[:-10], b"-----BEGIN CERTIFICATE-----\n" * 1000])
def test_what_holds_no_block(text: bytes) -> None:
    blocks = read_blocks(text)
    assert (blocks.certificates, blocks.keys) == ((), ())


def test_a_file_that_is_too_large_is_refused() -> None:
    with pytest.raises(BadCertificate, match="1,048,577 bytes are no certificate"):
        read_blocks(bytes(LARGEST_PEM + 1))


def test_keys_are_not_shown() -> None:
    assert "MHcC" not in repr(read_blocks(KEY))


def test_passphrases_are_seen() -> None:
    assert is_encrypted(KEY.replace(b"EC ", b"ENCRYPTED "))
    assert is_encrypted(KEY.replace(b"MHcC", b"Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nMHcC"))
    assert not is_encrypted(KEY)
