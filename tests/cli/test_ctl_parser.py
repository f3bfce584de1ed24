"""The tables of verbs: each has a help and an example that parses, says all its body may hold, and nothing else."""

import argparse
import re
import shlex
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from sozu_trio.cli import parser
from sozu_trio.cli.ctl_helps import H2, HELPS
from sozu_trio.cli.ctl_kinds import kind_of
from sozu_trio.cli.ctl_options import PREFIX
from sozu_trio.cli.ctl_parser import VERBS
from sozu_trio.cli.ctl_questions import LOCAL
from sozu_trio.cli.ctl_verbs import GROUPS
from sozu_trio.config.structure import hyphened
from sozu_trio.config.verbs import BODIES
from sozu_trio.main.verbs import HANDLERS, NOT_BUILT, changes_something

PAGE = (Path(__file__).parents[2] / "docs" / "ctl.md").read_text()
PARSER = parser()


def parsers(made: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield made
    for action in made._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                yield from parsers(each)


def asked(line: str) -> tuple[str, dict[str, object]]:
    """The verb and the body, no file of it read, that the words after `ctl` ask for."""
    words = shlex.split(line, comments=True)
    given = vars(PARSER.parse_args(["ctl", *words[: words.index(">") if ">" in words else None]]))
    return given["verb"], {name.removeprefix(PREFIX): value for name, value in given.items() if name.startswith(PREFIX)}


def test_helps_end_in_examples_that_parse() -> None:
    helps = [each.format_help() for each in parsers(PARSER) if each.prog.startswith("sozu_trio ctl")]
    assert len(helps) == len(VERBS) + len(GROUPS) + 1
    for text in helps:
        *_, examples = text.partition("\nexample:\n")
        lines = [line.strip().removeprefix("ctl ") for line in examples.splitlines()]
        assert lines
        for line in lines:
            asked(line)


@pytest.mark.parametrize("words", VERBS)
def test_an_example_is_of_its_verb(words: str) -> None:
    assert {asked(line)[0] for line in VERBS[words].example.splitlines()} == {words}


@pytest.mark.parametrize("line", re.findall(r"^(?:    |\$ )ctl (.*)$", PAGE, re.MULTILINE))
def test_examples_of_the_page_parse(line: str) -> None:
    assert asked(line)[0] in VERBS


def test_the_page_has_every_verb_and_no_other() -> None:
    assert set(re.findall(r"^#### `([^`]+)`$", PAGE, re.MULTILINE)) == set(VERBS)


def flags_on_the_page(words: str) -> set[str]:
    section = PAGE.partition(f"\n#### `{words}`\n")[2].partition("\n#")[0]
    rows = re.findall(r"^\| ((?:`[^`]+`(?:, )?)+)", section, re.MULTILINE)
    shared = re.search(r"^Options as of `([^`]+)`", section, re.MULTILINE)
    own = {flag for row in rows for flag in re.findall(r"`(-[\w-]+)", row)}
    return own | flags_on_the_page(shared[1]) if shared else own


@pytest.mark.parametrize("words", VERBS)
def test_the_page_has_every_option_and_no_other(words: str) -> None:
    flags = {flag for option in VERBS[words].all_options for flag in option.flags if flag.startswith("-")}
    assert flags_on_the_page(words) == flags


@pytest.mark.parametrize("words", BODIES)
def test_ctl_says_all_that_a_change_may_hold(words: str) -> None:
    keys = {hyphened(each.name) for each in fields(BODIES[words])}
    said = {each.key for each in VERBS[words].all_options}
    if "route" in said:
        said = said - {"route"} | {"cluster", "deny"}
    assert said == keys


def test_ctl_knows_the_verbs_of_the_proxy_and_which_change_something() -> None:
    local = {verb.words for verb in LOCAL}
    assert {*HANDLERS, *NOT_BUILT} - {"hello"} == set(VERBS) - local
    assert {words for words in HANDLERS if changes_something(words)} == {
        words for words, verb in VERBS.items() if verb.trace and words in HANDLERS
    }


def test_every_help_is_of_some_option() -> None:
    used = {option.help for verb in VERBS.values() for option in verb.all_options}
    assert [key for key, help_ in HELPS.items() if help_.text not in used] == []
    assert [key for key, text in H2.items() if f"HTTP/2: {text}" not in used] == []


ROUTE = "--address 127.0.0.1:8080 --hostname h"
BODY = [
    (f"frontend http add {ROUTE} id api", {"cluster": "api"}),
    (f"frontend http add deny {ROUTE}", {"deny": True}),
    (f"frontend http remove {ROUTE}", {}),
    (f"frontend http remove id api {ROUTE}", {"cluster": "api"}),
    (
        f"frontend http add {ROUTE} deny --tags a=1,b=2 --tags c=3",
        {"deny": True, "tags": {"a": "1", "b": "2", "c": "3"}},
    ),
    (f"frontend http add {ROUTE} deny --header a=b=c,d --header e=f=", {"deny": True, "header": ["a=b=c,d", "e=f="]}),
]


@pytest.mark.parametrize(("line", "more"), BODY)
def test_rules(line: str, more: dict[str, object]) -> None:
    assert asked(line)[1] == {"address": "127.0.0.1:8080", "hostname": "h", **more}


@pytest.mark.parametrize(
    ("line", "body"),
    [
        (
            "cluster add -i a -s -r --idle-timeout 2.5",
            {"sticky-session": True, "https-redirect": True, "idle-timeout": 2.5},
        ),
        ("cluster update -i a --no-send-proxy --idle-timeout 2", {"send-proxy": False, "idle-timeout": 2}),
        (
            "cluster add -i a --authorized-hash u:1,2 --answer 503=a,b",
            {"authorized-hash": ["u:1,2"], "answer": ["503=a,b"]},
        ),
        ("backend remove -i a --backend-id b --now", {"backend-id": "b", "now": True}),
        ("cluster remove -i a --drain --drain-timeout 5", {"drain": True, "drain-timeout": 5}),
    ],
)
def test_types_are_those_of_json(line: str, body: dict[str, object]) -> None:
    made = asked(line)[1]
    assert made == {"id": "a", **body}
    assert {type(value) for value in made.values()} <= {str, int, float, bool, list, dict}


@pytest.mark.parametrize(
    ("more", "body"),
    [
        ("--trusted-proxies 10.0.0.0/8,::1 --trusted-proxies ::2", {"trusted-proxies": ["10.0.0.0/8", "::1", "::2"]}),
        ("--answers 503=a,b --answers 404=c", {"answers": {"503": "a,b", "404": "c"}}),
        ("--via ''", {"via": ""}),
        ("--max-fields 5 --elide-x-real-ip", {"max-fields": 5, "elide-x-real-ip": True}),
    ],
)
def test_listeners(more: str, body: dict[str, object]) -> None:
    assert asked(f"listener http update -a 127.0.0.1:1 {more}")[1] == {"address": "127.0.0.1:1", **body}


def test_flags_of_sozu_that_are_opposites() -> None:
    for flag, value in (("--disable-http11", True), ("--enable-http11", False)):
        assert asked(f"listener https update -a 127.0.0.1:1 {flag}")[1]["disable-http11"] is value


def test_an_option_of_a_verb_is_not_that_of_ctl() -> None:
    words = ["ctl", "--timeout", "9", "cluster", "health-check", "set", "-i", "a", "-u", "/", "--timeout", "3"]
    given = vars(PARSER.parse_args(words))
    assert (given["timeout"], given[f"{PREFIX}timeout"]) == (9, 3)


def test_words_at_their_place() -> None:
    assert asked("connection-limit set 5") == ("connection-limit set", {"limit": 5})
    assert asked("logging info,x=debug") == ("logging", {"filter": "info,x=debug"})
    assert asked("rollback 5") == ("rollback", {"generation": 5})


SHORT = {
    "cluster add": "-i -s -r",
    "cluster health-check set": "-i -u",
    "backend add": "-i -a -s -b",
    "backend remove": "-i -a",
    "frontend http add": "-a -p -m",
    "frontend http remove": "-a -p -m",
    "frontend tcp add": "-i -a",
    "frontend udp remove": "-i -a",
    "frontend list": "-d",
    "cluster list": "-i -d",
    "listener https update": "-a",
    "certificate list": "-f -d",
    "certificate add": "-a",
    "certificate remove": "-a -f",
    "certificate replace": "-a -f",
    "reload": "-f",
    "state save": "-f",
    "state load": "-f",
    "metrics get": "-n",
}
"""Sōzu's, reference §2."""


@pytest.mark.parametrize("words", SHORT)
def test_short_options_are_sozus(words: str) -> None:
    flags = {flag for option in VERBS[words].all_options for flag in option.flags if re.fullmatch("-[a-z]", flag)}
    assert flags == set(SHORT[words].split())


def test_kinds_are_known() -> None:
    known = {str, int, float, bool, tuple}
    kinds = {each.name: kind_of(each) for body in BODIES.values() for each in fields(body)}
    assert kinds["weight"] is int
    assert kinds["hsts_preload"] is bool
    assert kinds["tls_versions"] is tuple
    assert {name for name, kind in kinds.items() if kind is dict} == set()
    assert known <= set(kinds.values())
