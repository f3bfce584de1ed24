"""Lines ↔ requests and replies: what is not one is told apart by what, and by which id."""

import contextlib
import json
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sozu_trio.control.protocol import (
    IN_MESSAGE,
    LONGEST_NAME,
    NoReply,
    NoRequest,
    Reply,
    Request,
    read_reply,
    read_request,
    refusal_of,
    write_reply,
    write_request,
)
from sozu_trio.errors import Problem

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
IDS = st.integers(-(2**63), 2**63 - 1) | TEXT
BODIES = st.dictionaries(TEXT, TEXT | st.integers(0, 9) | st.lists(TEXT, max_size=2), max_size=3)
STATUSES: "st.SearchStrategy[Literal['processing', 'ok', 'failure']]" = st.sampled_from(("processing", "ok", "failure"))


def request(**members: Any) -> bytes:
    return json.dumps({"v": 1, "id": 7, "verb": "status", **members}).encode()


def refused(line: bytes) -> NoRequest:
    with pytest.raises(NoRequest) as error:
        read_request(line)
    return error.value


@given(st.builds(Request, id=IDS, verb=TEXT.filter(bool), body=BODIES))
def test_requests_come_through(sent: Request) -> None:
    line = write_request(sent)
    assert line.index(b"\n") == len(line) - 1
    assert read_request(line[:-1]) == sent


@given(st.builds(Reply, id=IDS | st.none(), status=STATUSES, message=TEXT, content=BODIES | st.none() | TEXT))
def test_replies_come_through(sent: Reply) -> None:
    line = write_reply(sent)
    assert line.index(b"\n") == len(line) - 1
    assert read_reply(line[:-1]) == sent


def test_the_body_may_be_left_out() -> None:
    assert read_request(b' {"verb": "status", "id": "a", "v": 1}\r') == Request(id="a", verb="status", body={})


@pytest.mark.parametrize(
    ("line", "where", "what"),
    [
        (b"", "", "an empty line; want a request, one JSON object per line"),
        (b" \r", "", "an empty line; want a request, one JSON object per line"),
        (b"hello", "", "not JSON: Expecting value at character 1"),
        (b"[1]", "", "found an array; want a request, which is a JSON object"),
        (b'{"id": 7}', "v", "missing; want 1, the version of the protocol"),
        (request(v=2, body=5), "v", "found 2; want 1, the only version of the protocol that is spoken here"),
        (request(v=1.0), "v", "found 1.0; want 1, the only version of the protocol that is spoken here"),
        (request(v=True), "v", "found true; want 1, the only version of the protocol that is spoken here"),
        (request(body=[]), "body", "found an empty array; want an object"),
        (request(verb=""), "verb", 'found \'\'; want a verb, such as "status" or "backend add"'),
        (request(bdy={}), "bdy", "unknown member; did you mean 'body'?"),
        (request(**{"\x1b[0m": 1}), '"\\u001b[0m"', "unknown member; want v, id, verb and body"),
    ],
)
def test_no_request(line: bytes, where: str, what: str) -> None:
    error = refused(line)
    assert error.problems == (Problem(where, what),)
    assert error.id == (7 if b'"id": 7' in line else None)


@pytest.mark.parametrize("unreadable", [None, True, 1.5, [], {}, "x" * (LONGEST_NAME + 1)])
def test_an_id_that_is_none(unreadable: object) -> None:
    error = refused(request(id=unreadable))
    assert error.id is None
    assert [problem.where for problem in error.problems] == ["id"]
    assert "want an integer or a string of at most 200 characters" in str(error)


def test_every_problem_is_told() -> None:
    error = refused(b'{"v": 1, "vreb": "status", "body": 1, "id": 7}')
    assert {problem.where for problem in error.problems} == {"vreb", "verb", "body"}
    assert error.id == 7
    reply = refusal_of(error)
    assert (reply.id, reply.status) == (7, "failure")
    assert reply.message.splitlines() == [str(problem) for problem in error.problems]
    assert reply.content == {"problems": [{"where": p.where, "what": p.what} for p in error.problems]}


def test_of_very_many_problems_some_are_told() -> None:
    error = refused(request(**{f"unknown {number:06} " + "x" * 300: 1 for number in range(5000)}))
    assert len(error.problems) == IN_MESSAGE + 1
    assert error.problems[-1] == Problem("", "and more")
    assert len(str(error)) < 10_000


@pytest.mark.parametrize(
    ("line", "why"),
    [
        (b"{", "not a reply: not JSON"),
        (b"[]", "not a reply: found an empty array; want an object"),
        (b'{"v":2}', "not a reply: v: found 2; want 1"),
        (b'{"v":1,"id":1,"status":"done","message":""}', "not a reply: status: found 'done'; want 'processing'"),
        (b'{"v":1,"id":1,"status":"ok"}', "not a reply: message: missing"),
    ],
)
def test_no_reply(line: bytes, why: str) -> None:
    with pytest.raises(NoReply) as error:
        read_reply(line)
    assert str(error.value).startswith(why)


MEMBERS = st.fixed_dictionaries(
    {"v": st.just(1) | st.none()},
    optional={"id": IDS | st.none(), "verb": TEXT | st.just(1), "body": BODIES, "status": TEXT},
)


@given(MEMBERS)
def test_any_object_is_a_request_or_has_problems(document: dict[str, Any]) -> None:
    with contextlib.suppress(NoRequest):
        found = read_request(json.dumps(document).encode())
        assert {"body": {}, **document} == {"v": 1, "id": found.id, "verb": found.verb, "body": found.body}
