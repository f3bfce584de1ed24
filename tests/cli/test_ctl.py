"""`ctl` from its words to its exit code, against a proxy that says what the test wrote down."""

import io
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from sozu_trio.cli import main
from sozu_trio.control.protocol import IN_MESSAGE
from tests.cli.scripted import HELLO, ScriptedProxy, failure, ok, processing

Capture = pytest.CaptureFixture[str]
ADD = ["backend", "add", "--id", "api", "--backend-id", "api-1", "--address", "127.0.0.1:9000", "--weight", "50"]


def ctl(proxy: ScriptedProxy, *words: str) -> int:
    return main(["ctl", "--socket", str(proxy.path), *words])


def test_a_change(proxy: ScriptedProxy, capfd: Capture) -> None:
    proxy.script = [ok("backend add: done", {"generation": 7})]
    assert ctl(proxy, *ADD) == 0
    body = {"id": "api", "backend-id": "api-1", "address": "127.0.0.1:9000", "weight": 50}
    assert proxy.asked == [("backend add", body)]
    assert capfd.readouterr() == ("backend add: done\ngeneration   7\n", "")


@pytest.mark.parametrize("content", [None, {}, {"workers": [{"id": 0}], "main": {"pid": 1}}])
def test_json_is_the_content_alone(proxy: ScriptedProxy, content: object, capfd: Capture) -> None:
    proxy.script = [ok("generation 7", content)]
    assert ctl(proxy, "status", "--json") == 0
    out, err = capfd.readouterr()
    assert (json.loads(out), err) == (content or {}, "")


def test_json_tells_nothing_of_what_comes_before_the_end(proxy: ScriptedProxy, capfd: Capture) -> None:
    proxy.script = [processing("2 sessions left", {"sessions": 2}), ok("stopped", {"cut": 0})]
    assert ctl(proxy, "--json", "shutdown") == 0
    assert json.loads(capfd.readouterr().out) == {"cut": 0}


def test_people_see_how_it_goes(proxy: ScriptedProxy, capfd: Capture) -> None:
    proxy.script = [processing("2 sessions left"), processing("1 session left"), ok("stopped: 0 sessions cut")]
    assert ctl(proxy, "shutdown", "--drain-timeout", "2.5") == 0
    assert proxy.asked == [("shutdown", {"drain-timeout": 2.5})]
    assert capfd.readouterr().out == "2 sessions left\n1 session left\nstopped: 0 sessions cut\n"


PROBLEMS = {"problems": [{"where": "weight", "what": "found 900; want 0 to 255"}, {"where": "id", "what": "missing"}]}
SAID = "weight: found 900; want 0 to 255\nid: missing"


def test_a_refusal_says_every_problem(proxy: ScriptedProxy, capfd: Capture) -> None:
    proxy.script = [failure(SAID, PROBLEMS)]
    assert ctl(proxy, *ADD) == 1
    assert capfd.readouterr() == ("", f"{SAID}\n")
    assert ctl(proxy, *ADD, "--json") == 1
    out, err = capfd.readouterr()
    assert (json.loads(out), err) == (PROBLEMS, f"{SAID}\n")


def test_people_see_all_problems_though_the_message_names_but_some(proxy: ScriptedProxy, capfd: Capture) -> None:
    problems = [{"where": f"changes[{number}]", "what": "missing verb"} for number in range(IN_MESSAGE + 1)]
    proxy.script = [failure("changes[0]: missing verb\nand 20 more", {"problems": problems})]
    assert ctl(proxy, *ADD) == 1
    assert capfd.readouterr().err == "".join(f"{each['where']}: missing verb\n" for each in problems)


@pytest.mark.parametrize("problems", [7, [7] * (IN_MESSAGE + 1), [{"what": "alone"}]])
def test_else_the_message_stands(proxy: ScriptedProxy, problems: object, capfd: Capture) -> None:
    proxy.script = [failure("no", {"problems": problems})]
    assert ctl(proxy, *ADD) == 1
    assert capfd.readouterr().err == "no\n"


