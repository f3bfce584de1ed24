"""Figures and values as people read them."""

import pytest

from sozu_trio.cli.words import age, lines, path_of, rule_of, word


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-0.5, "0ms"),
        (0, "0ms"),
        (0.35, "350ms"),
        (1, "1s"),
        (59.9, "59s"),
        (60, "1m 0s"),
        (200, "3m 20s"),
        (3600, "1h 0m"),
        (86_399, "23h 59m"),
        (12 * 86_400 + 4 * 3600, "12d 4h"),
    ],
)
def test_ages(seconds: float, said: str) -> None:
    assert age(seconds) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (None, "-"),
        ("", "-"),
        ([], "-"),
        ({}, "-"),
        (0, "0"),
        (False, "no"),
        (True, "yes"),
        (30.0, "30"),
        (0.25, "0.25"),
        ({"a": 1, "b": True}, "a=1,b=yes"),
        (["x", 2], "x,2"),
        ("api\x1b]0;owned\x07\n", "api\\x1b]0;owned\\x07\\n"),
        ({"\x1b": "\u202e"}, "\\x1b=\\u202e"),
    ],
)
def test_values(value: object, said: str) -> None:
    assert word(value) == said


def test_lines_stay_lines() -> None:
    assert lines("a\nb\x1b[2J\r") == "a\nb\\x1b[2J\\r"


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        ({"hostname": "h", "path": "", "path_type": "PREFIX", "cluster": "api"}, "h → api"),
        (
            {"hostname": "h", "path": "/v1", "path_type": "PREFIX", "cluster": None, "method": "GET"},
            "GET h/v1 → deny",
        ),
        ({"hostname": "*", "path": "", "path_type": "EQUALS", "cluster": "a", "position": "PRE"}, "PRE * (equals) → a"),
        (
            {"hostname": "h", "path": "/v\x1b", "path_type": "REGEX", "cluster": "a", "position": "TREE"},
            "h/v\\x1b (regex) → a",
        ),
    ],
)
def test_rules(rule: dict[str, object], said: str) -> None:
    assert rule_of(rule) == said


def test_a_path_says_its_kind() -> None:
    assert path_of({}) == "any"
