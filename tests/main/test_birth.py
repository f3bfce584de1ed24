"""What main begins with, and that nothing acknowledged is lost on the way from one life to the next."""

import contextlib
import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from sozu_trio.config.load import load_config
from sozu_trio.control.heirlooms import Heirlooms
from sozu_trio.control.journal import Journal
from sozu_trio.control.saved_state import dump_document
from sozu_trio.control.write import SUFFIX
from sozu_trio.errors import ChangeRefused, CorruptJournal, JournalError, OperatorError
from sozu_trio.main.birth import NO_STATE, Beginning, begin, go_on
from sozu_trio.main.declared import declared_by
from sozu_trio.routing.state import EMPTY, State, with_declared
from tests.main.looking_parts import AskedMain
from tests.main.running import GLOBALS, HTTP, SERVICES, TCP, objects, running, write

WITHOUT_JOURNAL = GLOBALS.replace("automatic_state_save = true", "")
JOURNAL = "state.json.journal"
OVER_THE_SOCKET: tuple[dict[str, Any], ...] = (
    {"verb": "cluster add", "id": "new"},
    {"verb": "backend add", "id": "new", "address": "127.0.0.1:9", "backend-id": "new-1"},
    {"verb": "backend update", "id": "api", "backend-id": "api-1", "weight": 7},
    {"verb": "frontend tcp remove", "address": TCP},
)


async def start(file: Path, state_from: str | None = None) -> Beginning:
    return await begin(load_config(file), state_from)


def declared(file: Path) -> State:
    """What a start from the file alone begins with."""
    state = declared_by(load_config(file))
    return with_declared(state, state)


def in_force(main: AskedMain) -> tuple[State, int]:
    return main.parts.transactions.state, main.parts.transactions.generation


async def live(file: Path, *changes: Mapping[str, Any], state_from: str | None = None) -> tuple[State, int]:
    """One life of main; returns how it ended."""
    async with running(file, state_from) as main:
        for change in changes:
            await main.apply(change)
        return in_force(main)


def kept(directory: Path) -> list[Path]:
    """Journals that were put aside."""
    return sorted(directory.glob(f"{JOURNAL}.aside-*"))


async def test_the_first_start_begins_with_the_file_and_a_journal_of_it(tmp_path: Path) -> None:
    file = write(tmp_path)
    beginning = await start(file)
    assert (beginning.state, beginning.generation) == (declared(file), 1)
    assert not (tmp_path / JOURNAL).exists()
    await beginning.record()
    beginning.close()
    journal = Journal.open(tmp_path / JOURNAL)
    journal.close()
    assert (journal.history.state_at(1), journal.history.entries) == (declared(file), ())
    assert os.listdir(tmp_path / "sozu.sock.d") == []


async def test_what_never_began_need_not_be_recorded(tmp_path: Path) -> None:
    file = write(tmp_path)
    beginning = await start(file)
    beginning.close()
    assert sorted(os.listdir(tmp_path)) == sorted([file.name, f"{JOURNAL}.lock", "sozu.sock.d"])


async def test_the_next_start_goes_on_where_the_last_one_ended(tmp_path: Path) -> None:
    file = write(tmp_path)
    state, generation = await live(file, *OVER_THE_SOCKET)
    assert generation == 5
    assert await live(file) == (state, generation)
    beginning = await start(file)
    assert beginning.entry is None
    written = (tmp_path / JOURNAL).read_bytes()
    await beginning.record()
    beginning.close()
    assert (tmp_path / JOURNAL).read_bytes() == written


async def test_what_has_changed_in_the_file_comes_on_top_and_the_rest_survives(tmp_path: Path) -> None:
    """A change over the socket gives way only where the file itself says something new."""
    file = write(tmp_path)
    await live(file, *OVER_THE_SOCKET)
    text = SERVICES.replace('"api.example", path = "/v1"', '"api.example", path = "/v2"')
    web = '[clusters.web]\nprotocol = "http"\nbackends = [{ address = "127.0.0.1:7", backend_id = "web-1" }]\n'
    write(tmp_path, 'log_level = "warn"\n' + GLOBALS + text + web)
    async with running(file) as main:
        assert in_force(main)[1] == 6
        assert objects(main) == {
            "listeners": [HTTP, TCP],
            "clusters": ["api", "relay", "web", "new"],
            "frontends": ["api.example/v2"],
            "backends": ["api-1", "relay-1", "new-1", "web-1"],
        }
        state = main.parts.transactions.state
        assert state.backends["api"]["api-1"].weight == 7
        assert state.settings.log_level == "warn"
        assert with_declared(EMPTY, state.declared) == with_declared(EMPTY, declared(file))
        entry = main.parts.journal.history.entries[-1]
        assert (entry.generation, entry.what) == (6, "start: what has changed in the file")
        assert (entry.uid, entry.pid, entry.process) == (os.getuid(), os.getpid(), "start")
        await main.ask("rollback", generation=5)
        assert main.parts.transactions.state.settings.log_level == "info"
    assert (await live(file))[1] == 7


