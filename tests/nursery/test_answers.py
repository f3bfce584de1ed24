"""What main takes for an answer is what workers give, and nothing else."""

import copy
import re
from pathlib import Path
from typing import Any

import pytest

import sozu_trio.main
from sozu_trio.config.addresses import Address
from sozu_trio.control.messages import Ask, Beat, Commit, Kill, Listen, Look
from sozu_trio.errors import ChannelError
from sozu_trio.nursery.answers import check_answer

LEFT = {"sessions": 3, "websocket": 1, "tcp": 0, "cut": 2}
SESSION = {"name": "01", "kind": "session", "age": 0.25, "children": []}
CONNECTIONS = {"name": "connections", "kind": "connections", "age": 1, "children": [SESSION], "count": 1}
LISTENER = {"name": "http 127.0.0.1:80", "kind": "listener", "age": 1.5, "children": [CONNECTIONS]}
SERVICE = {"name": "control", "kind": "service", "age": 2.0, "children": []}
FRONTEND = {
    "address": "127.0.0.1:80",
    "hostname": "*",
    "path_type": "PREFIX",
    "path": "/",
    "method": None,
    "position": "TREE",
    "cluster": "web",
}
ANSWERS: dict[str, Any] = {
    "counters": {
        "counters": {"http.requests": 7},
        "listeners": {"127.0.0.1:80": 0},
        "max_connections": 100,
        "sheds": ["memory"],
    },
    "tree": {"name": "worker 0", "kind": "worker", "age": 3.0, "children": [SERVICE, LISTENER]},
    "sessions": [{"id": "01", "listener": "127.0.0.1:80", "client": "127.0.0.1:4711", "age": 0.125}],
    "drains": {"127.0.0.1:80": LEFT},
    "removed": LEFT,
    "backends": [
        {
            "cluster": "web",
            "backend_id": "b",
            "address": "127.0.0.1:8080",
            "connections": 1,
            "requests": 0,
            "idle": 1,
            "failures": 3,
            "retry_in": 1.5,
        }
    ],
    "route": {"generation": 7, "outcome": "forward", "frontend": FRONTEND, "cluster": "web"},
}
NEVER: tuple[Any, ...] = (
    5,
    "x",
    None,
    True,
    [[1]],
    [5],
    {"a": "b"},
    {"counters": {"a": "x"}, "listeners": {"a": "b"}},
    [{}],
    {"a": {}},
)


def look(what: str) -> Look:
    return Look(serial=1, what=what, query={})


@pytest.mark.parametrize("what", ANSWERS)
def test_what_workers_answer_is_taken(what: str) -> None:
    check_answer(look(what), ANSWERS[what])


@pytest.mark.parametrize("content", NEVER)
@pytest.mark.parametrize("what", ANSWERS)
def test_anything_else_is_not(what: str, content: object) -> None:
    with pytest.raises(ChannelError, match=f"no answer to a look at {what}"):
        check_answer(look(what), content)


def tampered(content: Any, wrong: object) -> list[Any]:
    """Copies of `content`, each with another of its leaves replaced by `wrong`, or a member too many or too few."""
    found: list[Any] = []
    match content:
        case dict():
            for name, member in content.items():
                found += [{**content, name: each} for each in tampered(member, wrong)]
            if content is not ANSWERS["counters"]["counters"] and content is not ANSWERS["counters"]["listeners"]:
                found.append({**content, "another": wrong})
        case list():
            for number, member in enumerate(content):
                found += [[*content[:number], each, *content[number + 1 :]] for each in tampered(member, wrong)]
        case _:
            found.append(wrong)
    return copy.deepcopy(found)


@pytest.mark.parametrize("wrong", [-1, float("nan"), float("inf"), 1 << 63, [[]], {"a": 1}, False])
@pytest.mark.parametrize("what", ANSWERS)
def test_each_part_is_looked_at(what: str, wrong: object) -> None:
    every = tampered(ANSWERS[what], wrong)
    assert every
    for content in every:
        with pytest.raises(ChannelError):
            check_answer(look(what), content)


@pytest.mark.parametrize("what", [what for what in ANSWERS if isinstance(ANSWERS[what], dict) and what != "drains"])
def test_no_part_is_missing(what: str) -> None:
    for name in ANSWERS[what]:
        with pytest.raises(ChannelError):
            check_answer(look(what), {each: value for each, value in ANSWERS[what].items() if each != name})


def test_a_tree_is_no_deeper_than_a_worker() -> None:
    deep: dict[str, Any] = {**SESSION, "children": [None]}
    for _ in range(4):
        with pytest.raises(ChannelError):
            check_answer(look("tree"), deep)
        deep = {**SESSION, "children": [deep]}
    with pytest.raises(ChannelError):
        check_answer(look("tree"), {**SESSION, "children": [deep]})


@pytest.mark.parametrize(
    ("ask", "content"),
    [
        (Beat(serial=1), None),
        (Commit(serial=1, generation=2), None),
        (Listen(serial=1, transport="tcp", address=Address("::1", 1)), None),
        (Kill(serial=1, session="01"), True),
        (Kill(serial=1, session="01"), False),
    ],
)
def test_who_does_something_says_nothing_but_whether_it_was_there(ask: Ask, content: object) -> None:
    check_answer(ask, content)
    others: list[object] = [{"a": 1}, 1, "True", [], None if isinstance(ask, Kill) else True]
    for other in others:
        with pytest.raises(ChannelError, match=f"no answer to {type(ask).__name__}"):
            check_answer(ask, other)


def test_main_looks_at_nothing_else() -> None:
    folder = Path(sozu_trio.main.__file__).parent
    asked = {what for file in folder.glob("*.py") for what in re.findall(r"\.look\(\s*\"(\w+)\"", file.read_text())}
    assert asked == set(ANSWERS)
    with pytest.raises(ChannelError):
        check_answer(look("weather"), {})
