"""`serve --check` and `ctl config check`: what is wrong with a file, or what it holds. No proxy is asked, nothing is
bound.
"""

from pathlib import Path

from sozu_trio.config.load import Config, load_config
from sozu_trio.errors import ConfigError, Problem
from sozu_trio.main.certificate_files import read_certificate_files
from sozu_trio.main.named_files import with_files_read
from sozu_trio.nursery.identity import identity_named
from sozu_trio.telemetry.logs import Logs
from sozu_trio.telemetry.plural import count


def checked_config(path: Path) -> Config:
    """The configuration in the file at `path`. Raises ConfigError with everything that is wrong with it or with what it
    names, and OperatorError for SOZU_LOG.
    """
    config = load_config(path)
    problems: list[Problem] = []
    for look in (_look_at_certificates, with_files_read, _look_for_user):
        try:
            look(config)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(config.source, tuple(problems))
    Logs(config.program)
    return config


def _look_at_certificates(config: Config) -> None:
    read_certificate_files(config, None)


def _look_for_user(config: Config) -> None:
    identity_named(config.program.user, config.program.group, config.source)


def notice_lines(config: Config) -> list[str]:
    """What the log of a start would remark about the file."""
    return [f"{each.level}: {config.source}: {each.where}: {each.what}" for each in config.notices]


def counts(config: Config) -> dict[str, int]:
    """How many of what the file declares."""
    return {
        "listeners": len(config.listeners),
        "clusters": len(config.clusters),
        "backends": len(config.backends),
    }


def summary(config: Config) -> str:
    """`proxy.toml: valid: 1 listener, 2 clusters, …`."""
    counted = (count(number, kind.removesuffix("s")) for kind, number in counts(config).items())
    return f"{config.source}: valid: {', '.join(counted)}"
