"""Files become a certificate, or an error that says what is wrong with them."""

import hashlib
import re
import subprocess
import time
from pathlib import Path

import pytest
import trustme
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from sozu_trio.errors import BadCertificate
from sozu_trio.tls.reading import fingerprint_of, read_certificate
from tests.tls.parts import NOW, authorities, issue, key_of_kind

ROOT, MIDDLE = authorities("root", "middle")
LEAF = issue("example.com", "*.example.com", "192.0.2.1", by=MIDDLE, common_name="leaf")


def test_everything_is_read() -> None:
    read = read_certificate(MIDDLE.pem + LEAF.pem, LEAF.key_pem, NOW)
    assert read.names == ("example.com", "*.example.com", "leaf")
    assert read.addresses == ("192.0.2.1",)
    assert (read.not_before, read.not_after) == (NOW - 86400, NOW + 90 * 86400)
    assert (read.key_kind, read.subject, read.issuer) == ("ecdsa", "CN=leaf", "CN=middle")
    assert read.chain.encode() == LEAF.pem + MIDDLE.pem
    assert read.key.encode() == LEAF.key_pem
    assert read.fingerprint == hashlib.sha256(LEAF.certificate.public_bytes(Encoding.DER)).hexdigest()
    assert fingerprint_of(LEAF.pem + MIDDLE.pem) == read.fingerprint


@pytest.mark.parametrize("kind", ["rsa", "ecdsa", "ed25519"])
def test_keys_of_every_kind(kind: str) -> None:
    assert issue("example.com", key=key_of_kind(kind)).read().key_kind == kind


def test_one_file_may_hold_everything() -> None:
    whole = b"# made by hand\n" + LEAF.key_pem + MIDDLE.pem + LEAF.pem
    assert read_certificate(whole, whole, NOW) == LEAF.read()


def test_what_trustme_makes() -> None:
    made = trustme.CA().issue_cert("example.com", "127.0.0.1")
    chain = b"".join(pem.bytes() for pem in made.cert_chain_pems)
    read = read_certificate(chain, made.private_key_pem.bytes(), time.time())
    assert (read.names, read.addresses) == (("example.com",), ("127.0.0.1",))


def test_what_openssl_makes(tmp_path: Path) -> None:
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key", "-out", "crt"),
            *("-subj", "/CN=example.com", "-addext", "subjectAltName=DNS:example.com,IP:::1", "-days", "1"),
        ],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    read = read_certificate((tmp_path / "crt").read_bytes(), (tmp_path / "key").read_bytes(), time.time())
    assert (read.names, read.addresses, read.key_kind) == (("example.com",), ("::1",), "rsa")
    asked = ["openssl", "x509", "-in", "crt", "-noout", "-fingerprint", "-sha256"]
    told = subprocess.run(asked, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert told.strip().partition("=")[2].replace(":", "").lower() == read.fingerprint


@pytest.mark.parametrize(
    ("certificate", "key", "said"),
    [
        (b"", LEAF.key_pem, "no certificate in PEM form; want a block `BEGIN CERTIFICATE`"),
        (LEAF.key_pem, LEAF.pem, "no certificate in PEM form: this is a private key;"),
        (b"\x30\x82garbage", LEAF.key_pem, "no certificate in PEM form;"),
        (LEAF.pem + LEAF.pem.replace(b"MII", b"MIJ"), LEAF.key_pem, "certificate 2 cannot be read"),
        (LEAF.pem, MIDDLE.key_pem, "the private key does not fit the certificate of `CN=leaf`"),
        (LEAF.pem + ROOT.pem, LEAF.key_pem, "the chain does not link"),
    ],
    ids=range(6),
)
def test_what_is_wrong_is_said(certificate: bytes, key: bytes, said: str) -> None:
    with pytest.raises(BadCertificate, match=re.escape(said)):
        read_certificate(certificate, key, NOW)


def test_times() -> None:
    assert LEAF.read(NOW - 86400) == LEAF.read(NOW + 90 * 86400)
    with pytest.raises(BadCertificate, match="the certificate of `CN=leaf` expired at 2026-08-30T12:00:00Z"):
        LEAF.read(NOW + 90 * 86400 + 1)
    with pytest.raises(
        BadCertificate, match="not valid before 2026-05-31T12:00:00Z, and now it is 2026-05-31T11:59:59Z"
    ):
        LEAF.read(NOW - 86401)


def test_an_authority_may_have_expired() -> None:
    old = issue(common_name="old", authority=True, end=NOW - 1)
    leaf = issue("example.com", by=old)
    assert read_certificate(leaf.pem + old.pem, leaf.key_pem, NOW).names == ("example.com",)


def test_a_weak_signature(tmp_path: Path) -> None:
    """Made by OpenSSL: `cryptography` signs nothing with SHA-1 any more."""
    files = {"authority.key": ROOT.key_pem, "authority.crt": ROOT.pem, "leaf.key": LEAF.key_pem}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    for command in (
        "req -new -key leaf.key -subj /CN=weak -out request",
        "x509 -req -in request -CA authority.crt -CAkey authority.key -sha1 -days 1 -out crt",
    ):
        subprocess.run(["openssl", *command.split()], cwd=tmp_path, check=True, capture_output=True)
    with pytest.raises(BadCertificate, match="`CN=weak` is signed with SHA-1 or MD5: want SHA-256 or better"):
        read_certificate((tmp_path / "crt").read_bytes(), LEAF.key_pem, time.time())


@given(st.binary(max_size=400), st.integers(0, 2000), st.integers(0, 400))
def test_files_that_were_damaged_are_read_or_refused_never_more(noise: bytes, at: int, length: int) -> None:
    whole = LEAF.pem + LEAF.key_pem + MIDDLE.pem
    damaged = whole[:at] + noise + whole[at + length :]
    said = ""
    try:
        read = read_certificate(damaged, damaged, NOW)
    except BadCertificate as error:
        said = str(error)
    else:
        assert read.fingerprint == LEAF.read().fingerprint
    assert not any(line.decode() in said for line in LEAF.key_pem.splitlines()[1:-1])
