"""What a journal's bytes say; which damage is the mark of a crash, and which is damage."""

import json
import zlib
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import Backend, Cluster
from sozu_trio.control.history import Entry, History
from sozu_trio.control.journal_lines import base_lines, entry_line
from sozu_trio.control.journal_read import Contents, read_journal
from sozu_trio.errors import CorruptJournal, JournalError
from sozu_trio.routing.delta import Delta, diff
from sozu_trio.routing.state import EMPTY, State, declare, with_declared
from tests.control.states import STATES
from tests.control.test_parts import ordered

BASE = declare([], [Cluster(cluster_id="api"), Cluster(cluster_id="web")], [], [], [])
IN_PLACE = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def no_rest() -> None:
    """Tests are in a hurry."""


def entry(generation: int, delta: Delta, what: str = "cluster add") -> Entry:
    return Entry(generation=generation, time=1.5, uid=0, pid=1, process="ctl", what=what, delta=delta)


def added(generation: int, what: str = "cluster add") -> Entry:
    return entry(generation, Delta(clusters=(Cluster(cluster_id=f"c{generation}"),)), what)


def lines_of(history: History) -> list[bytes]:
    head = base_lines(history.base, history.base_generation, no_rest)
    return [*head, *(bytes(entry_line(each, no_rest)) for each in history.entries)]


HISTORY = History(base=BASE, base_generation=4, entries=tuple(added(number) for number in (5, 6, 7)))
LINES = lines_of(HISTORY)
WHOLE = b"".join(LINES)
BASE_SIZE = len(LINES[0] + LINES[1])


def read(directory: Path, data: bytes) -> Contents:
    path = directory / "journal"
    path.write_bytes(data)
    contents = read_journal(path)
    assert path.read_bytes() == data
    return contents


def line(document: object) -> bytes:
    text = json.dumps(document).encode()
    return b"%08x %b\n" % (zlib.crc32(text), text)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    expected = Contents(history=HISTORY, size=len(WHOLE), base_size=BASE_SIZE, cut_off=b"")
    assert read(tmp_path, WHOLE) == expected


@IN_PLACE
@given(states=st.lists(STATES, min_size=1, max_size=4))
def test_any_states_come_back(tmp_path: Path, states: list[State]) -> None:
    history = History(base=states[0], base_generation=1)
    for before, after in pairwise(states):
        history = history.with_entry(entry(history.generation + 1, diff(before, after)))
    found = read(tmp_path, b"".join(lines_of(history))).history
    assert found == history
    for generation, state in enumerate(states, 1):
        assert ordered(found.state_at(generation)) == ordered(state)


def test_what_the_file_declared_is_held_once(tmp_path: Path) -> None:
    base = with_declared(BASE, BASE)
    contents = read(tmp_path, b"".join(lines_of(History(base=base, base_generation=1))))
    found = contents.history.base
    assert found == base
    assert found.declared is not None
    assert found.clusters["api"] is found.declared.clusters["api"]
    assert contents.size < 2 * BASE_SIZE


def test_large_differences_stand_in_pieces(tmp_path: Path) -> None:
    backends = [
        Backend(cluster_id="api", backend_id=str(number), address=Address("127.0.0.1", 1)) for number in range(120)
    ]
    state = declare([], [Cluster(cluster_id="api")], [], [], backends)
    rests: list[int] = []
    large = entry(2, diff(EMPTY, state))
    lines = [*base_lines(state, 1, lambda: rests.append(1)), bytes(entry_line(large, lambda: rests.append(2)))]
    assert max(map(len, lines[:-1])) < len(lines[-1]) / 2
    assert rests == [1] * (len(lines) - 2) + [2, 2, 2]
    history = read(tmp_path, b"".join(lines)).history
    assert history.base == state
    assert history.entries == (large,)


@pytest.mark.parametrize("kept", range(len(LINES[-1])))
def test_a_last_line_that_breaks_off_is_cut(tmp_path: Path, kept: int) -> None:
    contents = read(tmp_path, WHOLE[: len(WHOLE) - len(LINES[-1]) + kept])
    assert contents.history.generation == 6
    assert contents.cut_off == LINES[-1][:kept]
    assert contents.size == len(WHOLE) - len(LINES[-1])


@IN_PLACE
@given(first=st.integers(0, len(LINES[-1]) - 1), length=st.integers(1, len(LINES[-1])))
def test_a_last_line_of_which_a_page_was_not_written_is_cut(tmp_path: Path, first: int, length: int) -> None:
    torn = LINES[-1][:first] + bytes(length) + LINES[-1][first + length :]
    contents = read(tmp_path, b"".join(LINES[:-1]) + torn)
    assert contents.history == History(base=BASE, base_generation=4, entries=HISTORY.entries[:-1])
    assert contents.cut_off == torn


