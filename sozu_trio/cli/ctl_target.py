"""Where the proxy is and how long ctl waits for it: from the options, else from the proxy's file, else as by default.

Of the file only two keys are looked at, read by the same rules as `serve` reads them: whatever else is wrong with it
must not keep anybody from talking to the proxy that runs.
"""

import tomllib
from dataclasses import dataclass
from pathlib import Path

from sozu_trio.config.globals import resolve_program
from sozu_trio.config.report import Report
from sozu_trio.config.structure import structure
from sozu_trio.errors import ConfigError, OperatorError

KEYS = ("command_socket", "ctl_command_timeout")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """`timeout` in seconds of silence; None = wait for ever."""

    socket: Path
    timeout: float | None


def find_target(file: Path | None, socket: Path | None, timeout: float | None, *, patient: bool) -> Target:
    """`timeout` as on the command line, 0 = none; None = not given, and a `patient` verb then has none.

    Raises OperatorError for a file that cannot be read.
    """
    found, milliseconds = _from_file(file)
    chosen = milliseconds / 1000 if timeout is None and not patient else timeout
    return Target(socket=socket or found, timeout=chosen or None)


def _from_file(file: Path | None) -> tuple[Path, int]:
    report = Report()
    document = {} if file is None else _read(file)
    directory = Path.cwd() if file is None else file.absolute().parent
    tables = structure({key: document[key] for key in KEYS if key in document}, report)
    program = resolve_program(tables, directory, report)
    if report.problems and file is not None:
        raise ConfigError(str(file), tuple(report.problems))
    return program.command_socket, program.ctl_command_timeout


def _read(file: Path) -> dict[str, object]:
    try:
        return tomllib.loads(file.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise OperatorError(f"{file}: cannot be read: {error.strerror or error}") from error
    except RecursionError as error:
        raise OperatorError(f"{file}: is nested too deeply") from error
    except ValueError as error:
        raise OperatorError(f"{file}: {error}") from error
