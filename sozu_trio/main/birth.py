"""The State it all begins with, and the journal it is kept in from then on.

With `automatic_state_save`, a journal beside `saved_state` holds what was acknowledged last; what has changed in the
file since comes on top. Without a journal it is the file, and on top of it `saved_state`, as if it had come over the
socket. What was changed over the socket survives a start; a reload is what makes the proxy equal to the file again.
Without `automatic_state_save` the journal outlives only main: it counts where workers still serve by it.
"""

import contextlib
import logging
import time
from dataclasses import dataclass, field
from pathlib import Path

import trio

from sozu_trio.config.directives import fault_in
from sozu_trio.config.load import Config
from sozu_trio.config.program import Program
from sozu_trio.control.heirlooms import Heirlooms
from sozu_trio.control.journal import Entry, Journal, set_aside
from sozu_trio.control.lock import LOCK, locked
from sozu_trio.control.saved_state import load_into, read_saved_state
from sozu_trio.control.write import remove_unfinished
from sozu_trio.errors import ChangeRefused, OperatorError, Problem
from sozu_trio.main.actors import ourselves
from sozu_trio.main.certificate_files import read_certificate_files
from sozu_trio.main.certificates import ANY_TIME
from sozu_trio.main.declared import declared_by
from sozu_trio.main.named_files import with_files_read
from sozu_trio.main.seen_files import NONE_SEEN, SeenFiles
from sozu_trio.main.staying import journal_path
from sozu_trio.nursery.door import make_directory
from sozu_trio.routing.crosswise import crosswise
from sozu_trio.routing.delta import diff
from sozu_trio.routing.reconcile import restart
from sozu_trio.routing.spoken import spoken_frontend
from sozu_trio.routing.state import State, with_declared

log = logging.getLogger(__name__)

NO_STATE = "none"
"""What `--state-from` says to begin with the file alone."""


@dataclass(slots=True, eq=False)
class Beginning:
    """What is to be in force first. `record` is the commit point of that change; close it in the end."""

    state: State
    generation: int
    path: Path
    journal: Journal | None = None
    """None until `record` makes a new one."""
    entry: Entry | None = None
    """What an existing journal is to hold in addition."""
    instead: str | None = None
    """What it begins with instead of an existing journal, which is to be kept aside."""
    seen: SeenFiles = NONE_SEEN
    """The files that certificates of `state` come from."""
    lock: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    """Held as long as the journal is ours."""

    async def record(self) -> None:
        """Write down what is in force from now on. Raises JournalError; nothing is in force then."""
        if self.journal is None:
            self.journal = await trio.to_thread.run_sync(self._create)
        elif self.entry is not None:
            await self.journal.append(self.entry)

    def _create(self) -> Journal:
        """Only now, as a start that fails must leave the journal where the next one finds it."""
        if self.instead is not None:
            log.warning("starting from %s; the journal is kept as %s", self.instead, set_aside(self.path))
        return Journal.create(self.path, self.state, self.generation)

    def recorded(self) -> Journal:
        """The journal, after `record`."""
        assert self.journal is not None
        return self.journal

    def close(self) -> None:
        if self.journal is not None:
            self.journal.close()
        self.lock.close()


async def go_on(program: Program, heirlooms: Heirlooms) -> Beginning:
    """Go on, in a thread, exactly where the image of main before has stopped, with its lock of the journal. Raises
    OperatorError.
    """
    return await trio.to_thread.run_sync(_go_on_as_before, program, heirlooms)


def _go_on_as_before(program: Program, heirlooms: Heirlooms) -> Beginning:
    path = journal_path(program)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_locked(path, heirlooms))
        journal = Journal.open(path)
        history = journal.history
        beginning = Beginning(history.state_at(history.generation), history.generation, path, journal)
        beginning.lock = stack.pop_all()
        return beginning