async def test_a_start_that_fails_writes_nothing_down(tmp_path: Path) -> None:
    file = write(tmp_path)
    await live(file, *OVER_THE_SOCKET)
    written = (tmp_path / JOURNAL).read_bytes()
    beginning = await start(write(tmp_path, GLOBALS))
    assert beginning.generation == 6
    beginning.close()
    assert (tmp_path / JOURNAL).read_bytes() == written


async def test_the_file_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = write(tmp_path)
    await live(file, *OVER_THE_SOCKET)
    written = (tmp_path / JOURNAL).read_bytes()
    (tmp_path / "state.json").write_text("nobody reads this")
    beginning = await start(file, NO_STATE)
    assert (beginning.state, beginning.generation) == (declared(file), 1)
    assert (kept(tmp_path), (tmp_path / JOURNAL).read_bytes()) == ([], written)
    with caplog.at_level(logging.WARNING):
        await beginning.record()
    beginning.close()
    (aside,) = kept(tmp_path)
    assert aside.read_bytes() == written
    assert f"starting from none; the journal is kept as {aside}" in caplog.text
    assert await live(file) == (declared(file), 1)


async def test_what_a_dead_process_left_is_removed(tmp_path: Path) -> None:
    left = [tmp_path / f".{name}.x1{SUFFIX}" for name in ("state.json", JOURNAL)]
    other = tmp_path / f".other.x1{SUFFIX}"
    for each in (*left, other):
        each.touch()
    await live(write(tmp_path))
    assert [each.exists() for each in (*left, other)] == [False, False, True]


async def test_a_saved_state_instead_of_the_journal(tmp_path: Path) -> None:
    file = write(tmp_path)
    saved = tmp_path / "backup.json"
    async with running(file) as main:
        await main.apply(OVER_THE_SOCKET[0])
        await main.ask("state save", file=str(saved))
        await main.apply(OVER_THE_SOCKET[1])
    async with running(file, str(saved)) as main:
        assert in_force(main)[1] == 1
        assert objects(main)["clusters"] == ["api", "relay", "new"]
        assert objects(main)["backends"] == ["api-1", "relay-1"]
        assert main.parts.journal.history.entries == ()
        state = main.parts.transactions.state
    assert len(kept(tmp_path)) == 1
    assert await live(file) == (state, 1)


async def test_a_saved_state_that_cannot_be_used_leaves_the_journal_alone(tmp_path: Path) -> None:
    file = write(tmp_path)
    end = await live(file, *OVER_THE_SOCKET)
    with pytest.raises(OperatorError, match=r"^cannot read the saved state .*/none\.json: No such file"):
        await start(file, str(tmp_path / "none.json"))
    bad = tmp_path / "bad.json"
    bad.write_text('{"format": "sozu_trio state", "version": 1, "clusters": [7], "backends": [{}]}')
    with pytest.raises(ChangeRefused) as caught:
        await start(file, str(bad))
    assert len(caught.value.problems) > 1
    assert all(problem.where == str(bad) for problem in caught.value.problems)
    unbuilt = tmp_path / "sozu.json"
    unbuilt.write_text('{"id":"SAVE-0","content":{"request_type":{"ADD_CERTIFICATE":{}}}}\n\0')
    with pytest.raises(ChangeRefused, match=f"^{unbuilt}: "):
        await start(file, str(unbuilt))
    assert kept(tmp_path) == []
    assert await live(file) == end


