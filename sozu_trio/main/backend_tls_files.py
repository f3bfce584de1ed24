"""What the `tls` tables of clusters name in files, read at a start and at every reload: bundles of authorities, and
certificates shown to backends.
"""

import logging
import time
from dataclasses import replace
from pathlib import Path

from sozu_trio.config.backend_tls import BackendTls, BackendTlsFiles
from sozu_trio.config.load import Config
from sozu_trio.config.regular import read_regular
from sozu_trio.config.report import Report, place
from sozu_trio.control.certificates import with_pem_read
from sozu_trio.errors import ConfigError
from sozu_trio.main.certificates import ANY_TIME
from sozu_trio.tls.trusted import read_system_trusted

log = logging.getLogger(__name__)


def with_backend_tls_read(config: Config) -> Config:
    """`config` with clusters that hold what is in their files. Blocks. Raises ConfigError with everything that is wrong
    with any of them.
    """
    if not config.backend_tls:
        return config
    reading = _Reading()
    files = {each.cluster_id: each for each in config.backend_tls}
    clusters = tuple(
        each if each.tls is None else replace(each, tls=reading.read(files[each.cluster_id], each.tls))
        for each in config.clusters
    )
    if reading.report.problems:
        raise ConfigError(config.source, tuple(reading.report.problems))
    return replace(config, clusters=clusters)


class _Reading:
    """What has been read so far; clusters may share files."""

    def __init__(self) -> None:
        self.report = Report()
        self._texts: dict[Path, str | None] = {}
        """None for a file that cannot be read."""
        self._system: str | None = None

    def read(self, files: BackendTlsFiles, tls: BackendTls) -> BackendTls | None:
        """None where anything is wrong."""
        if tls.asks_authorities and files.ca is None and tls.fingerprint is None and not self._system_authorities():
            what = "the path of a PEM file: this system has no authorities of its own that could be read"
            self.report.missing(place(files.where, "ca"), what)
        paths = {"ca": files.ca, "certificate": files.certificate, "key": files.key}
        texts = {name: self._text(files, name, path) for name, path in paths.items() if path is not None}
        if None in texts.values():
            return None
        places = {name: f"{place(files.where, name)}: {paths[name]}" for name in ("ca", "certificate")}
        read = with_pem_read(tls, ANY_TIME, self.report, places, *(texts.get(name) for name in paths))
        if read is not None:
            _warn_of_times(files, read)
        return read

    def _system_authorities(self) -> str:
        if self._system is None:
            self._system = read_system_trusted()
        return self._system

    def _text(self, files: BackendTlsFiles, name: str, path: Path) -> str | None:
        if path not in self._texts:
            try:
                self._texts[path] = read_regular(path).decode("latin-1")
            except OSError as error:
                self._texts[path] = None
                self.report.wrong(place(files.where, name), f"cannot read {path}: {error.strerror or error}")
        return self._texts[path]


def _warn_of_times(files: BackendTlsFiles, tls: BackendTls) -> None:
    """The backend judges it, by its own clock, and may not even ask for one."""
    certificate, now = tls.certificate, time.time()
    if certificate is not None and not certificate.not_before <= now <= certificate.not_after:
        fault = "has expired" if certificate.not_after < now else "is not valid yet"
        log.warning("%s: %s %s", place(files.where, "certificate"), files.certificate, fault)