def test_a_refusal_without_content_is_a_document_too(proxy: ScriptedProxy, capfd: Capture) -> None:
    proxy.script = [failure("not built yet: upgrading")]
    assert ctl(proxy, "--json", "upgrade") == 1
    assert json.loads(capfd.readouterr().out) == {"problems": [{"where": "", "what": "not built yet: upgrading"}]}


def test_what_is_in_force_all_the_same_is_said_beside_the_problem(proxy: ScriptedProxy, capfd: Capture) -> None:
    proxy.script = [failure("not yet", {"generation": 9, "in_force": True})]
    assert ctl(proxy, "--json", "rollback", "7") == 1
    assert json.loads(capfd.readouterr().out) == {
        "problems": [{"where": "", "what": "not yet"}],
        "generation": 9,
        "in_force": True,
    }


@pytest.mark.parametrize(("difference", "code"), [(True, 3), (False, 0)])
def test_plan_tells_by_its_exit_code(proxy: ScriptedProxy, difference: bool, code: int) -> None:
    proxy.script = [ok("plan", {"generation": 7, "difference": difference, "changes": [], "notices": []})]
    assert ctl(proxy, "plan") == code
    assert ctl(proxy, "--json", "plan") == code


def test_a_drain_may_take_as_long_as_it_likes(proxy: ScriptedProxy, tmp_path: Path, capfd: Capture) -> None:
    (tmp_path / "config.toml").write_text(f'command_socket = "{proxy.path}"\nctl_command_timeout = 50')
    words = ["-c", str(tmp_path / "config.toml"), "listener", "deactivate", "--address", "127.0.0.1:80"]
    proxy.script = [processing("1 session left, 5 s"), lambda: time.sleep(0.3), ok("done", {"generation": 2, "cut": 0})]
    assert main(["ctl", *words, "--drain", "--drain-timeout", "5"]) == 0
    body = {"address": "127.0.0.1:80", "drain": True, "drain-timeout": 5}
    assert proxy.asked == [("listener deactivate", body)]
    assert capfd.readouterr().out.splitlines()[:2] == ["1 session left, 5 s", "done"]


def test_paths_for_main_are_sent_absolute(
    proxy: ScriptedProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for verb in ("reload", "plan", "state save"):
        ctl(proxy, *verb.split(), "-f", "sub/../there")
    assert [body for _, body in proxy.asked] == [{"file": str(tmp_path / "there")}] * 3


def test_files_for_ctl_are_sent_as_text(proxy: ScriptedProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "batch.toml").write_text('[[changes]]\nverb = "cluster add"\nid = "api"\n')
    (tmp_path / "state").write_bytes(b'{"id":"SAVE-0"}\n\0')
    assert ctl(proxy, "apply", "-f", "batch.toml") == 0
    assert ctl(proxy, "state", "load", "-f", "state", "--skip-unknown") == 0
    assert proxy.asked == [
        ("apply", {"changes": [{"verb": "cluster add", "id": "api"}]}),
        ("state load", {"content": '{"id":"SAVE-0"}\n\0', "skip-unknown": True}),
    ]


def test_what_is_wrong_with_a_saved_state_is_told_with_its_file(
    proxy: ScriptedProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "state").write_text("{")
    problems = [{"where": "", "what": "no saved state"}, {"where": "a[0]", "what": "missing"}]
    proxy.script = [failure("no saved state\na[0]: missing", {"problems": problems})]
    assert ctl(proxy, "state", "load", "-f", "state") == 1
    assert capfd.readouterr().err == "state: no saved state\nstate: a[0]: missing\n"
    proxy.script = [failure("read-only: uid 7 may only look")]
    assert ctl(proxy, "state", "load", "-f", "state") == 1
    assert capfd.readouterr().err == "read-only: uid 7 may only look\n"


def test_a_state_too_large_for_a_request_is_left_to_the_proxy(
    proxy: ScriptedProxy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "state").write_text("x" * 500)
    proxy.greeting = limited_to(500)
    assert ctl(proxy, "state", "load", "-f", "state", "--skip-unknown") == 0
    assert proxy.asked == [("state load", {"file": str(tmp_path / "state"), "skip-unknown": True})]


def test_a_batch_too_large_for_a_request_is_left_to_the_proxy(proxy: ScriptedProxy, tmp_path: Path) -> None:
    (tmp_path / "batch.toml").write_text('[[changes]]\nverb = "cluster add"\nid = "api"\n' * 20)
    proxy.greeting = limited_to(500)
    assert ctl(proxy, "apply", "-f", "batch.toml") == 0
    assert proxy.asked == [("apply", {"file": str(tmp_path / "batch.toml")})]


def test_a_batch_too_large_on_standard_input_is_refused(
    proxy: ScriptedProxy, capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = json.dumps({"changes": ["x" * 500]}).encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))
    proxy.greeting = limited_to(500)
    assert ctl(proxy, "apply", "-f", "-") == 1
    err = capfd.readouterr().err
    assert err.startswith("standard input: a request of ")
    assert err.endswith("want a file, which the proxy then reads itself: apply -f FILE\n")
    assert proxy.asked == []


