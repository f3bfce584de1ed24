"""The certificates in the files that the configuration names, read at a start and at every reload.

A reload refuses one that is not valid now, unless that very one is in force already; a start only warns, since whoever
has other names is to be served.
"""

import logging
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sozu_trio.config.certificates import Certificate, CertificateFiles, ListenerCertificate
from sozu_trio.config.load import Config
from sozu_trio.config.regular import read_regular
from sozu_trio.config.report import Report, place
from sozu_trio.errors import BadCertificate, ConfigError, Problem
from sozu_trio.main.certificates import ANY_TIME
from sozu_trio.main.seen_files import Paths, SeenFiles, identities_of, paths_of
from sozu_trio.routing.state import CertificateKey, certificate_key

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificatesRead:
    """What is in the files, and what these were when they were read."""

    records: tuple[ListenerCertificate, ...]
    seen: SeenFiles


@dataclass(frozen=True, slots=True, kw_only=True)
class Unusable:
    """What the same files hold, if they can be read at all."""

    problems: tuple[Problem, ...]
    may_pass: bool
    """While the files stay as they are: they could not be read, or are not valid yet."""


def read_certificate_files(config: Config, known: Collection[CertificateKey] | None) -> CertificatesRead:
    """All of them. Blocks: 1,000 take a third of a second.

    `known`: those in force, None at a start. Raises ConfigError with everything that is wrong with any of them.
    """
    # Before they are read, so that whatever is written from here on is seen as a change.
    identities = identities_of(config.certificates)
    reading = _Reading(known)
    for files in config.certificates:
        reading.add(files)
    if reading.report.problems:
        raise ConfigError(config.source, tuple(reading.report.problems))
    return CertificatesRead(
        records=tuple(reading.records.values()),
        seen=SeenFiles(files=config.certificates, fingerprints=reading.fingerprints, identities=identities),
    )


def read_again(files: Sequence[CertificateFiles], known: Collection[CertificateKey]) -> Certificate | Unusable:
    """What is in the same files now, at whatever listeners; or everything that is wrong with it. Blocks.

    `known`: those in force.
    """
    reading = _Reading(known)
    for each in files:
        reading.add(each)
    if reading.report.problems:
        return Unusable(problems=tuple(reading.report.problems), may_pass=reading.may_pass)
    return next(iter(reading.records.values())).certificate


def records_of(
    files: Iterable[CertificateFiles], certificates: Mapping[Paths, Certificate]
) -> dict[CertificateKey, ListenerCertificate]:
    """A record for each certificate at each listener."""
    records: dict[CertificateKey, ListenerCertificate] = {}
    for each in files:
        _put(records, each, certificates[paths_of(each)])
    return records


def _put(
    records: dict[CertificateKey, ListenerCertificate], files: CertificateFiles, certificate: Certificate
) -> CertificateKey:
    """One that is the default anywhere is so everywhere at its listener."""
    record = ListenerCertificate(address=files.address, certificate=certificate, default=files.default)
    key = certificate_key(record)
    if (present := records.get(key)) is not None:
        record = replace(present, default=present.default or record.default)
    records[key] = record
    return key


class _Reading:
    """What has been read so far."""

    def __init__(self, known: Collection[CertificateKey] | None) -> None:
        self.report = Report()
        self.records: dict[CertificateKey, ListenerCertificate] = {}
        self.may_pass = False
        """Something may be right another time, with the same files."""
        self._known = known
        self._now = time.time()
        self._contents: dict[Path, bytes | None] = {}
        """None for a file that cannot be read."""
        self._certificates: dict[Paths, Certificate | None] = {}

    @property
    def fingerprints(self) -> dict[Paths, str]:
        return {paths: each.fingerprint for paths, each in self._certificates.items() if each is not None}

    def add(self, files: CertificateFiles) -> None:
        certificate = self._certificate(files)
        if certificate is not None:
            self._check_times(files, _put(self.records, files, certificate), certificate)

    def _certificate(self, files: CertificateFiles) -> Certificate | None:
        """None where it cannot be read, which was said where that was found first."""
        paths = paths_of(files)
        if paths not in self._certificates:
            self._certificates[paths] = self._read(files)
        return self._certificates[paths]

    def _read(self, files: CertificateFiles) -> Certificate | None:
        names = {"certificate": files.certificate, "key": files.key, "certificate_chain": files.chain}
        contents = {name: self._content(files, name, path) for name, path in names.items() if path is not None}
        certificate, key = contents["certificate"], contents["key"]
        if certificate is None or key is None or None in contents.values():
            return None
        try:
            return ANY_TIME.certificate(certificate + b"\n" + (contents.get("certificate_chain") or b""), key)
        except BadCertificate as error:
            self.report.wrong(place(files.where, "certificate"), f"{files.certificate}: {error}")
            return None

    def _content(self, files: CertificateFiles, name: str, path: Path) -> bytes | None:
        if path not in self._contents:
            try:
                self._contents[path] = read_regular(path)
            except OSError as error:
                self._contents[path] = None
                self.may_pass = True
                self.report.wrong(place(files.where, name), f"cannot read {path}: {error.strerror or error}")
        return self._contents[path]

    def _check_times(self, files: CertificateFiles, key: CertificateKey, certificate: Certificate) -> None:
        if certificate.not_before <= self._now <= certificate.not_after or (self._known and key in self._known):
            return
        fault = "has expired" if certificate.not_after < self._now else "is not valid yet"
        where, what = place(files.where, "certificate"), f"{files.certificate} {fault}"
        if self._known is None:
            log.warning("%s: %s", where, what)
        else:
            self.may_pass = self.may_pass or self._now < certificate.not_before
            self.report.wrong(where, f"{what}; want one that is valid now")
