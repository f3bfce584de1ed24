"""The global keys of the file → `Program`: paths are resolved and defaults that depend on other keys are filled in.

A relative path in the file is relative to the file's directory, that of a log target too; only the default command
socket lies in the current directory, as in Sōzu.
"""

import os
from dataclasses import fields
from pathlib import Path

from sozu_trio.config.directives import fault_in
from sozu_trio.config.listeners import Timeouts
from sozu_trio.config.program import Program, Settings
from sozu_trio.config.report import Report
from sozu_trio.config.schema import FileTable
from sozu_trio.config.values import show

UNIX_PATH = 107
"""Bytes of a path in `sockaddr_un`, its closing NUL not counted (unix(7))."""
NEW_SOCKET = ".new"
"""What the path of the control socket ends with until it listens."""


def resolve_program(file: FileTable, directory: Path, report: Report) -> Program:
    """`directory` is the file's, absolute. Whatever is wrong goes to `report`; the Program is then of no use."""
    socket = directory / file.command_socket if file.command_socket else Path.cwd() / "sozu.sock"
    _check_socket_path("command_socket", socket, report, most=UNIX_PATH - len(NEW_SOCKET))
    return Program(
        command_socket=socket,
        runtime_directory=directory / (file.runtime_directory or f"{socket}.d"),
        command_buffer_size=file.command_buffer_size,
        max_command_buffer_size=file.max_command_buffer_size,
        command_allowed_uids=file.command_allowed_uids,
        command_read_only_uids=file.command_read_only_uids,
        ctl_command_timeout=file.ctl_command_timeout,
        worker_count=file.worker_count,
        worker_automatic_restart=file.worker_automatic_restart,
        worker_timeout=file.worker_timeout,
        shutdown_timeout=file.shutdown_timeout,
        orphan_timeout=file.orphan_timeout,
        upgrade_drain_timeout=file.upgrade_drain_timeout,
        sandbox=file.sandbox,
        sandbox_violation=file.sandbox_violation,
        user=file.user,
        group=file.group,
        certificate_check_interval=file.certificate_check_interval,
        settings=_settings(file, report),
        activate_listeners=file.activate_listeners,
        pid_file_path=directory / file.pid_file_path if file.pid_file_path else None,
        saved_state=_saved_state(file, directory, report),
        automatic_state_save=file.automatic_state_save,
        log_target=_target("log_target", file.log_target, directory, report),
        log_colored=file.log_colored,
        access_logs_target=_optional_target("access_logs_target", file.access_logs_target, directory, report),
        access_logs_format="json" if file.access_logs_format == "json" else "ascii",
        access_logs_colored=file.log_colored if file.access_logs_colored is None else file.access_logs_colored,
        audit_logs_target=_optional_target("audit_logs_target", file.audit_logs_target, directory, report),
        audit_logs_json_target=_optional_target(
            "audit_logs_json_target", file.audit_logs_json_target, directory, report
        ),
        disable_cluster_metrics=file.disable_cluster_metrics,
    )


def _settings(file: FileTable, report: Report) -> Settings:
    if fault := fault_in(file.log_level):
        report.wrong("log_level", fault)
    timeouts = Timeouts(
        front=file.front_timeout, back=file.back_timeout, connect=file.connect_timeout, request=file.request_timeout
    )
    keys = [each.name for each in fields(Settings) if each.name != "timeouts"]
    return Settings(timeouts=timeouts, **{name: getattr(file, name) for name in keys})


def _check_socket_path(where: str, path: Path, report: Report, *, most: int = UNIX_PATH) -> None:
    length = len(os.fsencode(path))
    if length > most:
        report.wrong(where, f"found {show(path)}, {length} bytes; want at most {most} for a unix socket")


def _optional_target(where: str, target: str | None, directory: Path, report: Report) -> str | None:
    return None if target is None else _target(where, target, directory, report)


def _target(where: str, target: str, directory: Path, report: Report) -> str:
    scheme, _, rest = target.partition("://")
    if scheme not in ("file", "unix"):
        return target
    path = directory / rest
    if scheme == "unix":
        _check_socket_path(where, path, report)
    return f"{scheme}://{path}"


def _saved_state(file: FileTable, directory: Path, report: Report) -> Path | None:
    if file.saved_state is not None:
        return directory / file.saved_state
    if file.automatic_state_save:
        report.missing("saved_state", "a path, since automatic_state_save = true")
    return None