def test_too_much_on_standard_input_is_told_before_anything_is_asked(
    proxy: ScriptedProxy, capfd: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"x" * 500)))
    proxy.greeting = limited_to(500)
    assert ctl(proxy, "state", "load", "-f", "-") == 1
    err = capfd.readouterr().err
    assert err.startswith("standard input: a request of 556 bytes; the proxy takes 500 (max_command_buffer_size);")
    assert err.endswith("state load -f FILE\n")
    assert proxy.asked == []


def limited_to(most: int) -> dict[str, Any]:
    """A hello that says so."""
    return {**HELLO, "content": {"protocol": 1, "max_request": most}}


def test_a_missing_file_is_told_before_anything_is_asked(proxy: ScriptedProxy, capfd: Capture) -> None:
    assert ctl(proxy, "apply", "-f", "/nowhere/batch") == 1
    assert capfd.readouterr().err == "/nowhere/batch: cannot be read: No such file or directory\n"
    assert ctl(proxy, "state", "load", "-f", "/nowhere/state") == 1
    assert capfd.readouterr().err == "/nowhere/state: cannot be read: No such file or directory\n"
    assert proxy.asked == []


def test_a_dump_is_json_for_people_too(proxy: ScriptedProxy, capfd: Capture) -> None:
    proxy.script = [ok("the state", {"version": 1, "clusters": []})]
    assert ctl(proxy, "state", "dump") == 0
    assert json.loads(capfd.readouterr().out) == {"version": 1, "clusters": []}


def test_nobody_is_there(tmp_path: Path, capfd: Capture) -> None:
    assert main(["ctl", "--socket", str(tmp_path / "none"), "--json", "status"]) == 1
    out, err = capfd.readouterr()
    assert f"no proxy listens at {tmp_path / 'none'}" in err
    assert json.loads(out)["problems"][0]["what"] == err.rstrip("\n")


def test_the_socket_comes_from_the_proxys_file(proxy: ScriptedProxy, tmp_path: Path) -> None:
    (tmp_path / "proxy.toml").write_text('command_socket = "sozu.sock"\n')
    assert main(["ctl", "-c", str(tmp_path / "proxy.toml"), "status"]) == 0


