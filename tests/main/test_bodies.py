"""Bodies are read strictly, and say in words of ctl what they take."""

from dataclasses import MISSING, fields
from typing import Any

import pytest

from sozu_trio.cli.ctl_questions import QUESTIONS
from sozu_trio.config.addresses import Address
from sozu_trio.config.report import Report
from sozu_trio.config.structure import keys_of, structure_whole
from sozu_trio.main import bodies
from sozu_trio.main.verbs import NOT_BUILT

BODIES: dict[str, type] = {
    "status": bodies.EmptyBody,
    "tree": bodies.EmptyBody,
    "events": bodies.EmptyBody,
    "state stats": bodies.EmptyBody,
    "connection-limit show": bodies.EmptyBody,
    "apply": bodies.ApplyBody,
    "reload": bodies.ReloadBody,
    "plan": bodies.ReloadBody,
    "rollback": bodies.RollbackBody,
    "history": bodies.HistoryBody,
    "state save": bodies.StateSaveBody,
    "state load": bodies.StateLoadBody,
    "state dump": bodies.StateDumpBody,
    "cluster list": bodies.ClusterListBody,
    "frontend list": bodies.FrontendListBody,
    "backend list": bodies.BackendListBody,
    "listener list": bodies.ListenerListBody,
    "certificate list": bodies.CertificateListBody,
    "certificate query": bodies.CertificateQueryBody,
    "explain": bodies.ExplainBody,
    "session list": bodies.SessionListBody,
    "session kill": bodies.SessionKillBody,
    "metrics get": bodies.MetricsBody,
    "shutdown": bodies.ShutdownBody,
    "upgrade": bodies.UpgradeBody,
}
MORE = {"state load": {"content"}, "apply": {"changes"}}
"""What ctl makes of options besides."""


def test_each_has_the_options_of_ctl() -> None:
    options = {
        each.words: {option.key for option in each.all_options} | MORE.get(each.words, set())
        for each in QUESTIONS
        if each.words not in NOT_BUILT
    }
    assert {verb: set(keys_of(body)) for verb, body in BODIES.items()} == {
        verb: keys for verb, keys in options.items() if verb in BODIES
    }
    assert options.keys() - BODIES.keys() <= {"logging"}


def test_all_bodies_are_those_of_a_verb() -> None:
    kinds = {each for each in vars(bodies).values() if isinstance(each, type) and each.__module__ == bodies.__name__}
    assert kinds == set(BODIES.values())


@pytest.mark.parametrize("body", dict.fromkeys(BODIES.values()))
def test_an_unknown_member_is_told_and_the_needed_ones_are(body: type) -> None:
    report = Report()
    assert structure_whole({"nonsense!": 1}, report, body) is None
    needed = [each.name for each in fields(body) if each.default is MISSING and each.default_factory is MISSING]
    assert [(problem.where, problem.what.partition(";")[0]) for problem in report.problems] == [
        *((name, "missing") for name in needed),
        ('"nonsense!"', "unknown key"),
    ]


@pytest.mark.parametrize(
    ("body", "document", "read"),
    [
        (bodies.ExplainBody, {"url": "a", "from": "::1"}, bodies.ExplainBody(url="a", from_="::1")),
        (
            bodies.ExplainBody,
            {"url": "a", "header": ["a=b"], "listener": "[::1]:80"},
            bodies.ExplainBody(url="a", header=("a=b",), listener=Address("::1", 80)),
        ),
        (bodies.ApplyBody, {"changes": [{}, 7, None]}, bodies.ApplyBody(changes=({}, 7, None))),
        (bodies.StateLoadBody, {"skip-unknown": True}, bodies.StateLoadBody(skip_unknown=True)),
        (bodies.ShutdownBody, {"drain-timeout": 2.5}, bodies.ShutdownBody(drain_timeout=2.5)),
        (bodies.MetricsBody, {"names": ["a", "b"]}, bodies.MetricsBody(names=("a", "b"))),
    ],
)
def test_members_are_spelled_with_hyphens(body: type, document: dict[str, Any], read: object) -> None:
    report = Report()
    assert structure_whole(document, report, body) == read
    assert report.problems == []


@pytest.mark.parametrize(
    ("body", "document", "where"),
    [
        (bodies.ApplyBody, {"changes": {"verb": "x"}, "file": []}, ["changes", "file"]),
        (bodies.RollbackBody, {"generation": -1}, ["generation"]),
        (bodies.RollbackBody, {"generation": True}, ["generation"]),
        (bodies.ExplainBody, {"url": 7, "header": [1], "listener": "x"}, ["url", "header[0]", "listener"]),
        (bodies.ShutdownBody, {"hard": 1, "drain-timeout": "5"}, ["hard", "drain-timeout"]),
        (bodies.ShutdownBody, {"drain_timeout": 5}, ["drain_timeout"]),
        (bodies.StateLoadBody, {"content": None, "file": 1}, ["content", "file"]),
        (bodies.HistoryBody, {"limit": 1e3}, ["limit"]),
    ],
)
def test_every_fault_has_its_place(body: type, document: dict[str, Any], where: list[str]) -> None:
    report = Report()
    assert structure_whole(document, report, body) is None
    assert [problem.where for problem in report.problems] == where
