"""The certificates in the files that the configuration names, read at a start and at every reload.

A reload refuses one that is not valid now, unless that very one is in force already; a start only warns, since whoever
has other names is to be served.
"""

import logging
import time
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from sozu_trio.config.certificates import Certificate, CertificateFiles, ListenerCertificate
from sozu_trio.config.load import Config
from sozu_trio.config.regular import read_regular
from sozu_trio.config.report import Report, place
from sozu_trio.errors import BadCertificate, ConfigError
from sozu_trio.main.certificates import ANY_TIME
from sozu_trio.routing.state import CertificateKey, certificate_key

log = logging.getLogger(__name__)


def read_certificate_files(config: Config, known: Collection[CertificateKey] | None) -> tuple[ListenerCertificate, ...]:
    """All of them. Blocks: 1,000 take a third of a second.

    `known`: those in force, None at a start. Raises ConfigError with everything that is wrong with any of them.
    """
    reading = _Reading(known)
    for files in config.certificates:
        reading.add(files)
    if reading.report.problems:
        raise ConfigError(config.source, tuple(reading.report.problems))
    return tuple(reading.records.values())


class _Reading:
    """What has been read so far."""

    def __init__(self, known: Collection[CertificateKey] | None) -> None:
        self.report = Report()
        self.records: dict[CertificateKey, ListenerCertificate] = {}
        self._known = known
        self._now = time.time()
        self._contents: dict[Path, bytes | None] = {}
        """None for a file that cannot be read."""
        self._certificates: dict[tuple[Path, Path, Path | None], Certificate | None] = {}

    def add(self, files: CertificateFiles) -> None:
        certificate = self._certificate(files)
        if certificate is None:
            return
        record = ListenerCertificate(address=files.address, certificate=certificate, default=files.default)
        key = certificate_key(record)
        if (present := self.records.get(key)) is not None:
            record = replace(present, default=present.default or record.default)
        self.records[key] = record
        self._check_times(files, key, certificate)

    def _certificate(self, files: CertificateFiles) -> Certificate | None:
        """None where it cannot be read, which was said where that was found first."""
        paths = (files.certificate, files.key, files.chain)
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
            self.report.wrong(where, f"{what}; want one that is valid now")
