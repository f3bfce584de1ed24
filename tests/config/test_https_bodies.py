"""Bodies about https: what may be asked for, and what no repr shows."""

from typing import Any

import pytest

from sozu_trio.config.https_bodies import CertificateAdd, CertificateReplace
from sozu_trio.config.reading import read_body
from sozu_trio.config.report import Report

AT = {"address": "127.0.0.1:443"}
NEW = {**AT, "new-certificate": "C", "new-key": "SECRET"}
DIGITS = "0123456789abcdef" * 4


def read(verb: str, **body: Any) -> tuple[Any, list[str]]:
    report = Report()
    made = read_body(verb, {name.replace("_", "-"): value for name, value in body.items()}, report)
    return made, list(map(str, report.problems))


def test_no_repr_shows_a_key() -> None:
    """Nor what may hold one: a PEM file for all."""
    added, _ = read("certificate add", **AT, certificate="SECRET", key="SECRET", certificate_chain="SECRET")
    new = {**NEW, "new-certificate": "SECRET", "new-certificate-chain": "SECRET"}
    replaced, _ = read("certificate replace", **new, old_certificate="SECRET")
    removed, _ = read("certificate remove", **AT, certificate="SECRET")
    assert isinstance(added, CertificateAdd)
    assert isinstance(replaced, CertificateReplace)
    assert (added.key, replaced.new_key, removed.certificate) == ("SECRET", "SECRET", "SECRET")
    assert "SECRET" not in repr((added, replaced, removed))


def test_a_fingerprint_as_tools_write_it() -> None:
    colons = ":".join(DIGITS[at : at + 2].upper() for at in range(0, 64, 2))
    assert read("certificate remove", **AT, fingerprint=colons)[0].fingerprint == DIGITS


@pytest.mark.parametrize(
    ("verb", "body", "problem"),
    [
        ("certificate add", {**AT, "certificate": "C"}, "key: missing; want the text of a PEM file"),
        ("certificate add", {**AT, "certificate": "", "key": "K"},
         "certificate: found ''; want the text of a PEM file"),
        ("certificate add", {**AT, "certificate": "C", "key": 5}, "key: found (redacted); want the text of a PEM file"),
        ("certificate add", {**AT, "certificate": "C", "key": "K", "tls-versions": ["TLS_V13"]},
         "tls-versions: found an array; want tls-versions of the listener; Python's ssl decides on the version before "
         "it knows which name a client asks for"),
        ("certificate remove", {**AT, "fingerprint": "12"},
         "fingerprint: found '12'; want a fingerprint: the 64 hexadecimal digits of a SHA-256, as `certificate list` "
         "shows it"),
        ("certificate remove", AT, "fingerprint: missing; want that of a certificate, or certificate: its PEM text"),
        ("certificate remove", {**AT, "fingerprint": DIGITS, "certificate": "C"},
         "fingerprint: found it and certificate; want only one of both"),
        ("certificate replace", NEW, "fingerprint: missing; want that of a certificate, or old-certificate: its PEM "
         "text"),
        ("certificate replace", {**NEW, "fingerprint": DIGITS, "old-certificate": "C"},
         "fingerprint: found it and old-certificate; want only one of both"),
        ("listener https add", {**AT, "tls-cipher-list": []},
         'tls-cipher-list: no suite for TLS 1.2 is left; want one, or tls_versions = ["TLS_V13"]'),
        ("listener https update", {**AT, "alpn-protocols": ["http/1.1"], "reset-alpn": True},
         "reset-alpn: found true and alpn-protocols; want only one of both"),
        ("listener https add", {**AT, "client-auth": "required"},
         "client-ca: missing; want a PEM file of the authorities that sign certificates of clients, as client-auth is "
         "'required'"),
        ("listener https add", {**AT, "client-ca": "C"},
         "client-ca: found authorities, which do nothing alone; want client-auth 'optional' or 'required'"),
        ("frontend https add", {**AT, "hostname": "*"}, "cluster: missing; want the id of a cluster, or deny = true"),
    ],
)  # fmt: skip
def test_refused(verb: str, body: dict[str, Any], problem: str) -> None:
    assert read(verb, **body) == (None, [problem])
