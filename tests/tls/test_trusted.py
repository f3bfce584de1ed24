"""Bundles of authorities: what is taken from them, and those of the system."""

from pathlib import Path

import pytest

from sozu_trio.errors import BadCertificate
from sozu_trio.tls.trusted import read_system_trusted, read_trusted
from tests.tls.parts import issue

ONE, OTHER = issue(common_name="one", authority=True), issue(common_name="other", authority=True)


def test_only_certificates_are_taken() -> None:
    text = b"# one\n" + ONE.pem + ONE.key_pem + b"# other\n" + OTHER.pem.replace(b"\n", b"\r\n")
    assert read_trusted(text) == (ONE.pem + OTHER.pem).decode()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "no certificate in PEM form; want"),
        (ONE.key_pem, "no certificate in PEM form: this is a private key; want"),
        (ONE.pem + OTHER.pem.replace(b"M", b"N"), "certificate 2 cannot be read: its PEM block is damaged"),
    ],
)
def test_what_is_none(text: bytes, why: str) -> None:
    with pytest.raises(BadCertificate, match=why):
        read_trusted(text)


def test_those_of_the_system_are_where_openssl_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(ONE.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    assert read_system_trusted() == ONE.pem.decode()


def test_a_system_may_have_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none"))
    monkeypatch.setattr("sozu_trio.tls.trusted.STORES", (str(tmp_path), str(tmp_path / "neither")))
    assert read_system_trusted() == ""
