"""What a saved state must not be written over."""

import os
from pathlib import Path

import pytest

from tests.main.running import running, write

OURS = {
    "state.json.journal": "the journal",
    "state.json.journal.lock": "the lock of the journal",
}


@pytest.mark.parametrize("alias", [False, True])
@pytest.mark.parametrize("name", OURS)
async def test_our_own_files_are_safe(tmp_path: Path, name: str, alias: bool) -> None:
    async with running(write(tmp_path)) as main:
        path = tmp_path / name
        before = path.read_bytes()
        if alias:
            path = tmp_path / "link"
            os.link(tmp_path / name, path)
        assert await main.refusal("state save", {"file": str(path)}) == (
            f"file: {path} is {OURS[name]} of this proxy; want another file"
        )
        assert (tmp_path / name).read_bytes() == before


@pytest.mark.parametrize("text", ["[[listeners]]\n", "root:x:0:0\n", " {}"])
async def test_other_files_are_safe(tmp_path: Path, text: str) -> None:
    path = tmp_path / "other"
    path.write_text(text)
    async with running(write(tmp_path)) as main:
        assert await main.refusal("state save", {"file": str(path)}) == (
            f"file: {path} is no saved state; want one to replace, or nothing there"
        )
    assert path.read_text() == text


async def test_the_runtime_directory_is_ours(tmp_path: Path) -> None:
    async with running(write(tmp_path)) as main:
        path = main.parts.config.program.runtime_directory / "saved"
        said = await main.refusal("state save", {"file": str(path)})
        assert said == f"file: {path} is in the runtime directory of this proxy; want a file outside of it"


async def test_a_saved_state_and_an_empty_file_are_replaced(tmp_path: Path) -> None:
    path = tmp_path / "saved"
    path.touch()
    async with running(write(tmp_path)) as main:
        for _ in range(2):
            await main.ask("state save", file=str(path))
        assert path.read_text().startswith("{")
        await main.ask("state save")
        assert (tmp_path / "state.json").read_text().startswith("{")
