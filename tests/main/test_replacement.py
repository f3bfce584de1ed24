"""The step from which on nobody answers until the new image does, and that it can be taken back."""

import errno
import json
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from sozu_trio.config.program import Program
from sozu_trio.control.codec import converter
from sozu_trio.control.conversation import Handover
from sozu_trio.control.heirlooms import Heirlooms
from sozu_trio.control.permissions import Peer
from sozu_trio.control.protocol import Id
from sozu_trio.errors import OperatorError
from sozu_trio.main import handoff as handoffs
from sozu_trio.main.actors import ourselves
from sozu_trio.main.handoff import LIMIT, Handoff, Succession, execute, limit_with, succession
from sozu_trio.main.held_signals import SIGNALS
from sozu_trio.main.launch import Launch
from sozu_trio.main.replacement import Asked, Replacement
from sozu_trio.nursery.estate import Estate
from sozu_trio.nursery.kept_code import KeptCode
from sozu_trio.nursery.sockets import ListeningSockets
from tests.descriptors import open_descriptors

NOWHERE = "/nowhere/python"
LAUNCH = Launch(executable=sys.executable, flags=("-X", "dev"), arguments=("serve",), path="/", title=("python",))
PEER = Peer(client_id=4, uid=1, gid=2, pid=3, process="ctl", may_change=True, connected=5.0)


def handoff(**changes: Any) -> Handoff:
    estate = Estate(generation=3, worker_count=2, workers=[], past=(), sockets=ListeningSockets().left())
    made = Handoff(
        version="1",
        wanted="2",
        heirlooms={"a": 7},
        estate=estate,
        client=None,
        actor=ourselves("test"),
        launch=LAUNCH,
        source="proxy.toml",
        config_path="/proxy.toml",
        program=converter.unstructure(Program(worker_count=2)),
        program_before=converter.unstructure(Program(worker_count=1)),
        started=1.5,
        away_since=2.5,
        signals=[],
    )
    return replace(made, **changes)


class Control:
    """A control server that only remembers what it was told."""

    def __init__(self, handover: Handover | None = None) -> None:
        self.told: list[object] = []
        self._handover = handover

    async def pause(self, grace: float, but: int | None = None, request: Id = 0) -> Handover | None:
        self.told.append((but, request))
        return self._handover

    def resume(self) -> None:
        self.told.append("resume")


@pytest.fixture
def pair() -> Any:
    read, write = os.pipe()
    yield read, write
    os.close(read)
    os.close(write)


def test_what_cannot_be_executed_leaves_everything_as_it_was(pair: tuple[int, int]) -> None:
    left, code = pair
    before, mask = open_descriptors(), signal.pthread_sigmask(signal.SIG_BLOCK, [])
    error = execute(handoff(heirlooms={"it": left}), NOWHERE, code, None, {})
    assert error.strerror == "No such file or directory"
    assert open_descriptors() == before
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == mask
    assert not mask & SIGNALS
    assert not os.get_inheritable(left)
    assert not os.get_inheritable(code)


