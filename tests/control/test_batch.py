"""Files of changes: JSON or TOML by ending or content, with a clear word for what is neither."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sozu_trio.control.batch import decoded, read_batch
from sozu_trio.errors import OperatorError

CHANGES = {"changes": [{"verb": "backend add", "id": "api", "weight": 5, "backup": True}]}
JSON = '{"changes": [{"verb": "backend add", "id": "api", "weight": 5, "backup": true}]}'
TOML = '[[changes]]\nverb = "backend add"\nid = "api"\nweight = 5\nbackup = true\n'


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize(
    ("name", "text"), [("a.json", JSON), ("a.toml", TOML), ("a", JSON), ("a", TOML), ("a", f"\n {JSON}"), ("-", TOML)]
)
def test_a_batch(name: str, text: str, mark: bytes) -> None:
    assert read_batch(name, mark + text.encode()) == CHANGES


def test_a_date_is_left_to_main() -> None:
    text = b'[[changes]]\nverb = "cluster add"\nid = 2026-01-31\n'
    assert read_batch("a", text) == {"changes": [{"verb": "cluster add", "id": "2026-01-31"}]}


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
def test_what_is_no_batch(name: str, content: bytes, said: str) -> None:
    with pytest.raises(OperatorError) as error:
        read_batch(name, content)
    assert str(error.value).startswith(f"{name}: ")
    assert said in str(error.value)


@given(st.sampled_from(["a.json", "a.toml", "a"]), st.binary(max_size=200))
def test_whatever_a_file_holds_it_is_a_batch_or_refused(name: str, content: bytes) -> None:
    try:
        said = f"{name}: " if "changes" in read_batch(name, content) else ""
    except OperatorError as error:
        said = str(error)
    assert said.startswith(f"{name}: ")


def test_text() -> None:
    assert decoded("a", b"\xef\xbb\xbf\xc3\xbc") == "ü"
