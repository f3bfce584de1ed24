"""Changes about certificates come as PEM; here they become changes about records, whoever it is that can read PEM."""

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Protocol

from sozu_trio.config.backend_tls import BackendTls, read_cluster_options
from sozu_trio.config.bodies import ClusterBody
from sozu_trio.config.certificates import Certificate
from sozu_trio.config.https_bodies import CertificateAdd, CertificateRemove, CertificateReplace, HttpsListenerBody
from sozu_trio.config.report import Report, place
from sozu_trio.config.structure import hyphened
from sozu_trio.errors import BadCertificate
from sozu_trio.routing.change_certificates import CertificateAddition, CertificateRemoval, CertificateReplacement
from sozu_trio.routing.change_clusters import SecuredCluster, speaks_of_tls
from sozu_trio.routing.changes import Change


class ReadsPem(Protocol):
    """Who can read PEM. All raise BadCertificate."""

    def certificate(self, certificates: bytes, key: bytes) -> Certificate:
        """The certificate of `key`, with its chain, in whatever order they stand."""

    def fingerprint(self, certificate: bytes) -> str:
        """Of the first certificate."""

    def authorities(self, certificates: bytes) -> str:
        """Those who sign certificates of clients, as PEM and nothing else."""

    def trusted(self, certificates: bytes) -> str:
        """Those who sign certificates of backends, or such certificates themselves, as PEM and nothing else."""


def with_certificates_read(change: Change, reads: ReadsPem, report: Report) -> Change | None:
    """`change` with records for PEM; as it is, where there is none in it. None for PEM that is wrong, which `report`
    then knows.
    """
    match change.body:
        case CertificateAdd() as body:
            record = _read(change, reads, report, ("certificate", "certificate_chain", "key"))
            if record is None:
                return None
            addition = CertificateAddition(address=body.address, certificate=record, default=body.default)
            return replace(change, body=addition)
        case CertificateReplace() as body:
            record = _read(change, reads, report, ("new_certificate", "new_certificate_chain", "new_key"))
            found = _fingerprint(change, "old_certificate", reads, report)
            if record is None or found is None:
                return None
            key, fingerprint = found
            replacement = CertificateReplacement(
                address=body.address, certificate=record, fingerprint=fingerprint, key=key
            )
            return replace(change, body=replacement)
        case CertificateRemove() as body:
            found = _fingerprint(change, "certificate", reads, report)
            if found is None:
                return None
            removal = CertificateRemoval(address=body.address, fingerprint=found[1], key=found[0])
            return replace(change, body=removal)
        case HttpsListenerBody(client_ca=str(text)) as body:
            return _with_authorities_read(change, body, text, reads, report)
        case ClusterBody() as body if speaks_of_tls(body):
            return _with_backend_tls_read(change, body, reads, report)
    return change


def _with_authorities_read(
    change: Change, body: HttpsListenerBody, text: str, reads: ReadsPem, report: Report
) -> Change | None:
    try:
        return replace(change, body=replace(body, client_ca=reads.authorities(text.encode())))
    except BadCertificate as error:
        report.wrong(place(change.where, "client-ca"), str(error))
        return None


def _with_backend_tls_read(change: Change, body: ClusterBody, reads: ReadsPem, report: Report) -> Change | None:
    given = {each.name: getattr(body, each.name) for each in fields(ClusterBody)}
    # What is wrong with these, or only to be said of them, has been told when the body was read.
    tls = read_cluster_options(given, change.where, Report())
    if tls is not None:
        places = {name: place(change.where, f"tls-{name}") for name in ("ca", "certificate")}
        tls = with_pem_read(tls, reads, report, places, body.tls_ca, body.tls_certificate, body.tls_key)
        if tls is None:
            return None
    return replace(change, body=SecuredCluster(**given, backend_tls=tls))


def with_pem_read(
    tls: BackendTls,
    reads: ReadsPem,
    report: Report,
    places: Mapping[str, str],
    ca: str | None,
    certificate: str | None,
    key: str | None,
) -> BackendTls | None:
    """`tls` with what is in these PEM texts; None where one is wrong, which `report` then knows. `places`: of "ca" and
    of "certificate".
    """
    before = report.found
    authorities = shown = None
    if ca is not None:
        try:
            authorities = reads.trusted(ca.encode())
        except BadCertificate as error:
            report.wrong(places["ca"], str(error))
    if certificate is not None:
        try:
            shown = reads.certificate(certificate.encode(), (key or "").encode())
        except BadCertificate as error:
            report.wrong(places["certificate"], str(error))
    return replace(tls, ca=authorities, certificate=shown) if report.found == before else None


def _read(change: Change, reads: ReadsPem, report: Report, names: tuple[str, str, str]) -> Certificate | None:
    certificate, chain, key = (getattr(change.body, name) or "" for name in names)
    try:
        return reads.certificate(f"{certificate}\n{chain}".encode(), key.encode())
    except BadCertificate as error:
        report.wrong(place(change.where, hyphened(names[0])), str(error))
        return None


def _fingerprint(change: Change, name: str, reads: ReadsPem, report: Report) -> tuple[str, str] | None:
    """The option that says it, and what it says."""
    if (given := change.body.fingerprint) is not None:
        return "fingerprint", given
    try:
        return hyphened(name), reads.fingerprint(getattr(change.body, name).encode())
    except BadCertificate as error:
        report.wrong(place(change.where, hyphened(name)), str(error))
        return None
