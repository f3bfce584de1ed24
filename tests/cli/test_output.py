"""What ctl writes for people: colours for terminals only, nothing cut, nothing that commands a terminal."""

import json
import os
import pty
import sys

import pytest

from sozu_trio.cli.output import Output

WORKERS = {"main": {"pid": 1, "version": "0", "generation": 7}, "workers": [{"id": 0, "pid": 2, "state": "RUNNING"}]}


def on_a_terminal(monkeypatch: pytest.MonkeyPatch, verb: str, content: object) -> str:
    """What a person sees of an answer, control sequences included."""
    ours, theirs = pty.openpty()
    monkeypatch.setenv("TERM", "xterm-256color")
    with open(theirs, "w") as stream, open(ours, "rb", buffering=0) as shown:
        monkeypatch.setattr(sys, "stdout", stream)
        Output(as_json=False).answer(verb, "fine", content)
        return shown.read(65536).decode()


def test_colours_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[32mRUNNING" in on_a_terminal(monkeypatch, "status", WORKERS)


def test_no_colours_when_asked_not_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in on_a_terminal(monkeypatch, "status", WORKERS)


def test_a_narrow_terminal_cuts_no_id(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "40")
    long = "".join(map(chr, range(0x4E00, 0x4E00 + 50)))
    text = on_a_terminal(monkeypatch, "certificate list", {"certificates": [{"fingerprint": long, "address": "a"}]})
    assert "".join(each for each in text if each in long) == long


def test_a_pipe_gets_long_lines_without_colours(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "40")
    long = "cluster-" * 40
    Output(as_json=False).answer("backend list", "1 backends", {"backends": [{"cluster": long, "backend_id": "b"}]})
    lines = capfd.readouterr().out.splitlines()
    assert lines[0] == "1 backends"
    assert lines[2].startswith(f"{long}   b")
    assert "\x1b" not in "".join(lines)
    assert all(line == line.rstrip() for line in lines)


def test_names_command_no_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    output = Output(as_json=False)
    evil = "\x1b]0;owned\x07[red]x[/red]:smile:"
    output.answer("cluster list", f"a\n{evil}", {"clusters": [{"cluster_id": evil}, {"cluster_id": "b"}]})
    output.answer("unheard of", "done", {evil: evil, "list": [evil]})
    output.problem(f"x\n{evil}", None)
    out, err = capfd.readouterr()
    assert "\x1b" not in out + err
    assert "\x07" not in out + err
    assert out.count("\\x1b]0;owned\\x07[red]x[/red]:smile:") == 5
    assert err == "x\n\\x1b]0;owned\\x07[red]x[/red]:smile:\n"


@pytest.mark.parametrize("content", [{"backends": 5}, {"backends": [5]}, {"other": []}])
def test_what_is_not_as_expected_is_shown_as_it_came(content: object, capfd: pytest.CaptureFixture[str]) -> None:
    Output(as_json=False).answer("backend list", "done", content)
    first, _, rest = capfd.readouterr().out.partition("\n")
    assert (first, json.loads(rest)) == ("done", content)


@pytest.mark.parametrize("content", [None, {}, [], 5])
def test_without_content_there_is_the_message(content: object, capfd: pytest.CaptureFixture[str]) -> None:
    Output(as_json=False).answer("state stats", "done", content)
    assert capfd.readouterr().out == "done\n"


def test_json_is_ascii(capfd: pytest.CaptureFixture[str]) -> None:
    Output(as_json=True).answer("state stats", "done", {"é": "\x9b\u202e"})
    assert capfd.readouterr().out == '{\n  "\\u00e9": "\\u009b\\u202e"\n}\n'


def test_a_stream_that_knows_no_unicode(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    with open(reader, "rb") as ours:
        with open(writer, "w", encoding="ascii") as theirs:
            monkeypatch.setattr(sys, "stdout", theirs)
            Output(as_json=False).answer(
                "tree", "é", {"main": {"name": "ü", "children": [{"name": "x"}]}, "workers": []}
            )
        assert ours.read() == b"\\xe9\n\\xfc\n`-- x\n"
