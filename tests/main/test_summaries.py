"""What a request asks for, on one line, and that no secret gets there."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sozu_trio.config.secrets import is_secret
from sozu_trio.config.structure import keys_of
from sozu_trio.config.verbs import BODIES
from sozu_trio.main.summaries import LONGEST, summary, summary_of_all
from sozu_trio.main.verbs import HANDLERS, changes_something

PEM = "-----BEGIN PRIVATE KEY-----\ngeheim"


@pytest.mark.parametrize(
    ("verb", "body", "line"),
    [
        ("cluster add", {}, "cluster add"),
        ("cluster add", {"verb": "w", "changes": [1]}, "cluster add"),
        (
            "backend add",
            {"id": "api", "weight": 5, "backup": True, "address": None},
            "backend add id=api weight=5 backup=true address=null",
        ),
        (
            "frontend http add",
            {"path-prefix": "", "hostname": "a b", "tags": {"a": "b c"}},
            'frontend http add path-prefix="" hostname="a b" tags={"a": "b c"}',
        ),
        ("listener http add", {"upgrade-protocols": ["a", "b"]}, 'listener http add upgrade-protocols=["a", "b"]'),
        ("logging", {"filter": "é\n\x1b\u202e"}, "logging filter=é\\n\\x1b\\u202e"),
        ("rollback", {"generation": 3}, "rollback generation=3"),
        ("state load", {"file": "/a", "content": "abc"}, "state load file=/a content=(3 characters)"),
        ("certificate add", {"certificate": "x" * 7}, "certificate add certificate=(7 characters)"),
        ("listener https update", {"client-ca": PEM}, f"listener https update client-ca=({len(PEM)} characters)"),
        ("cluster add", {"id": "x" * (LONGEST + 1)}, f"cluster add id=({LONGEST + 1} characters)"),
        ("cluster add", {"id": "x" * LONGEST}, "cluster add id=" + "x" * (LONGEST - 16) + "…"),
    ],
)
def test_a_summary_shows_what_was_asked_for(verb: str, body: dict[str, Any], line: str) -> None:
    assert summary(verb, body) == line


@pytest.mark.parametrize(
    ("verb", "body", "line"),
    [
        (
            "frontend http add",
            {"header": ["request=authorization=geheim", "response=Set-Cookie=a=geheim"]},
            'frontend http add header=["request=authorization", "response=Set-Cookie"]',
        ),
        (
            "frontend http add",
            {"header": ["authorization=geheim", "request=geheim", {"geheim": 1}, "geheim"]},
            'frontend http add header=["(not shown)", "(not shown)", "(not shown)", "(not shown)"]',
        ),
        ("frontend http add", {"header": "request=authorization=geheim"}, "frontend http add header=(not shown)"),
        ("certificate add", {"private-kye": "geheim"}, "certificate add private-kye=(not shown)"),
        ("certificate add", {"key": "geheim"}, "certificate add key=(redacted)"),
        ("certificate add", {"certificate": PEM}, f"certificate add certificate=({len(PEM)} characters)"),
        ("cluster add", {"tls-key": "geheim"}, "cluster add tls-key=(redacted)"),
        ("cluster add", {"tls-ca": PEM}, f"cluster add tls-ca=({len(PEM)} characters)"),
        ("cluster add", {"tls-certificate": PEM}, f"cluster add tls-certificate=({len(PEM)} characters)"),
        ("cluster add", {"authorized-hash": ["geheim"]}, "cluster add authorized-hash=(redacted)"),
        ("cluster add", {"Private-Key": "geheim"}, "cluster add Private-Key=(redacted)"),
        ("cluster add", {"answer": ["503=geheim"]}, "cluster add answer=(not shown)"),
        ("cluster add", {"id": PEM}, "cluster add id=(not shown)"),
        ("cluster add", {"id": [PEM, 1]}, "cluster add id=(not shown)"),
        ("cluster add", {"id": {"a": "geheim"}}, "cluster add id=(not shown)"),
        ("cluster add", {"id": [{"a": "geheim"}, ["geheim"]]}, 'cluster add id=["(not shown)", "(not shown)"]'),
        ("frontend tcp add", {"tags": {"a": ["geheim"]}}, 'frontend tcp add tags={"a": "(not shown)"}'),
        ("cluster add", {PEM: 1}, "cluster add (not shown)=(not shown)"),
        ("cluster add", {"x" * 100: 1}, f"cluster add {'x' * 79}…=(not shown)"),
        ("cluster ad", {"id": "geheim"}, "cluster ad id=(not shown)"),
        (PEM, {}, "(not shown)"),
    ],
)
def test_what_may_be_a_secret_is_not_shown(verb: str, body: dict[str, Any], line: str) -> None:
    assert summary(verb, body) == line


def test_no_option_that_is_secret_is_shown_of_any_verb() -> None:
    secret = 0
    for verb, table in BODIES.items():
        for key in filter(is_secret, keys_of(table)):
            assert summary(verb, {key: "geheim"}) == f"{verb} {key}=(redacted)"
            secret += 1
    assert secret > 3


def test_options_of_every_verb_that_changes_something_are_known() -> None:
    asked = {"file": "/f", "generation": 1, "session": "s", "hard": True, "address": "127.0.0.1:1", "id": "i"}
    asked |= {"filter": "f", "limit": 1, "worker": 1}
    silent = {verb for verb in HANDLERS if changes_something(verb) and not _shows(summary(verb, asked))}
    assert silent == {"connection-limit remove"}  # which has no options


def _shows(line: str) -> bool:
    return any("=" in word and not word.endswith("=(not") for word in line.split())


def test_a_summary_of_many_shows_the_first() -> None:
    one = {"verb": "cluster add", "id": "new"}
    assert summary_of_all([one] * 2) == "apply 2 changes: cluster add id=new; cluster add id=new"
    assert summary_of_all([one] * 4).count("cluster add") == 3
    assert summary_of_all([{}]) == "apply 1 change: (no verb)"
    assert summary_of_all([{"verb": {"a": "geheim"}}]) == "apply 1 change: (no verb)"
    assert summary_of_all([7, one]) == "apply 2 changes: (no table); cluster add id=new"
    assert summary_of_all([one], "/a b\n") == 'apply 1 change from "/a b\\n": cluster add id=new'


JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3))
KEYS = st.text() | st.sampled_from(["verb", "id", "header", "tags", "answer", "authorized-hash"])
VERBS = st.sampled_from(["cluster add", "frontend http add"]) | st.text()


@settings(max_examples=60)
@given(st.lists(st.dictionaries(KEYS, JSON, max_size=4), max_size=4), VERBS)
def test_whatever_is_asked_for_a_summary_is_one_line(bodies: list[dict[str, Any]], verb: str) -> None:
    given_verbs = [{**body, "verb": verb} for body in bodies]
    for line in (summary_of_all(bodies), summary_of_all(given_verbs), *(summary(verb, body) for body in bodies)):
        assert len(line) <= LONGEST
        assert line.isprintable()
