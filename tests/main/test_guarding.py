"""What a saved state must not be written over."""

import os
import socket
from pathlib import Path

import pytest

from tests.main.running import GLOBALS, SERVICES, running, write

LOGS = """
pid_file_path = "proxy.pid"
log_target = "file://main.log"
access_logs_target = "file://access.log"
audit_logs_target = "file://audit.log"
audit_logs_json_target = "unix://audit.sock"
"""
OURS = {
    "state.json.journal": "the journal",
    "state.json.journal.lock": "the lock of the journal",
    "sozu.sock": "the control socket",
    "sozu.sock.lock": "the lock of the control socket",
    "sozu.sock.new": "the control socket in the making",
    "proxy.toml": "the configuration file",
    "proxy.pid": "the pid file",
    "main.log": "a log target",
    "access.log": "a log target",
    "audit.log": "a log target",
    "audit.sock": "a log target",
}
EMPTY_STATE = '{"format": "sozu_trio state", "version": 1}'
SOZUS = '{"id":"SAVE-0","content":{"request_type":{"ADD_CLUSTER":{}}}}\n\0'


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("name", OURS)
async def test_our_own_files_are_safe(tmp_path: Path, name: str, there: bool) -> None:
    """Also where they are not there yet, or hold what looks like a saved state, and by whatever path."""
    (tmp_path / "same").symlink_to(tmp_path)
    async with running(write(tmp_path, GLOBALS + LOGS + SERVICES)) as main:
        if there and not (tmp_path / name).exists():
            (tmp_path / name).write_text(EMPTY_STATE)
        before = content(tmp_path / name)
        for path in (tmp_path / name, tmp_path / "same" / name, tmp_path / "same" / ".." / tmp_path.name / name):
            assert await main.refusal("state save", {"file": str(path)}) == (
                f"file: {path} is {OURS[name]} of this proxy; want another file"
            )
        assert content(tmp_path / name) == before


def content(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None


@pytest.mark.parametrize("make", [os.link, os.symlink])
@pytest.mark.parametrize("name", ["state.json.journal", "state.json.journal.lock", "proxy.toml"])
async def test_nor_by_another_name(tmp_path: Path, name: str, make: object) -> None:
    assert callable(make)
    async with running(write(tmp_path)) as main:
        path = tmp_path / "other"
        make(tmp_path / name, path)
        said = await main.refusal("state save", {"file": str(path)})
        assert said == f"file: {path} is {OURS[name]} of this proxy; want another file"
        assert path.samefile(tmp_path / name)


async def test_journals_put_aside_are_safe(tmp_path: Path) -> None:
    async with running(write(tmp_path)) as main:
        path = tmp_path / "state.json.journal.aside-20260101T000000Z"
        said = await main.refusal("state save", {"file": str(path)})
        assert said == f"file: {path} is a name of this proxy's for journals put aside; want another file"


@pytest.mark.parametrize("text", ["[[listeners]]\n", "root:x:0:0\n", " {}", '{"changes": []}', '"format"'])
async def test_other_files_are_safe(tmp_path: Path, text: str) -> None:
    path = tmp_path / "other"
    path.write_text(text)
    async with running(write(tmp_path)) as main:
        assert await main.refusal("state save", {"file": str(path)}) == (
            f"file: {path} is no saved state; want one to replace, or nothing there"
        )
    assert path.read_text() == text


async def test_what_is_no_file_is_safe(tmp_path: Path) -> None:
    pipe, there, link = tmp_path / "pipe", tmp_path / "there", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to(tmp_path / "nowhere")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(there))
    async with running(write(tmp_path)) as main:
        for path in (pipe, there, tmp_path, Path("/dev/null")):
            said = await main.refusal("state save", {"file": str(path)})
            assert said == f"file: {path} is no regular file; want a saved state to replace, or nothing there"
        said = await main.refusal("state save", {"file": str(link)})
        assert said == f"file: {link} is a symbolic link; want the path of the file itself"
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("there", [False, True])
async def test_the_runtime_directory_is_ours(tmp_path: Path, there: bool) -> None:
    async with running(write(tmp_path)) as main:
        directory = main.parts.config.program.runtime_directory
        if there:
            (directory / "deeper").mkdir(parents=True)
        path = directory / "deeper" / "saved"
        said = await main.refusal("state save", {"file": str(path)})
        assert said == f"file: {path} is in the runtime directory of this proxy; want a file outside of it"


async def test_the_saved_state_of_the_configuration_may_be_there(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    text = 'runtime_directory = "run"\n' + GLOBALS.replace('"state.json"', '"run/state.json"')
    async with running(write(tmp_path, text + SERVICES)) as main:
        assert (await main.ask("state save"))["path"] == str(tmp_path / "run" / "state.json")


@pytest.mark.parametrize("text", ["", EMPTY_STATE, "\ufeff\n" + EMPTY_STATE, SOZUS])
async def test_a_saved_state_and_an_empty_file_are_replaced(tmp_path: Path, text: str) -> None:
    path = tmp_path / "saved"
    path.write_text(text)
    async with running(write(tmp_path)) as main:
        for _ in range(2):
            assert (await main.ask("state save", file=str(path)))["objects"] == 8
        assert path.read_text().startswith("{\n")
        await main.ask("state save")
        assert (tmp_path / "state.json").read_text() == path.read_text()
