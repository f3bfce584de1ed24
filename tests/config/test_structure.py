"""TOML values to tables, strictly."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from cattrs.errors import IterableValidationNote
from hypothesis import given, settings
from hypothesis import strategies as st

from sozu_trio.config import kinds, schema
from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import LoadMetric, PathType
from sozu_trio.config.limits import ARRAY_ITEMS
from sozu_trio.config.report import Report
from sozu_trio.config.resolve import WANT_ADDRESS
from sozu_trio.config.structure import MOST, keys_of, structure, structure_fields, structure_whole
from sozu_trio.config.values import Positive
from sozu_trio.errors import MOST_PROBLEMS


def read(text: str) -> tuple[schema.FileTable, list[str]]:
    report = Report()
    return structure(tomllib.loads(text), report), [str(problem) for problem in report.problems]


def test_an_empty_file_is_all_defaults() -> None:
    assert read("") == (schema.FileTable(), [])


def test_every_shape_of_value() -> None:
    file, problems = read("""
        command_allowed_uids = [0, 1000]
        worker_timeout = 0.5
        [[listeners]]
        address = "127.0.0.1:80"
        answers = { 404 = "x" }
        [clusters.api]
        load_metric = "requests"
        health_check = { uri = "/up" }
        frontends = [{ path_type = "REGEX", headers = [{ position = "both", key = "a", value = "" }] }]
        """)
    assert problems == []
    assert (file.command_allowed_uids, file.worker_timeout) == ((0, 1000), 0.5)
    assert (file.listeners[0].address, file.listeners[0].answers) == (Address("127.0.0.1", 80), {"404": "x"})
    cluster = file.clusters["api"]
    assert (cluster.load_metric, cluster.health_check) == (LoadMetric.REQUESTS, schema.HealthCheckTable(uri="/up"))
    assert cluster.frontends[0].path_type is PathType.REGEX
    assert cluster.frontends[0].headers == (schema.HeaderTable(position="both", key="a", value=""),)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("listeners = 3", "listeners: found 3; want an array"),
        ("listeners = 'http'", "listeners: found 'http'; want an array"),
        ("listeners = {}", "listeners: found a table; want an array"),
        ("listeners = [3]", "listeners[0]: found 3; want a table"),
        ("clusters = []", "clusters: found an empty array; want a table"),
        ("clusters.api = 3", "clusters.api: found 3; want a table"),
        ("metrics = true", "metrics: found true; want a table"),
        ("clusters.'my app'.backends = [{}, {weight = 999}]",
         'clusters."my app".backends[1].weight: found 999; want an integer from 0 to 255'),
        ("clusters.api.authorized_hashes = ['a', 3]",
         "clusters.api.authorized_hashes[1]: found (redacted); want a string"),
        ("clusters.api.frontends = [{tags = {a = 1}}]", "clusters.api.frontends[0].tags.a: found 1; want a string"),
        ("clusters.api.udp.health.rise = 0",
         "clusters.api.udp.health.rise: found 0; want an integer from 1 to 4294967295"),
        ("clusters.api.load_metric = 'cpu'",
         "clusters.api.load_metric: found 'cpu'; want 'connections', 'requests' or 'connection_time'"),
        ("clusters.api.protocol = 2", "clusters.api.protocol: found 2; want 'http' or 'tcp'"),
        ("clusters.api.frontends = [{path_type = 'prefix'}]",
         "clusters.api.frontends[0].path_type: found 'prefix'; want 'PREFIX', 'EQUALS' or 'REGEX'"),
        ("max_connections = 1979-05-27", "max_connections: found 1979-05-27; want an integer from 1 to 4294967295"),
        ("worker_cout = 2", "worker_cout: unknown key; did you mean 'worker_count'?"),
        ("zzz = 2", "zzz: unknown key"),
        ("clusters.api.backends = [{adress = 'x'}]",
         "clusters.api.backends[0].adress: unknown key; did you mean 'address'?"),
        ("metrics.worker_count = 2",
         "metrics.worker_count: unknown key; 'worker_count' is a global key and belongs before the first [header]"),
        ("expect_proxy = true", "expect_proxy: unknown key; 'expect_proxy' is a key of a listener"),
        ("rise = 2", "rise: unknown key; 'rise' is a key of a udp health"),
    ],
)  # fmt: skip
def test_a_fault_is_told_at_its_place(text: str, problem: str) -> None:
    assert read(text)[1] == [problem]


def test_what_is_not_at_fault_is_read_all_the_same() -> None:
    file, problems = read("""
        worker_count = "many"
        max_connections = 3
        [[listeners]]
        address = "127.0.0.1:80"
        protocl = "http"
        [[listeners]]
        address = "here"
        protocol = "tcp"
        """)
    assert len(problems) == 3
    assert (file.worker_count, file.max_connections) == (2, 3)
    assert file.listeners == (
        schema.ListenerTable(address=Address("127.0.0.1", 80)),
        schema.ListenerTable(protocol="tcp"),
    )


def test_two_faults_in_one_list_take_it_out_once() -> None:
    file, problems = read("command_allowed_uids = [-1, 'root']")
    assert len(problems) == 2
    assert file.command_allowed_uids is None


def test_a_document_may_be_as_deep_as_toml_lets_it() -> None:
    file, problems = read(f"worker_count = 3\nx = {'[' * 400}{']' * 400}")
    assert (file.worker_count, problems) == (3, ["x: unknown key"])


def test_a_fault_within_what_is_taken_out_already() -> None:
    file, problems = read("listeners = [3, {address = 'x'}]")
    assert [problem.split(":")[0] for problem in problems] == ["listeners[0]", "listeners[1].address"]
    assert file.listeners == ()


@dataclass(frozen=True, kw_only=True)
class Body:
    """What a request may hold."""

    id: str
    from_: Address
    max_count: Positive | None = None
    changes: tuple[Mapping[str, Any], ...] | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class LooseBody:
    """A body that needs nothing."""

    skip_unknown: bool = False
    limit: Positive = 3


def body(document: dict[str, Any], where: str = "") -> tuple[Body | None, list[str]]:
    report = Report()
    return structure_whole(document, report, Body, where), [str(problem) for problem in report.problems]


def test_bodies_have_hyphens() -> None:
    assert keys_of(Body) == ["id", "from", "max-count", "changes", "tags"]
    document = {"id": "a", "from": "127.0.0.1:1", "max-count": 2, "changes": [{"verb": ["b"]}], "tags": {"c": "d"}}
    read = Body(
        id="a", from_=Address("127.0.0.1", 1), max_count=2, changes=({"verb": ["b"]},), tags={"c": "d"}
    )  # fmt: skip
    assert body(document) == (read, [])


def test_every_fault_of_a_body_at_its_place() -> None:
    document = {"from": "x", "max_count": 2, "max-count": None, "changes": [{}, 3], "tags": {"a": 1}, "zzz": 0}
    assert body(document, "requests[1]") == (
        None,
        [
            "requests[1].id: missing; want a string",
            f"requests[1].from: found 'x'; want {WANT_ADDRESS} (names are not resolved)",
            "requests[1].max-count: found null; want an integer from 1 to 4294967295",
            "requests[1].changes[1]: found 3; want a table",
            "requests[1].tags.a: found 1; want a string",
            "requests[1].max_count: unknown key; did you mean 'max-count'?",
            "requests[1].zzz: unknown key; known are id, from, max-count, changes, tags",
        ],
    )


def test_what_can_be_read_of_a_body() -> None:
    report = Report()
    assert structure_fields({"id": "a", "from": 3, "x": 1}, report, Body) == {"id": "a"}


def test_a_body_that_needs_nothing_is_made_of_what_can_be_read() -> None:
    report = Report()
    assert structure({"skip-unknown": True, "limit": 0}, report, LooseBody, "body") == LooseBody(skip_unknown=True)
    assert [str(problem) for problem in report.problems] == [
        "body.limit: found 0; want an integer from 1 to 4294967295"
    ]


def test_who_means_harm_gets_short_answers() -> None:
    garbage = {f"{number:0>200}": 1 for number in range(10 * MOST)}
    _, problems = body({"id": "a", "from": "127.0.0.1:1", "changes": [1] * 10 * MOST, **garbage})
    assert len(problems) == 2 * MOST + 2
    assert problems[MOST] == "changes: found more than 100 faults; the rest was not looked at"
    assert problems[-1] == "900 more unknown keys"
    assert max(map(len, problems)) < 200


@dataclass(frozen=True, kw_only=True)
class Lists:
    """A body of arrays."""

    names: tuple[str, ...] = ()
    anything: tuple[Any, ...] = ()
    tags: Mapping[str, str] = field(default_factory=dict)


def lists(document: dict[str, Any]) -> tuple[Lists | None, list[str]]:
    report = Report()
    return structure_whole(document, report, Lists), [str(problem) for problem in report.problems]


def test_an_array_in_a_body_has_a_bound() -> None:
    assert lists({"names": ["a"] * ARRAY_ITEMS}) == (Lists(names=("a",) * ARRAY_ITEMS), [])
    for item in (1, "a"):
        problem = "names: found an array; want one of at most 1,000 elements, not of 1,001"
        assert lists({"names": [item] * (ARRAY_ITEMS + 1)}) == (None, [problem])


def test_an_array_of_anything_is_not_looked_into() -> None:
    assert lists({"anything": [1] * 100_000})[0] == Lists(anything=(1,) * 100_000)
    assert lists({"anything": 3})[1] == ["anything: found 3; want an array"]


@pytest.mark.parametrize("document", [{"names": [1] * ARRAY_ITEMS}, {"tags": dict.fromkeys(map(str, range(9999)), 1)}])
def test_no_exception_is_made_for_what_is_not_told(document: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    notes: list[Any] = []

    def note(*about: Any) -> IterableValidationNote:
        notes.append(about)
        return IterableValidationNote(*about)

    monkeypatch.setattr(kinds, "IterableValidationNote", note)
    assert len(lists(document)[1]) == MOST + 1
    assert len(notes) == MOST + 1


def test_a_file_has_no_bound() -> None:
    entries = ", ".join(map(str, range(-3 * MOST, 0)))
    file, problems = read(f"command_allowed_uids = [{entries}]\ncommand_read_only_uids = {list(range(2000))}")
    assert len(problems) == 3 * MOST
    assert file.command_read_only_uids == tuple(range(2000))


def test_what_a_file_may_say_a_saved_state_may_repeat() -> None:
    networks = ["10.0.0.1"] * 2 * ARRAY_ITEMS
    report = Report()
    table = structure_whole({"trusted_proxies": networks}, report, schema.ListenerTable)
    assert table is not None
    assert len(table.trusted_proxies) == 2 * ARRAY_ITEMS
    structure_whole({"trusted_proxies": [1] * 2 * ARRAY_ITEMS}, report, schema.ListenerTable)
    assert len(report.problems) == MOST + 1


def test_what_was_meant_is_looked_for_only_so_often() -> None:
    report = Report()
    for _ in range(2 * MOST):
        structure_fields({"name": 1}, report, Lists)
    hints = [problem.what == "unknown key; did you mean 'names'?" for problem in report.problems]
    assert hints == [True] * MOST + [False] * MOST


def test_a_full_report_still_knows_what_is_wrong() -> None:
    report = Report()
    for _ in range(2 * MOST_PROBLEMS):
        report.wrong("", "no")
    assert structure_whole({"tags": {"a": 1}}, report, Lists) is None
    assert structure_whole({"tags": {"a": "b"}}, report, Lists) == Lists(tags={"a": "b"})


def test_a_body_in_which_nothing_is_known() -> None:
    assert keys_of(Nothing) == []
    report = Report()
    assert structure_whole({"a": 1}, report, Nothing) is None
    assert str(report.problems[0]) == "a: unknown key; none is known"


def test_a_body_that_takes_anything_still_needs_it() -> None:
    report = Report()
    assert structure_whole({}, report, Anything) is None
    assert str(report.problems[0]) == "value: missing; want a value"


@dataclass(frozen=True)
class Anything:
    """A body whose value may be of any kind."""

    value: Any


@dataclass(frozen=True)
class Nothing:
    """A body without keys."""


def all_keys() -> list[str]:
    tables = [kind for name, kind in vars(schema).items() if name.endswith("Table")]
    return sorted({key for table in tables for key in keys_of(table)})


SCALARS: st.SearchStrategy[Any] = st.one_of(
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(),
    st.text(max_size=5),
    st.dates(),
    st.times(),
    st.sampled_from(["http", "tcp", "127.0.0.1:80", "REGEX", "HRW", "*", "/a", "/(/.x", "[::1]:0"]),
)
KEYS = st.one_of(st.sampled_from(all_keys()), st.text(max_size=5))


def tables(children: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(KEYS, children, max_size=4)


NESTED = st.recursive(SCALARS, lambda inner: st.one_of(st.lists(inner, max_size=3), tables(inner)), max_leaves=12)


@given(tables(NESTED))
@settings(max_examples=150, deadline=None)
def test_no_document_is_too_odd(document: dict[str, Any]) -> None:
    report = Report()
    file = structure(document, report)
    assert isinstance(file, schema.FileTable)
    assert all(str(problem).isprintable() for problem in report.problems)
    again = Report()
    structure(document, again)
    assert again.problems == report.problems, "the document was changed"
