"""The composition root: builds every part in order of dependency and hands each what it needs. The only file that
knows every package.

logs                  outlive everything, so that the last line is written
 └─ control socket    held before anything is read, so that two mains never share a journal
     └─ supervisor    main
         ├─ worker 0  its handler is made here, from `proxy`
         ├─ journal   keeps itself short
         ├─ control   answers what comes over the control socket
         ├─ systemd   is told how it goes, where it is there
         └─ signals
"""

import logging
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager, closing, nullcontext, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import trio

from sozu_trio import __version__
from sozu_trio.config.descriptors import descriptors_of_worker, misfit
from sozu_trio.config.directives import parse_directives
from sozu_trio.config.limits import ControlLimits
from sozu_trio.config.load import Config
from sozu_trio.control.channel import Channel
from sozu_trio.control.endpoint import open_control_socket
from sozu_trio.control.heirlooms import Heirlooms
from sozu_trio.control.lock import LOCK, locked
from sozu_trio.control.messages import Ask, Report
from sozu_trio.control.permissions import Permissions
from sozu_trio.control.server import ControlServer, serve_control
from sozu_trio.errors import NotConfirmed
from sozu_trio.main.audit import Audit
from sozu_trio.main.birth import Beginning, begin
from sozu_trio.main.birth import go_on as go_on_with_journal
from sozu_trio.main.certificate_files import read_certificate_files
from sozu_trio.main.certificate_watch import CertificateWatch
from sozu_trio.main.continuing import go_on
from sozu_trio.main.declared import declared_by
from sozu_trio.main.events import Events
from sozu_trio.main.expiring import watch_expiry
from sozu_trio.main.handoff import Succession
from sozu_trio.main.hearing import TakesLines, hear, take_lines, tell_of
from sozu_trio.main.informing import keep_informed, until_in_step
from sozu_trio.main.launch import Launch
from sozu_trio.main.named_files import with_files_read
from sozu_trio.main.parts import Parts
from sozu_trio.main.renewing import watch_certificates
from sozu_trio.main.replacement import Replacement
from sozu_trio.main.seen_files import taken_over
from sozu_trio.main.service_manager import ServiceManager
from sozu_trio.main.signals import SIGNALS, obey
from sozu_trio.main.transactions import Transactions
from sozu_trio.main.verbs import Verbs, changes_something
from sozu_trio.nursery.activation import refuse_unmatched
from sozu_trio.nursery.adoption import Orphan, find_orphans
from sozu_trio.nursery.door import make_directory
from sozu_trio.nursery.estate import Estate, hear_out, reap_left
from sozu_trio.nursery.garbage import begin_to_serve
from sozu_trio.nursery.kept_code import KeptCode
from sozu_trio.nursery.post import Spawned
from sozu_trio.nursery.sandbox import sandbox_of
from sozu_trio.nursery.spawn import SpawnProcess
from sozu_trio.nursery.strangers import inherits_children, reap_strangers
from sozu_trio.nursery.supervisor import Supervisor
from sozu_trio.nursery.title import ROOM, call_thread
from sozu_trio.nursery.worker import serve_worker
from sozu_trio.routing.state import State, with_declared
from sozu_trio.telemetry.log import apply_directives
from sozu_trio.telemetry.logs import Logs

log = logging.getLogger(__name__)

