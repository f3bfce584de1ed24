"""Changes with PEM become changes with records, or problems at their place."""

from typing import Any

import pytest

from sozu_trio.config.addresses import Address
from sozu_trio.config.report import Report
from sozu_trio.control.certificates import with_certificates_read
from sozu_trio.routing.change_certificates import CertificateAddition, CertificateRemoval, CertificateReplacement
from sozu_trio.routing.changes import Change, read_change
from tests.routing.certificates import FakePem, certificate, digits

HERE = Address("127.0.0.1", 443)
AT = {"address": str(HERE)}


def read(verb: str, body: dict[str, Any]) -> tuple[Change | None, list[str]]:
    report = Report()
    change = read_change(verb, {**AT, **body}, report, "changes[3]")
    assert change is not None
    return with_certificates_read(change, FakePem(), report), list(map(str, report.problems))


@pytest.mark.parametrize(
    ("verb", "body", "record"),
    [
        ("add", {"certificate": "a", "certificate-chain": "more", "key": "KEY", "default": True},
         CertificateAddition(address=HERE, certificate=certificate("a"), default=True)),
        ("remove", {"certificate": "a"},
         CertificateRemoval(address=HERE, fingerprint=digits("a"), key="certificate")),
        ("remove", {"fingerprint": digits("a")}, CertificateRemoval(address=HERE, fingerprint=digits("a"))),
        ("replace", {"new-certificate": "b", "new-key": "KEY", "fingerprint": digits("a")},
         CertificateReplacement(address=HERE, certificate=certificate("b"), fingerprint=digits("a"))),
        ("replace", {"new-certificate": "b", "new-key": "KEY", "old-certificate": "a"},
         CertificateReplacement(
             address=HERE, certificate=certificate("b"), fingerprint=digits("a"), key="old-certificate")),
    ],
)  # fmt: skip
def test_read(verb: str, body: dict[str, Any], record: object) -> None:
    change, problems = read(f"certificate {verb}", body)
    assert problems == []
    assert change is not None
    assert (change.verb, change.where, change.body) == (f"certificate {verb}", "changes[3]", record)


@pytest.mark.parametrize(
    ("verb", "body", "problems"),
    [
        ("add", {"certificate": "bad", "key": "KEY"}, ["changes[3].certificate: it is bad"]),
        ("remove", {"certificate": "bad"}, ["changes[3].certificate: it is bad"]),
        ("replace", {"new-certificate": "bad", "new-key": "KEY", "old-certificate": "bad"},
         ["changes[3].new-certificate: it is bad", "changes[3].old-certificate: it is bad"]),
    ],
)  # fmt: skip
def test_what_cannot_be_read(verb: str, body: dict[str, Any], problems: list[str]) -> None:
    assert read(f"certificate {verb}", body) == (None, problems)


@pytest.mark.parametrize("verb", ["listener https add", "listener https update", "listener update"])
def test_authorities_of_a_listener(verb: str) -> None:
    asked = {"client-auth": "required", "client-ca": "a"}
    change, problems = read(verb, asked)
    assert problems == []
    assert change is not None
    assert (change.body.client_auth, change.body.client_ca) == ("required", "a read")
    assert read(verb, {**asked, "client-ca": "bad"}) == (None, ["changes[3].client-ca: it is bad"])


def test_other_changes_stay_as_they_are() -> None:
    report = Report()
    change = read_change("cluster add", {"id": "a"}, report)
    assert change is not None
    assert with_certificates_read(change, FakePem(), report) is change