def _locked(path: Path, heirlooms: Heirlooms | None) -> contextlib.AbstractContextManager[None]:
    holds = f"keeps its journal at {path}"
    return locked(path, holds=holds, unusable=lambda error: _no_lock(path, error), heirlooms=heirlooms)


async def begin(
    config: Config, state_from: str | None = None, *, served: bool = False, heirlooms: Heirlooms | None = None
) -> Beginning:
    """Find out what to begin with, in a thread: a large State takes seconds. Raises OperatorError.

    `state_from`: a saved state to begin with instead of the journal, which is then kept aside; `none` for the file
    alone. `served`: there are workers that serve by what stands in the journal, wherever that is. The lock of the
    journal is one of `heirlooms`.
    """
    return await trio.to_thread.run_sync(_begin, config, state_from, served, heirlooms)


def _begin(config: Config, state_from: str | None, served: bool, heirlooms: Heirlooms | None) -> Beginning:
    path = journal_path(config.program)
    make_directory(config.program.runtime_directory)
    with contextlib.ExitStack() as stack:
        # Before anything there is read, or cleared away.
        stack.enter_context(_locked(path, heirlooms))
        beginning = _found(config, path, state_from, served)
        beginning.lock = stack.pop_all()
        return beginning


def _no_lock(path: Path, error: OSError) -> str:
    return f"saved_state: cannot make {path}{LOCK}: {error.strerror}"


def _found(config: Config, path: Path, state_from: str | None, served: bool) -> Beginning:
    program = config.program
    certificates = read_certificate_files(config, None)
    declared = declared_by(with_files_read(config), certificates.records)
    if program.automatic_state_save and program.saved_state is not None:
        with contextlib.suppress(OSError):
            remove_unfinished(program.saved_state)
    there = (program.automatic_state_save or served) and _size(path) is not None
    if there and state_from is None:
        return _go_on(path, declared, certificates.seen)
    state = with_declared(declared, declared)
    if state_from is not None:
        saved = None if state_from == NO_STATE else Path(state_from)
    else:
        saved = program.saved_state if program.saved_state is not None and _size(program.saved_state) else None
    first = state if saved is None else _loaded(state, saved)
    return Beginning(first, 1, path, instead=state_from if there else None, seen=certificates.seen)


def _go_on(path: Path, declared: State, seen: SeenFiles) -> Beginning:
    """From where the journal ends. Raises CorruptJournal. A start never fails for what came over the socket, so what
    does not fit the file any more is only warned of.
    """
    journal = Journal.open(path)
    history = journal.history
    before = history.state_at(history.generation)
    after = restart(before, declared)
    for each in crosswise(after):
        log.warning("%s: %s; it serves nobody as long as that is so", spoken_frontend(each.frontend), each.what)
    delta = diff(before, after)
    if not delta:
        return Beginning(before, history.generation, path, journal, seen=seen)
    actor = ourselves("start")
    entry = Entry(
        generation=history.generation + 1,
        time=time.time(),
        uid=actor.uid,
        pid=actor.pid,
        process=actor.process,
        what="start: what has changed in the file",
        delta=delta,
    )
    return Beginning(after, entry.generation, path, journal, entry, seen=seen)


def _size(path: Path) -> int | None:
    """In bytes, None where there is no such file."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None
    except OSError as error:
        raise OperatorError(f"saved_state: cannot read {path}: {error.strerror}") from error


def _loaded(state: State, path: Path) -> State:
    try:
        text = path.read_bytes()
    except OSError as error:
        raise OperatorError(f"cannot read the saved state {path}: {error.strerror}") from error
    try:
        saved = read_saved_state(text, ANY_TIME)
        if saved.unknown:
            raise ChangeRefused(saved.unknown)
        if saved.settings is not None and (fault := fault_in(saved.settings.log_level)):
            raise ChangeRefused((Problem("settings.log_level", fault),))
        return load_into(state, saved)
    except ChangeRefused as refused:
        raise ChangeRefused(tuple(Problem(str(path), str(each)) for each in refused.problems)) from None