WORKER = "sozu_trio.worker_process"
"""What the process of a worker runs."""
ADOPTION = 10.0
"""Seconds that workers which a main before has left get to answer, where `worker_timeout` sets no limit."""
LAST_ANSWERS = 2.0
"""Seconds that answers under way get once everything else has stopped, that to `shutdown` among them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """How `serve` was called: what to serve, the file it comes from, and where else to begin from.

    `path`: None for the embedded demonstration. `state_from`: a saved state to begin with instead of the journal,
    `none` for no such thing. `sockets`: handed over by a service manager that holds them, too; to be closed by whoever
    calls. `service_manager`: who is told how it goes. `launch`: how the process was started, None
    where it is not ours to be replaced. `succession`: what was left to it, None where it was started afresh. `key_log`:
    a descriptor that takes the secrets of TLS sessions, None for nowhere.
    """

    config: Config
    path: Path | None = None
    state_from: str | None = None
    sockets: tuple[socket.socket, ...] = ()
    service_manager: ServiceManager = field(default_factory=ServiceManager)
    launch: Launch | None = None
    succession: Succession | None = None
    key_log: int | None = None


@asynccontextmanager
async def open_proxy(
    config: Config,
    *,
    logs: TakesLines | None = None,
    inherited: Iterable[socket.socket] = (),
    events: Events | None = None,
    begin_with: tuple[State, int] | None = None,
    journal: Callable[[], Awaitable[Any]] | None = None,
) -> AsyncIterator[Supervisor]:
    """A proxy that serves `config` while the body runs, with one worker that is a task of this process; what is left of
    it after the body is stopped hard.

    `begin_with`: the State and generation to serve instead of what the file declares; `journal` writes it down before
    anybody serves by it. Raises OperatorError when a log target or an address cannot be had, the latter in exception
    groups as it comes out of nurseries; nothing listens then.
    """
    lines = Logs(config.program) if logs is None else logs
    declared = declared_by(with_files_read(config), read_certificate_files(config, None).records)
    first = begin_with or (with_declared(declared, declared), 1)
    supervisor = Supervisor(
        config.program, _serve_in_process, partial(take_lines, lines), on_event=partial(tell_of, events or Events())
    )
    supervisor.inherit(inherited)
    async with lines.serve(), _running(config, supervisor, first, journal):
        yield supervisor


@asynccontextmanager
async def _running(
    config: Config,
    supervisor: Supervisor,
    first: tuple[State, int],
    journal: Callable[[], Awaitable[Any]] | None,
    orphans: Sequence[Orphan] = (),
    *,
    goes_on: bool = False,
) -> AsyncIterator[None]:
    """Have `supervisor` serve `first` while the body runs.

    `goes_on`: also where a worker has not confirmed that it does; the others serve, and it is brought in step or
    replaced. Else that is NotConfirmed.
    """
    _log_notices(config)
    state, generation = first
    if state.settings != config.program.settings and (what := misfit(state.settings, descriptors_of_worker())):
        log.warning("max_connections: %s", what)
    if state.settings.log_level != config.program.settings.log_level:
        # Said over the socket in an earlier life, which outweighs the file and the environment as it did then.
        apply_directives(parse_directives(state.settings.log_level))
    async with trio.open_nursery() as main:
        await main.start(supervisor.run, orphans)
        with suppress(NotConfirmed) if goes_on else nullcontext():
            await supervisor.change(state, generation, journal=journal)
        yield
        await supervisor.stop(0)


async def serve(start: Start, on_ready: Callable[[Supervisor], None]) -> int:
    """Serve until a signal or a client of the control socket says stop; returns how many sessions the stop has cut.

    Raises OperatorError.
    """
    call_thread("sozu-trio: main")
    program = start.config.program
    logs = Logs(program)
    events = Events()
    code = KeptCode(WORKER, None if start.succession is None else start.succession.code)
    heirlooms = Heirlooms(None if start.succession is None else start.succession.handoff.heirlooms)
    sandbox = sandbox_of(program, start.config.source).argument()
    supervisor = Supervisor(
        program,
        SpawnProcess(
            *(WORKER, program.runtime_directory, str(int(program.log_colored)), sandbox, ROOM),
            code=code,
            key_log=start.key_log,
        ),
        partial(take_lines, logs),
        on_event=partial(tell_of, events),
        workers=program.worker_count,
    )
    supervisor.inherit(start.sockets, shared=True)
    replacement = None
    if start.launch is not None:
        replacement = Replacement(start.launch, code, heirlooms, logs.flush, start.service_manager.variables)
    with (
        trio.open_signal_receiver(*SIGNALS) as signals,
        open_control_socket(program.command_socket, heirlooms) as sock,
        closing(start.service_manager),
        closing(code),
    ):
        async with (
            logs.serve(),
            _beginning(start, supervisor, heirlooms, partial(hear, logs, events)) as beginning,
            trio.open_nursery() as nursery,
        ):
            parts = _parts(start, supervisor, beginning, events, logs, replacement)
            nursery.start_soon(parts.journal.serve_compaction, name="journal")
            nursery.start_soon(obey, signals, parts, logs.reopen, name="signals")
            nursery.start_soon(watch_expiry, lambda: parts.transactions.state, events, name="expiry")
            nursery.start_soon(watch_certificates, parts, name="certificates")
            if inherits_children():
                await nursery.start(reap_strangers, name="reaping")
            async with trio.open_nursery() as controlling:
                control = await controlling.start(_serve_control, parts, sock)
                if replacement is not None:
                    replacement.control = control
                if start.succession is not None:
                    nursery.start_soon(go_on, parts, start.succession, control, name="upgrade")
                begin_to_serve(in_haste=start.succession is not None)
                nursery.start_soon(_tell_ready, start, supervisor, on_ready, name="service manager")
                nursery.start_soon(code.keep, name="code")
                await supervisor.stopped.wait()
                events.end()
                control.stop(LAST_ANSWERS)
            nursery.cancel_scope.cancel(reason="stopped")
        return supervisor.cut


async def _tell_ready(start: Start, supervisor: Supervisor, on_ready: Callable[[Supervisor], None]) -> None:
    """Tell whoever has started us once every worker accepts, and keep the service manager informed. Nobody waits for
    one that succeeds another image of main: clients were served all the time.
    """
    if start.succession is not None or await until_in_step(supervisor):
        on_ready(supervisor)
    await keep_informed(start.service_manager, supervisor)


@asynccontextmanager
async def _beginning(
    start: Start, supervisor: Supervisor, heirlooms: Heirlooms, hear: Callable[[Report], None]
) -> AsyncIterator[Beginning]:
    """Have `supervisor` serve what is to be served first, while the body runs; the value is that, recorded."""
    async with (
        _found(start, heirlooms, hear) as (orphans, estate),
        _begun(start, heirlooms, served=bool(orphans)) as beginning,
    ):
        first = beginning.state, beginning.generation
        if start.succession is None or estate is None:
            running = _running(start.config, supervisor, first, beginning.record, orphans, goes_on=True)
        else:
            running = _succeeding(start.succession, estate, supervisor, first, heirlooms, orphans)
        async with running:
            yield beginning


@asynccontextmanager
async def _succeeding(
    succession: Succession,
    estate: Estate,
    supervisor: Supervisor,
    first: tuple[State, int],
    heirlooms: Heirlooms,
    orphans: Sequence[Orphan],
) -> AsyncIterator[None]:
    """As `_running`, with what another image of main has left."""
    state, generation = first
    if state.settings.log_level != supervisor.program.settings.log_level:
        apply_directives(parse_directives(state.settings.log_level))
    supervisor.succeed(estate, orphans)
    async with trio.open_nursery() as main:
        await main.start(supervisor.run, orphans)
        # Workers are adopted, signals have somebody who takes them: this is the commit point.
        succession.settle()
        heirlooms.settle()
        await supervisor.go_on(state, generation)
        async with trio.open_nursery() as reaping:
            reaping.start_soon(reap_left, estate, {orphan.pid for orphan in orphans}, name="children left")
            yield
            reaping.cancel_scope.cancel(reason="stopped")
        await supervisor.stop(0)


@asynccontextmanager
async def _found(
    start: Start, heirlooms: Heirlooms, hear: Callable[[Report], None]
) -> AsyncIterator[tuple[list[Orphan], Estate | None]]:
    """Workers that a main before has left, and what else where that was another image of this one; whoever is left of
    them after the body serves on.
    """
    program = start.config.program
    directory = program.runtime_directory
    make_directory(directory)
    # Whoever shares the directory would take our workers for its own.
    with locked(
        directory / "workers",
        holds=f"has its workers in {directory}",
        unusable=lambda error: f"runtime_directory: cannot make {directory}/workers{LOCK}: {error.strerror}",
        heirlooms=heirlooms,
    ):
        estate = None
        if start.succession is not None:
            heard, estate = await hear_out(start.succession.handoff.estate)
            for report in heard:
                hear(report)
        known = set() if estate is None else estate.sockets.keys
        patience = program.worker_timeout or ADOPTION
        orphans = await find_orphans(directory, patience, _spared(start.succession), known)
        try:
            yield orphans, estate
        finally:
            for orphan in orphans:
                orphan.close()


def _spared(succession: Succession | None) -> set[int]:
    """Workers that must not be harmed: as long as there is a way back, code that does not get along with them may be at
    fault itself.
    """
    if succession is None or succession.failure is not None:
        return set()
    return {worker.pid for worker in succession.handoff.estate.workers}


@asynccontextmanager
async def _begun(start: Start, heirlooms: Heirlooms, *, served: bool) -> AsyncIterator[Beginning]:
    """What to serve first; its journal is closed after the body. `served`: there are workers that a main has left."""
    if start.succession is not None:
        beginning = await go_on_with_journal(start.config.program, heirlooms)
        beginning.seen = taken_over(start.succession.handoff.certificate_files)
    else:
        beginning = await begin(start.config, start.state_from, served=served, heirlooms=heirlooms)
    with closing(beginning):
        refuse_unmatched(start.sockets, beginning.state.listeners)
        yield beginning


def _parts(
    start: Start,
    supervisor: Supervisor,
    beginning: Beginning,
    events: Events,
    logs: Logs,
    replacement: Replacement | None,
) -> Parts:
    journal = beginning.recorded()
    return Parts(
        config=start.config,
        config_path=None if start.path is None else str(start.path.absolute()),
        supervisor=supervisor,
        transactions=Transactions(supervisor, journal, events),
        journal=journal,
        events=events,
        audit=Audit(logs.audit, logs.audit_json),
        certificate_watch=CertificateWatch(beginning.seen, start.config.program.certificate_check_interval),
        service_manager=start.service_manager,
        replacement=replacement,
        started=time.monotonic() if start.succession is None else start.succession.handoff.started,
    )


async def _serve_control(
    parts: Parts, sock: socket.socket, *, task_status: trio.TaskStatus[ControlServer] = trio.TASK_STATUS_IGNORED
) -> None:
    program = parts.config.program
    await serve_control(
        trio.SocketListener(trio.socket.from_stdlib_socket(sock)),
        Verbs(parts).answer,
        lambda _: {"version": __version__, "pid": os.getpid(), "generation": parts.transactions.generation},
        changes_state=changes_something,
        permissions=Permissions(
            allowed_uids=program.command_allowed_uids, read_only_uids=program.command_read_only_uids
        ),
        limits=ControlLimits(request=program.max_command_buffer_size),
        task_status=task_status,
    )


async def _serve_in_process(_worker_id: int, channel: Channel[Ask], *, task_status: trio.TaskStatus[Spawned]) -> None:
    from sozu_trio.proxy.doors import ProxyHandler  # main itself needs nothing of it: 60 ms

    task_status.started(Spawned(os.getpid()))
    try:
        await serve_worker(channel, ProxyHandler)
    finally:
        channel.close()


def _log_notices(config: Config) -> None:
    for notice in config.notices:
        level = logging.WARNING if notice.level == "warning" else logging.INFO
        log.log(level, "%s: %s: %s", config.source, notice.where, notice.what)