@pytest.mark.parametrize("tail", [b"\0" * 5000, b"garbage\nmore of it", b"\xff" * 7])
def test_a_tail_that_never_was_a_line_is_cut(tmp_path: Path, tail: bytes) -> None:
    contents = read(tmp_path, WHOLE + tail)
    assert contents.history == HISTORY
    assert contents.cut_off == tail


@IN_PLACE
@given(at=st.integers(0, len(WHOLE) - 2), byte=st.integers(1, 255))
def test_a_wrong_byte_is_damage_though_it_be_in_the_last_line(tmp_path: Path, at: int, byte: int) -> None:
    """Only its line feed tells that the last line was finished, and a NUL that it was not."""
    data = bytearray(WHOLE)
    data[at] ^= byte
    if not data[at]:
        data[at] = 0xFF
    number = WHOLE.count(b"\n", 0, at) + 1
    with pytest.raises(CorruptJournal) as caught:
        read(tmp_path, bytes(data))
    assert caught.value.line == number
    assert str(caught.value).startswith(f"{tmp_path / 'journal'}: line {number}: ")
    assert "serve --state-from FILE" in str(caught.value)


def test_what_people_write_into_a_change_is_not_taken_for_the_next_one(tmp_path: Path) -> None:
    torn = entry_line(added(8, 'cluster add 00000000 {"generation":9, and {'), no_rest)[:-3]
    assert read(tmp_path, WHOLE + torn).history == HISTORY


def test_lost_lines_are_damage(tmp_path: Path) -> None:
    with pytest.raises(CorruptJournal, match="line 4: generation 7 stands where 6 belongs"):
        read(tmp_path, b"".join(LINES[:3] + LINES[4:]))


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "line 1: it is missing"),
        (LINES[0][:-1], "line 1: it breaks off"),
        (LINES[0], "line 2: it is missing"),
        (LINES[0] + LINES[1][:-1], "line 2: it breaks off"),
        (WHOLE + b"\n\n", "line 6: its checksum is wrong"),
        (LINES[0] + LINES[2], "line 2: it is no piece of a base State"),
        (b"#!/bin/sh\n", "line 1: its checksum is wrong"),
        (line({"format": "sozu_trio state"}), "line 1: it is not the header of a journal"),
        (line([]), "line 1: it is not the header of a journal"),
        (
            line({"format": "sozu_trio journal", "version": 2}),
            "line 1: it is a journal of version 2, and this program reads version 1",
        ),
        (WHOLE + line([]), "line 6: it is no transaction"),
        (WHOLE + line({"generation": 8, "surprise": 1}), "line 6: it is no transaction"),
        (WHOLE + line({"generation": 8, "parts": [{"surprise": 1}]}), "line 6: it is no difference of States"),
        (WHOLE + line({"generation": 8, "parts": 5}), "line 6: it is no transaction"),
        (LINES[0] + line({"state": {"gone_clusters": ["web"]}}), "line 2: the base State removes 'web'"),
        (b"%08x {\n" % zlib.crc32(b"{"), "line 1: its checksum is right, but it is no JSON"),
    ],
)
def test_what_is_no_journal(tmp_path: Path, data: bytes, what: str) -> None:
    with pytest.raises(CorruptJournal) as caught:
        read(tmp_path, data)
    assert what in str(caught.value)


def test_a_change_that_cannot_be_carried_out_is_found(tmp_path: Path) -> None:
    entries = (added(5), entry(6, Delta(gone_clusters=("nobody",))), added(7))
    broken = History(base=BASE, base_generation=4, entries=entries)
    with pytest.raises(CorruptJournal, match="line 4: what it changes is not there: KeyError"):
        read(tmp_path, b"".join(lines_of(broken)))


@IN_PLACE
@given(mangle=st.binary(max_size=80), at=st.integers(0, len(WHOLE)), cut=st.integers(0, 40))
def test_nothing_but_an_operators_error_comes_of_it(tmp_path: Path, mangle: bytes, at: int, cut: int) -> None:
    try:
        contents = read(tmp_path, WHOLE[:at] + mangle + WHOLE[at + cut :])
    except CorruptJournal:
        return
    assert contents.history.entries == HISTORY.entries[: len(contents.history.entries)]


def test_what_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="cannot be read: No such file"):
        read_journal(tmp_path / "missing")
    with pytest.raises(JournalError, match="cannot be read: Is a directory"):
        read_journal(tmp_path)


def tampered(change: Callable[[dict[str, object]], object]) -> bytes:
    document = json.loads(LINES[2][9:])
    change(document)
    return line(document)


def test_a_member_too_many_is_damage(tmp_path: Path) -> None:
    data = LINES[0] + LINES[1] + tampered(lambda members: members.update(surprise=1))
    with pytest.raises(CorruptJournal, match=r"line 3: it is no transaction: .*surprise"):
        read(tmp_path, data)
