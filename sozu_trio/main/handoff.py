"""What an image of main leaves to the one that takes its place: descriptors that stay open, and a record of which is
what. Both travel through execve(2): the record in a memfd, where `guard_script.py` reads it first.
"""

import json
import os
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from sozu_trio.config.certificates import CertificateFiles
from sozu_trio.config.program import Program
from sozu_trio.control.codec import converter
from sozu_trio.control.conversation import Handover
from sozu_trio.main.actors import Actor
from sozu_trio.main.guard_script import GUARD, script_for
from sozu_trio.main.held_signals import SIGNALS, raise_again
from sozu_trio.main.launch import Launch
from sozu_trio.nursery.estate import Estate
from sozu_trio.nursery.title import Title

FORMAT: Final = 3
"""Of the record; another one with each change that earlier code would not understand."""
LIMIT: Final = 30.0
"""Seconds new code gets until it has taken over, where a watchdog leaves it so many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Handoff:
    """The record, as one image of main writes it and the next one reads it."""

    version: str
    """Of the code that leaves this."""
    wanted: str
    """Of the code that is to take over."""
    heirlooms: dict[str, int]
    estate: Estate
    client: Handover | None
    """Who waits to hear how it went; None where a signal has asked for it."""
    actor: Actor
    launch: Launch
    source: str
    config_path: str
    program: Any
    """The new code's, as it has read it; and the one from before, for the old code."""
    program_before: Any
    started: float
    """When main was started, and since when nobody listens at the control socket: seconds of CLOCK_MONOTONIC."""
    away_since: float
    signals: list[int]
    """That came meanwhile, and are to be obeyed by who takes over."""
    certificate_files: tuple[tuple[CertificateFiles, str], ...] = ()
    """Those that are watched, with the fingerprint of what was read last and could be used."""
    limit: float = LIMIT
    """Seconds the new code gets."""

    @property
    def descriptors(self) -> list[int]:
        """All that must stay open, the client's included."""
        client = [] if self.client is None else [self.client.descriptor]
        return [*self.heirlooms.values(), *self.estate.descriptors, *client]


class Succession:
    """This image has taken the place of another one."""

    def __init__(self, guard: Any) -> None:
        record = guard.record
        self.failure: str | None = record["failure"]
        """Why the code that was to take over has failed: this is the old one again."""
        codes = record["new_code"], record["code"]
        self.code, self._other_code = codes if self.failure is None else codes[::-1]
        """The zip this image runs from; None where it runs what is on disk."""
        self.handoff: Handoff = converter.structure(record["main"], Handoff)
        self.is_settled = False
        """There is no way back."""
        self._guard = guard
        self._papers: list[int] = record["papers"]

    @property
    def program(self) -> Program:
        """What this image goes by."""
        handoff = self.handoff
        document = handoff.program if self.failure is None else handoff.program_before
        return converter.structure(document, Program)

    @property
    def launch(self) -> Launch:
        left = self.handoff.launch
        return Launch(
            executable=sys.executable,
            flags=left.flags,
            arguments=left.arguments,
            path=left.path,
            title=left.title,
        )

    def settle(self) -> None:
        """From here there is no way back: what was left is closed, except the client's connection, and signals come.

        What fails from here on would end main for good, so none of it raises.
        """
        self._guard.commit()
        self.is_settled = True
        left = self.handoff
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        raise_again(left.signals)
        for descriptor in (*left.estate.descriptors, *self._papers, *_there(self._other_code)):
            with suppress(OSError):
                os.close(descriptor)
        for descriptor in _there(self.code, None if left.client is None else left.client.descriptor):
            with suppress(OSError):
                os.set_inheritable(descriptor, False)
        with suppress(UnicodeError):
            Title().show("\0".join(left.launch.title))

    def explain(self, error: BaseException) -> None:
        """Say why this image does not take over, for the one that goes on instead."""
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        self._guard.why = f"{type(error).__name__}: {error}"


def limit_with(watchdog: float | None) -> float:
    """Seconds that new code gets where a service manager kills whoever gives no sign of life for `watchdog` seconds:
    the old code has to be back before.
    """
    return LIMIT if watchdog is None else min(LIMIT, watchdog / 3)


def succession() -> Succession | None:
    """What was left to this image; None where it was started afresh. To be asked once."""
    guard = sys.modules.pop(GUARD, None)
    return None if guard is None else Succession(guard)


def _there(*descriptors: int | None) -> list[int]:
    return [each for each in descriptors if each is not None]


def execute(handoff: Handoff, executable: str, new_code: int, code: int | None, environment: dict[str, str]) -> OSError:
    """Have `executable` run `new_code` in place of this program, and `code`, this program's own, if that fails.

    Signals are blocked. Returns only if that fails; all is as before then.
    """
    left = [*handoff.descriptors, *_there(new_code, code)]
    papers: list[int] = []
    try:
        papers += [os.memfd_create("sozu_trio handoff", 0)]
        papers += [os.memfd_create("sozu_trio guard", 0)]
        command = _write_papers(handoff, papers, new_code, code)
        for descriptor in left:
            os.set_inheritable(descriptor, True)
        os.execve(executable, [executable, *command], environment)
    except OSError as error:
        return error
    finally:
        for descriptor in left:
            os.set_inheritable(descriptor, False)
        for descriptor in papers:
            os.close(descriptor)


def _write_papers(handoff: Handoff, papers: list[int], new_code: int, code: int | None) -> list[str]:
    """Write the record and the script for it to `papers`; the arguments with which Python runs it."""
    record, script = papers
    launch = handoff.launch
    # Of no meaning to Python there, but it is what main is known by.
    command = [*launch.flags, f"/proc/self/fd/{script}", "-m", "sozu_trio", *launch.arguments]
    document = {
        "failure": None,
        "limit": handoff.limit,
        "old": [launch.executable, *command],
        "new_code": new_code,
        "code": code,
        "papers": papers,
        "arguments": launch.arguments,
        "path": launch.path,
        "main": converter.unstructure(handoff),
    }
    _write(record, json.dumps(document))
    _write(script, script_for(record))
    return command


def _write(descriptor: int, text: str) -> None:
    with open(descriptor, "w", closefd=False) as file:
        file.write(text)
