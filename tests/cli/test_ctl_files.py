"""Files that ctl reads: JSON or TOML by ending or content, with a clear word for what is neither."""

import io
import sys
from pathlib import Path

import pytest

from sozu_trio.cli.ctl_files import content_or_file, read_batch, read_saved_state, read_text_file
from sozu_trio.control.protocol import Request, write_request
from sozu_trio.errors import OperatorError

CHANGES = {"changes": [{"verb": "backend add", "id": "api", "weight": 5, "backup": True}]}
JSON = '{"changes": [{"verb": "backend add", "id": "api", "weight": 5, "backup": true}]}'
TOML = '[[changes]]\nverb = "backend add"\nid = "api"\nweight = 5\nbackup = true\n'


@pytest.mark.parametrize(
    ("name", "text"), [("a.json", JSON), ("a.toml", TOML), ("a", JSON), ("a", TOML), ("a", f"\n {JSON}")]
)
def test_a_batch(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert read_batch(str(tmp_path / name)) == CHANGES


@pytest.mark.parametrize("text", [JSON, TOML])
def test_from_standard_input(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert read_batch("-") == CHANGES


def test_a_date_is_left_to_the_proxy(tmp_path: Path) -> None:
    (tmp_path / "a").write_text('[[changes]]\nverb = "cluster add"\nid = 2026-01-31\n')
    assert read_batch(str(tmp_path / "a")) == {"changes": [{"verb": "cluster add", "id": "2026-01-31"}]}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.json", b"{", "not JSON: "),
        ("a.json", b"[]", "want an object or table whose member `changes` is an array"),
        ("a", b'[{"verb": "x"}]', "want an object or table whose member `changes`"),
        ("a.json", b"{}", "changes: missing"),
        ("a.toml", b"", "changes: missing"),
        ("a.json", b'{"changes": [], "changes": []}', "a member occurs twice"),
        ("a.toml", b"[[changes]\n", "line 1"),
        ("a.toml", b"[[changes]]\nweight = nan\n", "not finite"),
        ("a.toml", b"x = " + b"[" * 5000, "nested too deeply"),
        ("a.json", b"\xff", "found a byte that is not UTF-8 at byte 1"),
    ],
)
def test_what_is_no_batch(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(OperatorError) as error:
        read_batch(str(file))
    assert str(error.value).startswith(f"{file}: ")
    assert said in str(error.value)


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
