"""The authorities of clients in the files that the configuration names, read at a start and at every reload."""

from dataclasses import replace
from pathlib import Path

from sozu_trio.config.listeners import HttpsListener, Listener
from sozu_trio.config.load import Config
from sozu_trio.config.regular import read_regular
from sozu_trio.config.report import Report
from sozu_trio.errors import BadCertificate, ConfigError
from sozu_trio.main.certificates import ANY_TIME


def with_authorities(config: Config) -> Config:
    """`config` whose listeners have the authorities that its files hold. Blocks.

    Raises ConfigError with everything that is wrong with any of the files.
    """
    report = Report()
    found = {each.address: _read(each.path, each.where, report) for each in config.authorities}
    if report.problems:
        raise ConfigError(config.source, tuple(report.problems))
    return replace(config, listeners=tuple(_with(each, found.get(each.address, "")) for each in config.listeners))


def _read(path: Path, where: str, report: Report) -> str:
    try:
        return ANY_TIME.authorities(read_regular(path))
    except OSError as error:
        report.wrong(where, f"cannot read {path}: {error.strerror or error}")
    except BadCertificate as error:
        report.wrong(where, f"{path}: {error}")
    return ""


def _with(listener: Listener, authorities: str) -> Listener:
    if not isinstance(listener, HttpsListener) or not authorities:
        return listener
    return replace(listener, tls=replace(listener.tls, client_ca=authorities))
