"""Changes about certificates come as PEM; here they become changes about records, whoever it is that can read PEM."""

from dataclasses import replace
from typing import Protocol

from sozu_trio.config.certificates import Certificate
from sozu_trio.config.https_bodies import CertificateAdd, CertificateRemove, CertificateReplace, HttpsListenerBody
from sozu_trio.config.report import Report, place
from sozu_trio.config.structure import hyphened
from sozu_trio.errors import BadCertificate
from sozu_trio.routing.change_certificates import CertificateAddition, CertificateRemoval, CertificateReplacement
from sozu_trio.routing.changes import Change


class ReadsPem(Protocol):
    """Who can read PEM. All raise BadCertificate."""

    def certificate(self, certificates: bytes, key: bytes) -> Certificate:
        """The certificate of `key`, with its chain, in whatever order they stand."""

    def fingerprint(self, certificate: bytes) -> str:
        """Of the first certificate."""

    def authorities(self, certificates: bytes) -> str:
        """Those who sign certificates of clients, as PEM and nothing else."""


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
            try:
                return replace(change, body=replace(body, client_ca=reads.authorities(text.encode())))
            except BadCertificate as error:
                report.wrong(place(change.where, "client-ca"), str(error))
                return None
    return change


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