async def test_a_start_that_fails_after_the_saved_state_was_read_leaves_the_journal_alone(tmp_path: Path) -> None:
    file = write(tmp_path)
    end = await live(file, *OVER_THE_SOCKET)
    (await start(file, NO_STATE)).close()
    assert await live(file) == end


@pytest.mark.parametrize("content", [b"", b"nonsense\n", None])
async def test_a_journal_that_cannot_be_relied_on_is_refused_with_a_way_out(
    tmp_path: Path, content: bytes | None
) -> None:
    file, journal = write(tmp_path), tmp_path / JOURNAL
    await live(file, *OVER_THE_SOCKET)
    lines = journal.read_bytes().splitlines(keepends=True)
    damaged = b"".join([*lines[:-2], lines[-2][:20] + b"?" + lines[-2][21:], lines[-1]]) if content is None else content
    journal.write_bytes(damaged)
    with pytest.raises(CorruptJournal) as caught:
        await start(file)
    refusal = str(caught.value)
    assert refusal.startswith(f"{journal}: line {len(lines) - 1 if content is None else 1}: ")
    assert "--state-from FILE" in refusal
    assert "--state-from none" in refusal
    assert journal.read_bytes() == damaged
    assert await live(file, state_from=NO_STATE) == (declared(file), 1)
    (aside,) = kept(tmp_path)
    assert aside.read_bytes() == damaged


async def test_a_change_that_was_never_finished_was_never_made(tmp_path: Path) -> None:
    file, journal = write(tmp_path), tmp_path / JOURNAL
    before, _ = await live(file, *OVER_THE_SOCKET[:-1])
    await live(file, OVER_THE_SOCKET[-1])
    os.truncate(journal, journal.stat().st_size - 3)
    assert await live(file) == (before, 4)


async def test_without_a_journal_each_life_begins_with_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, WITHOUT_JOURNAL + SERVICES)
    state, generation = await live(file, *OVER_THE_SOCKET)
    assert (state != declared(file), generation) == (True, 5)
    assert sorted(os.listdir(tmp_path)) == [file.name, "sozu.sock.d"]
    assert (tmp_path / "sozu.sock.d").stat().st_mode & 0o777 == 0o700
    async with running(file) as main:
        assert in_force(main) == (declared(file), 1)
        await main.apply(OVER_THE_SOCKET[0])
        await main.ask("rollback", generation=1)
        assert main.parts.transactions.state == declared(file)
    (tmp_path / "sozu.sock.d" / "journal").write_text("nobody reads this")
    assert await live(file) == (declared(file), 1)


@pytest.mark.parametrize("text", [GLOBALS, WITHOUT_JOURNAL])
async def test_a_saved_state_comes_on_top_of_the_file_as_if_over_the_socket(tmp_path: Path, text: str) -> None:
    """Where there is no journal: a proxy that moves here brings its state along."""
    file = write(tmp_path, text + SERVICES)
    async with running(file) as main:
        await main.apply(*OVER_THE_SOCKET)
        await main.ask("state save")
    (tmp_path / JOURNAL).unlink(missing_ok=True)
    async with running(file) as main:
        assert in_force(main)[1] == 1
        assert objects(main)["clusters"] == ["api", "relay", "new"]
        state = main.parts.transactions.state
        assert state.backends["api"]["api-1"].weight == 7
        assert state.declared == with_declared(EMPTY, declared(file)).declared
        await main.ask("reload", prune=True)
        assert main.parts.transactions.state == declared(file)


@pytest.mark.parametrize("content", [None, ""])
async def test_a_saved_state_that_is_not_there_yet_is_none(tmp_path: Path, content: str | None) -> None:
    """Sōzu, too, begins with an empty file."""
    file = write(tmp_path)
    if content is not None:
        (tmp_path / "state.json").write_text(content)
    assert await live(file) == (declared(file), 1)


async def test_a_saved_state_of_the_configuration_that_cannot_be_used(tmp_path: Path) -> None:
    file = write(tmp_path)
    (tmp_path / "state.json").write_text("nonsense")
    with pytest.raises(ChangeRefused, match=r"/state\.json: no saved state"):
        await start(file)
    assert await live(file, state_from=NO_STATE) == (declared(file), 1)