def test_the_socket_is_in_the_current_directory(proxy: ScriptedProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(proxy.path.parent)
    assert main(["ctl", "status"]) == 0


@pytest.mark.parametrize("before", [True, False])
def test_options_of_ctl_stand_before_the_verb_or_after_it(proxy: ScriptedProxy, before: bool, capfd: Capture) -> None:
    own = ["--socket", str(proxy.path), "-j", "--timeout", "5"]
    assert main(["ctl", *(own if before else []), "cluster", "list", *([] if before else own)]) == 0
    assert capfd.readouterr().out == "{}\n"


DOUBT = "no answer within 0.05 s: the change may still be carried out; look at `ctl history`\n"


@pytest.mark.parametrize(("words", "said"), [(ADD, DOUBT), (["tree"], "no answer within 0.05 s\n")])
def test_no_answer(proxy: ScriptedProxy, words: list[str], said: str, capfd: Capture) -> None:
    proxy.script = []
    assert ctl(proxy, "--timeout", "0.05", *words) == 1
    assert capfd.readouterr() == ("", said)


def test_the_time_limit_of_the_file(proxy: ScriptedProxy, tmp_path: Path, capfd: Capture) -> None:
    (tmp_path / "proxy.toml").write_text('command_socket = "sozu.sock"\nctl_command_timeout = 50\n')
    proxy.script = []
    assert main(["ctl", "-c", str(tmp_path / "proxy.toml"), *ADD]) == 1
    assert capfd.readouterr().err == DOUBT


def test_who_says_nothing_was_asked_nothing(proxy: ScriptedProxy, capfd: Capture) -> None:
    proxy.greeting = None
    assert ctl(proxy, "--timeout", "0.05", *ADD) == 1
    assert capfd.readouterr().err.endswith("says nothing, so nothing was asked\n")


@pytest.mark.parametrize(("words", "more"), [(ADD, "the change may still be carried out; look at"), (["tree"], "")])
def test_the_proxy_goes_away(proxy: ScriptedProxy, words: list[str], more: str, capfd: Capture) -> None:
    proxy.script, proxy.hang_up = [], True
    assert ctl(proxy, *words) == 1
    err = capfd.readouterr().err
    assert err.startswith("the proxy closed the connection")
    assert more in err
    assert ("carried out" in err) is bool(more)


@pytest.mark.parametrize(
    ("words", "said"), [(ADD, "interrupted: the change may still be carried out"), (["events"], "")]
)
def test_interrupted(proxy: ScriptedProxy, words: list[str], said: str, capfd: Capture) -> None:
    proxy.script = [lambda: os.kill(os.getpid(), signal.SIGINT)]
    assert ctl(proxy, *words) == 130
    assert capfd.readouterr().err.startswith(said)


EVENT = {"kind": "BACKEND_DOWN", "time": "2026-01-31T12:00:00Z", "cluster_id": "api", "backend_id": "a\x1b[2J"}


def test_events(proxy: ScriptedProxy, capfd: Capture) -> None:
    proxy.script = [processing("events", {"kind": "EVENTS_SUBSCRIBED"}), processing("event", EVENT), failure("dropped")]
    assert ctl(proxy, "events") == 1
    assert capfd.readouterr() == (
        "EVENTS_SUBSCRIBED\n2026-01-31T12:00:00Z  BACKEND_DOWN  cluster_id=api  backend_id=a\\x1b[2J\n",
        "dropped\n",
    )
    assert ctl(proxy, "events", "--json") == 1
    out, err = capfd.readouterr()
    assert ([json.loads(line) for line in out.splitlines()], err) == (
        [{"kind": "EVENTS_SUBSCRIBED"}, EVENT],
        "dropped\n",
    )


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_events_end_with_the_proxy(proxy: ScriptedProxy, more: list[str], capfd: Capture) -> None:
    proxy.script = [processing("event", EVENT), ok("stopped")]
    assert ctl(proxy, "events", *more) == 0
    out, err = capfd.readouterr()
    assert (out.count("\n"), err) == (1, "")


def test_events_end_when_nobody_reads_them(proxy: ScriptedProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    proxy.script = [processing("event", EVENT)]
    with open(writer, "w") as nobody:
        monkeypatch.setattr(sys, "stdout", nobody)
        assert ctl(proxy, "events") == 0


def test_who_stops_reading_changes_nothing(
    proxy: ScriptedProxy, monkeypatch: pytest.MonkeyPatch, capfd: Capture
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    proxy.script = [processing("2 sessions left"), ok("stopped", {"cut": 0})]
    with open(writer, "w") as nobody:
        monkeypatch.setattr(sys, "stdout", nobody)
        assert ctl(proxy, "shutdown") == 0
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("words", [["state", "stats"], ["state", "dump"], ["cluster", "list"]])
def test_a_full_disk_is_told(
    proxy: ScriptedProxy, words: list[str], monkeypatch: pytest.MonkeyPatch, capfd: Capture
) -> None:
    proxy.script = [ok("1 clusters", {"clusters": [{"cluster_id": "api"}]})]
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert ctl(proxy, *words) == 1
    assert capfd.readouterr().err == "standard output: No space left on device\n"
