"""Changes with PEM become changes with records, or problems at their place."""

from typing import Any

import pytest

from sozu_trio.config.addresses import Address
from sozu_trio.config.backend_tls import BackendTls
from sozu_trio.config.report import Report
from sozu_trio.control.certificates import with_certificates_read
from sozu_trio.routing.change_certificates import CertificateAddition, CertificateRemoval, CertificateReplacement
from sozu_trio.routing.changes import Change, apply, read_change
from sozu_trio.routing.state import EMPTY, State
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


def secured(body: dict[str, Any]) -> tuple[BackendTls | None, list[str]]:
    """What becomes of the TLS of `cluster add`; None for nothing as well as for problems."""
    report = Report()
    change = read_change("cluster add", {"id": "api", **body}, report, "changes[3]")
    if change is None:
        return None, list(map(str, report.problems))
    read = with_certificates_read(change, FakePem(), report)
    tls = None if read is None else apply(EMPTY, read).clusters["api"].tls
    return tls, list(map(str, report.problems))


@pytest.mark.parametrize(
    ("body", "tls"),
    [
        ({}, None),
        ({"tls": False}, None),
        ({"tls": True}, BackendTls()),
        ({"tls-server-name": "A.Internal."}, BackendTls(server_name="a.internal")),
        ({"tls-ca": "root"}, BackendTls(ca="root")),
        ({"tls-certificate": "ours", "tls-key": "KEY"}, BackendTls(certificate=certificate("ours"))),
        ({"tls-verify": False}, BackendTls(verify=False)),
        ({"tls-verify": True}, BackendTls()),
        ({"tls-fingerprint": "AB:" * 31 + "AB"}, BackendTls(fingerprint="ab" * 32)),
        ({"tls-versions": ["TLS_V13"]}, BackendTls(versions=("TLS_V13",))),
    ],
)
def test_tls_of_a_cluster(body: dict[str, Any], tls: BackendTls | None) -> None:
    assert secured(body) == (tls, [])


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({"tls": False, "tls-ca": "root"}, "tls-ca: found it and tls = false; want only one of both"),
        ({"tls-ca": "bad"}, "tls-ca: it is bad"),
        ({"tls-certificate": "bad", "tls-key": "KEY"}, "tls-certificate: it is bad"),
        ({"tls-key": "KEY"}, "tls-certificate: missing; want the certificate that key belongs to, in PEM"),
        ({"tls-certificate": "ours"}, "tls-key: missing; want the private key of certificate, in PEM"),
        ({"tls-verify": False, "tls-ca": "root"}, "tls-ca: found it and tls-verify = false; want only one of both"),
        ({"tls-versions": []}, "tls-versions: no version; want TLS_V12, TLS_V13 or both"),
    ],
)
def test_tls_of_a_cluster_that_makes_no_sense(body: dict[str, Any], problem: str) -> None:
    assert secured(body) == (None, [f"changes[3].{problem}"])


def test_an_update_keeps_what_it_does_not_speak_of_and_replaces_all_of_tls() -> None:
    state = EMPTY
    for verb, body in (
        ("cluster add", {"tls-ca": "root"}),
        ("cluster update", {"idle-timeout": 5}),
    ):
        state = updated(state, verb, body)
    assert state.clusters["api"].tls == BackendTls(ca="root")
    state = updated(state, "cluster update", {"tls-server-name": "a.example"})
    assert state.clusters["api"].tls == BackendTls(server_name="a.example")
    assert updated(state, "cluster update", {"tls": False}).clusters["api"].tls is None


def updated(state: State, verb: str, body: dict[str, Any]) -> State:
    change = read_change(verb, {"id": "api", **body}, Report())
    assert change is not None
    read = with_certificates_read(change, FakePem(), Report())
    assert read is not None
    return apply(state, read)


def test_what_was_not_read_never_becomes_plain_text() -> None:
    change = read_change("cluster add", {"id": "api", "tls": True}, Report())
    assert change is not None
    with pytest.raises(AssertionError):
        apply(EMPTY, change)


def test_no_repr_shows_a_key() -> None:
    change = read_change("cluster add", {"id": "api", "tls-certificate": "ours", "tls-key": "SECRET"}, Report())
    assert change is not None
    read = with_certificates_read(change, FakePem(), Report())
    assert read is not None
    assert "SECRET" not in repr(change) + repr(read) + repr(apply(EMPTY, read))


def test_other_changes_stay_as_they_are() -> None:
    report = Report()
    change = read_change("cluster add", {"id": "a"}, report)
    assert change is not None
    assert with_certificates_read(change, FakePem(), report) is change
