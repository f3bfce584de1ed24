"""Files that ctl reads, or leaves to the proxy where they are too large for a request."""

import io
import sys
from pathlib import Path

import pytest

from sozu_trio.cli.ctl_files import changes_or_file, content_or_file, read_changes, read_saved_state, read_text_file
from sozu_trio.control.protocol import Request, write_request
from sozu_trio.errors import OperatorError

CHANGES = {"changes": [{"verb": "cluster add", "id": "api"}]}
TOML = '[[changes]]\nverb = "cluster add"\nid = "api"\n'


def test_a_batch_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(TOML.encode())))
    body = read_changes({"file": "-"})
    assert body == {"document": CHANGES, "file": None}
    assert changes_or_file(body, 1000) == CHANGES
    with pytest.raises(OperatorError, match=r"the proxy takes 10 .*; want a file, .*: apply -f FILE"):
        changes_or_file(body, 10)


def test_a_batch_goes_as_it_is_as_long_as_it_fits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "batch").write_text(TOML)
    body = read_changes({"file": "batch"})
    size = len(write_request(Request(id=1, verb="apply", body=CHANGES))) - 1
    assert changes_or_file(body, None) == changes_or_file(body, size) == CHANGES
    assert changes_or_file(body, size - 1) == {"file": str(tmp_path / "batch")}


def test_a_batch_that_is_none_is_told_by_the_name_that_was_typed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "batch.json").write_text("{")
    with pytest.raises(OperatorError, match=r"^batch\.json: not JSON: "):
        read_changes({"file": "batch.json"})


def test_a_saved_state_goes_as_text_as_long_as_it_fits(tmp_path: Path) -> None:
    file = tmp_path / "state"
    file.write_text("ü\n\0", encoding="utf-8")
    body = read_saved_state({"file": str(file), "skip-unknown": True})
    text = {"content": "ü\n\0", "skip-unknown": True}
    size = len(write_request(Request(id=1, verb="state load", body=text))) - 1
    assert content_or_file(body, None) == content_or_file(body, size) == text
    assert content_or_file(body, size - 1) == {"file": str(file), "skip-unknown": True}


@pytest.mark.parametrize("path", ["/nowhere/file", "/", "nul\0"])
def test_what_cannot_be_read(path: str) -> None:
    with pytest.raises(OperatorError, match="cannot be read: "):
        read_text_file(path)