def test_nor_does_a_lack_of_descriptors_change_anything(pair: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    make = os.memfd_create

    def lack(name: str, flags: int) -> int:
        if made:
            raise OSError(errno.EMFILE, "Too many open files")
        made.append(make(name, flags))
        return made[0]

    before = open_descriptors()
    monkeypatch.setattr(os, "memfd_create", lack)
    assert execute(handoff(heirlooms={}), NOWHERE, pair[1], None, {}).errno == errno.EMFILE
    assert open_descriptors() == before
    assert not os.get_inheritable(pair[1])


@pytest.mark.parametrize("error", [OSError("no descriptor"), ExceptionGroup("", [RuntimeError("no thread")])])
async def test_what_main_lacks_for_its_last_steps_is_told(error: Exception) -> None:
    async def lack() -> None:
        raise error

    replacement = Replacement(LAUNCH, KeptCode("json"), Heirlooms(), lack, {})
    replacement.control = control = Control()
    with pytest.raises(OperatorError, match=r"cannot execute /nowhere/python: no (descriptor|thread); nothing"):
        await replacement.execute(NOWHERE, 0, None, lambda *_: handoff())
    assert control.told[-1] == "resume"


@pytest.mark.parametrize(("asked", "paused"), [(None, (None, 0)), (Asked(client=4, request="a"), (4, "a"))])
async def test_the_control_server_goes_on_then(
    asked: Asked | None, paused: object, pair: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    left, code = pair
    control, flushed = Control(), []
    heirlooms = Heirlooms()

    async def flush() -> None:
        flushed.append(True)

    def record(held: Mapping[str, int], client: Handover | None, away_since: float) -> Handoff:
        assert held == {"it": left}
        assert client is None
        return handoff(heirlooms=dict(held), away_since=away_since)

    replacement = Replacement(LAUNCH, KeptCode("json"), heirlooms, flush, {"NOTIFY_SOCKET": "there"})
    replacement.control = control
    with (
        heirlooms.keep("it", left),
        pytest.raises(OperatorError, match="cannot execute /nowhere/python: No such file or directory; nothing"),
    ):
        await replacement.execute(NOWHERE, code, asked, record)
    assert control.told == [paused, "resume"]
    assert flushed == [True]


async def no_flush() -> None:
    pass


async def test_what_is_left_of_a_client_is_closed_where_main_stays(pair: tuple[int, int]) -> None:
    left, code = pair
    client = Handover(descriptor=os.dup(left), peer=PEER, request="a", begun="")
    before = open_descriptors()
    replacement = Replacement(LAUNCH, KeptCode("json"), Heirlooms(), no_flush, {})
    replacement.control = Control(client)
    with pytest.raises(OperatorError, match="cannot execute"):
        await replacement.execute(
            NOWHERE, code, Asked(client=4, request="a"), lambda *_: handoff(client=client, heirlooms={})
        )
    assert len(open_descriptors()) == len(before) - 1


def test_the_record_travels_as_json_with_all_that_must_stay_open() -> None:
    client = Handover(descriptor=9, peer=PEER, request="a", begun="{")
    made = handoff(client=client)
    assert converter.structure(converter.unstructure(made), Handoff) == made
    assert made.descriptors == [7, 9]


class Guard:
    """As the script of the new image makes it."""

    def __init__(self, failure: str | None) -> None:
        self.why = ""
        self.record = {
            "failure": failure,
            "code": 11,
            "new_code": 12,
            "papers": [],
            "main": converter.unstructure(handoff()),
        }

        self.is_off = False

    def commit(self) -> None:
        self.is_off = True


@pytest.mark.parametrize(("failure", "code", "workers"), [(None, 12, 2), ("broken", 11, 1)])
def test_each_code_goes_by_what_is_its_own(failure: str | None, code: int, workers: int) -> None:
    made = Succession(Guard(failure))
    assert (made.failure, made.code, made.program.worker_count) == (failure, code, workers)
    assert made.launch == LAUNCH
    assert not made.is_settled


def test_nothing_fails_once_the_guard_is_off() -> None:
    """Main would be dead then. No descriptor of these is open, and the title is in no encoding."""
    guard = Guard(None)
    nowhere = 1 << 30
    client = Handover(descriptor=nowhere, peer=PEER, request="a", begun="")
    launch = replace(LAUNCH, title=("\ud800",))
    guard.record |= {"code": nowhere, "new_code": nowhere, "papers": [nowhere]}
    guard.record["main"] = converter.unstructure(handoff(client=client, launch=launch))
    made = Succession(guard)
    made.settle()
    assert guard.is_off
    assert made.is_settled


def test_why_it_failed_is_told_without_the_groups_around() -> None:
    guard = Guard(None)
    made = Succession(guard)
    made.explain(ExceptionGroup("of a nursery", [ExceptionGroup("of another", [ValueError("no"), KeyError()])]))
    assert guard.why == "ValueError: no"


@pytest.mark.parametrize(("watchdog", "limit"), [(None, LIMIT), (30.0, 10.0), (600.0, LIMIT)])
def test_new_code_that_hangs_is_replaced_before_a_watchdog_kills_main(watchdog: float | None, limit: float) -> None:
    assert limit_with(watchdog) == limit


def test_the_guard_is_told_how_long_to_wait(pair: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(handoffs, "_write", lambda _, text: said.append(text))
    execute(handoff(limit=7.0, heirlooms={}), NOWHERE, pair[1], None, {})
    assert json.loads(said[0])["limit"] == 7


def test_a_main_that_was_started_afresh_succeeds_nobody() -> None:
    assert succession() is None