@pytest.mark.parametrize("text", [GLOBALS, WITHOUT_JOURNAL])
async def test_names_that_no_file_can_have(tmp_path: Path, text: str) -> None:
    file = write(tmp_path, text.replace("state.json", "s" * 300))
    with pytest.raises(OperatorError, match=r"^saved_state: cannot (make|read) .*: File name too long$"):
        await start(file)


async def test_a_runtime_directory_that_cannot_be_made(tmp_path: Path) -> None:
    file = write(tmp_path, WITHOUT_JOURNAL)
    (tmp_path / "sozu.sock.d").write_text("a file")
    with pytest.raises(OperatorError, match=f"^runtime_directory: cannot make {tmp_path}/sozu.sock.d: File exists"):
        await start(file)


async def test_a_journal_that_cannot_be_made_keeps_it_from_starting(tmp_path: Path) -> None:
    file = write(tmp_path)
    beginning = await start(file)
    (tmp_path / JOURNAL).mkdir()
    with pytest.raises(JournalError, match="cannot be written: Is a directory"):
        await beginning.record()
    beginning.close()


async def test_what_does_not_fit_the_file_any_more_is_warned_of_and_serves_nobody(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A start never fails for what came over the socket."""
    added: tuple[dict[str, Any], ...] = (
        {"verb": "cluster add", "id": "web"},
        {"verb": "frontend http add", "address": HTTP, "hostname": "a.example", "cluster": "web"},
        {"verb": "backend add", "id": "web", "address": "127.0.0.1:9", "backend-id": "web-1"},
    )
    await live(write(tmp_path), *added)
    file = write(tmp_path, GLOBALS + SERVICES + '[clusters.web]\nprotocol = "tcp"\n')
    warning = (
        f"http frontend a.example at {HTTP}: found 'web', a tcp cluster; want one that speaks http; "
        "it serves nobody as long as that is so"
    )
    for _ in range(2):
        caplog.clear()
        async with running(file) as main:
            assert f"a.example at {HTTP}" in (await main.refusal("reload"))
            explained = await main.ask("explain", url="http://a.example", listener=HTTP)
            assert [(each["candidate"], each["why"]) for each in explained["backends"]] == [
                (False, "cluster web speaks tcp, and this listener http")
            ]
        assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [warning]


async def test_two_mains_never_share_a_journal(tmp_path: Path) -> None:
    file = write(tmp_path)
    beginning = await start(file)
    with pytest.raises(
        OperatorError, match=rf"another sozu_trio \(pid {os.getpid()}\) keeps its journal at .*{JOURNAL}"
    ):
        await start(file)
    beginning.close()
    (await start(file)).close()


async def test_a_new_journal_that_cannot_be_made_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever ends the process in the middle: at no moment is there none."""
    file = write(tmp_path)
    state, generation = await live(file, *OVER_THE_SOCKET)
    beginning = await start(file, NO_STATE)
    with monkeypatch.context() as patched:
        patched.setattr(Journal, "create", refuse)
        with pytest.raises(ZeroDivisionError):
            await beginning.record()
    beginning.close()
    assert await live(file) == (state, generation)


def refuse(*_: object) -> None:
    raise ZeroDivisionError


async def test_a_saved_state_with_directives_that_are_none_is_refused_with_its_place(tmp_path: Path) -> None:
    file = write(tmp_path)
    (tmp_path / "state.json").write_text(
        json.dumps(dump_document(EMPTY, 1, secrets=True) | {"settings": {"log_level": "blurb=zz=1"}})
    )
    with pytest.raises(ChangeRefused, match=r"state\.json: settings\.log_level: log directives 'blurb=zz=1'"):
        await start(file)


async def test_the_next_image_of_main_goes_on_where_the_one_before_was_whatever_the_file_says_now(
    tmp_path: Path,
) -> None:
    file = write(tmp_path)
    before = await live(file, *OVER_THE_SOCKET)
    heirlooms = Heirlooms()
    config = load_config(file)
    with contextlib.closing(await begin(config, heirlooms=heirlooms)):
        left = Heirlooms({name: os.dup(descriptor) for name, descriptor in heirlooms.held.items()})
        file.write_text(GLOBALS)
        beginning = await go_on(config.program, left)
        assert (beginning.state, beginning.generation) == before
        assert beginning.recorded().history.generation == before[1]
        beginning.close()
        with pytest.raises(OperatorError, match="keeps its journal at"):
            await begin(config)
        left.settle()
