"""Records come back as they went, and nothing else comes back at all."""

import json
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import HttpFrontend
from sozu_trio.config.listeners import HttpListener
from sozu_trio.config.program import Program, Settings
from sozu_trio.control.codec import converter, decode, encode
from sozu_trio.control.messages import (
    ASKS,
    REPORTS,
    Adopted,
    Amend,
    Ask,
    Begin,
    Commit,
    Counted,
    Cut,
    Forget,
    Happened,
    Kill,
    Lines,
    Listen,
    Look,
    Prepare,
    Reply,
    Report,
    Stop,
    Stopped,
    Unlisten,
)
from sozu_trio.errors import ChannelError
from sozu_trio.routing.delta import NOTHING, Delta, amend, diff
from sozu_trio.routing.state import EMPTY, declare
from tests.control.states import ADDRESSES, STATES, TIMEOUTS

TEXT = st.text(max_size=12)
SECONDS = st.one_of(st.integers(0, 100), st.floats(0, 1e6), st.just(float("inf")))
DELTAS = st.builds(diff, STATES, STATES)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 53), 1 << 53) | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
PROGRAMS = st.builds(
    Program,
    command_socket=st.builds(Path, st.sampled_from(["/run/a.sock", "b"])),
    command_allowed_uids=st.none() | st.lists(st.integers(0, 9), max_size=3).map(tuple),
    shutdown_timeout=SECONDS,
    settings=st.builds(Settings, timeouts=TIMEOUTS, log_level=TEXT, max_connections_per_ip=st.integers(0, 9)),
    pid_file_path=st.none() | st.just(Path("/run/pid")),
    access_logs_target=st.none() | TEXT,
    access_logs_format=st.sampled_from(["ascii", "json"]),
)
SERIALS = st.integers(0, 1 << 60)
TRANSPORTS = st.just("tcp")
ANY_ASK = st.one_of(
    st.builds(Begin, serial=SERIALS, worker_id=st.integers(0, 64), program=PROGRAMS, region=SERIALS),
    st.builds(Amend, serial=SERIALS, attempt=SERIALS, base=st.none() | SERIALS, delta=DELTAS),
    st.builds(Prepare, serial=SERIALS, attempt=SERIALS, generation=SERIALS),
    st.builds(Forget, serial=SERIALS),
    st.builds(Commit, serial=SERIALS, generation=SERIALS),
    st.builds(Listen, serial=SERIALS, transport=TRANSPORTS, address=ADDRESSES),
    st.builds(Unlisten, serial=SERIALS, transport=TRANSPORTS, address=ADDRESSES, grace=st.none() | SECONDS),
    st.builds(Cut, serial=SERIALS, cluster_id=TEXT, backend_id=TEXT, address=ADDRESSES, grace=SECONDS),
    st.builds(Look, serial=SERIALS, what=TEXT, query=st.dictionaries(TEXT, JSON, max_size=3)),
    st.builds(Kill, serial=SERIALS, session=TEXT),
    st.builds(Stop, serial=SERIALS, grace=st.none() | SECONDS),
)
ANY_REPORT = st.one_of(
    st.builds(Reply, serial=SERIALS, failure=st.none() | TEXT, content=JSON),
    st.builds(Lines, lines=st.text(st.characters(exclude_categories=["Cs"])), dropped=SERIALS),
    st.builds(
        Happened,
        kind=TEXT,
        cluster_id=st.none() | TEXT,
        backend_id=st.none() | TEXT,
        address=st.none() | ADDRESSES,
    ),
    st.builds(Counted, counters=st.lists(SERIALS, max_size=5).map(tuple)),
    st.builds(Stopped, cut=SERIALS),
)


@settings(max_examples=60, deadline=None)
@given(DELTAS)
def test_a_difference_comes_back_with_its_order(delta: Delta) -> None:
    message = Amend(serial=1, attempt=2, base=None, delta=delta)
    assert decode(encode(message), ASKS) == message
    assert converter.structure(json.loads(json.dumps(converter.unstructure(delta))), Delta) == delta


def test_keys_come_back_as_the_keys_they_were() -> None:
    state = declare([], [], [HttpFrontend(address=Address("::1", 80), hostname="*.Example.com")], [], [])
    (key,) = state.http_frontends
    delta = diff(state, EMPTY)
    back = converter.structure(converter.unstructure(delta), Delta)
    assert back.gone_http_frontends == (key,)
    assert amend(state, back) == EMPTY


def test_what_a_difference_has_nothing_of_takes_no_room() -> None:
    message = Amend(serial=1, attempt=2, base=3, delta=Delta(gone_clusters=("api",)))
    document = {"serial": 1, "attempt": 2, "base": 3, "delta": {"gone_clusters": ["api"]}}
    assert json.loads(encode(message)) == {"Amend": document}


def test_every_message_is_among_those_that_come_back() -> None:
    """Whoever adds a message adds it to the tests above."""
    assert {kind.__name__ for kind in get_args(Ask)} == set(ASKS)
    assert {kind.__name__ for kind in get_args(Report)} == set(REPORTS)


@settings(max_examples=100, deadline=None)
@given(ANY_ASK)
def test_what_main_says_comes_back(message: Any) -> None:
    assert decode(encode(message), ASKS) == message


@settings(max_examples=100, deadline=None)
@given(ANY_REPORT)
def test_what_a_worker_says_comes_back(message: Any) -> None:
    assert decode(encode(message), REPORTS) == message


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200) | st.text().map(str.encode))
def test_anything_else_is_a_channel_error(document: bytes) -> None:
    with pytest.raises(ChannelError):
        decode(document, ASKS)
    with pytest.raises(ChannelError):
        decode(document, REPORTS)


def tampered(message: object, **members: object) -> bytes:
    ((name, document),) = json.loads(encode(message)).items()
    document.update(members)
    return json.dumps({name: document}).encode()


COMMIT = Commit(serial=1, generation=2)
LISTENER = {**converter.unstructure(HttpListener(address=Address("::1", 1)))}


def amending(**delta: object) -> bytes:
    return tampered(Amend(serial=1, attempt=1, base=None, delta=NOTHING), delta=delta)


@pytest.mark.parametrize(
    ("document", "named"),
    [
        (b'{"Commit":{"serial":1}}', "generation"),
        (tampered(COMMIT, surprise=1), "surprise"),
        (b'{"Obey":{"serial":1}}', "Obey"),
        (b'{"Commit":{"serial":1,"generation":2},"Stop":{"serial":1,"grace":0}}', "too many values"),
        (tampered(Listen(serial=1, transport="tcp", address=Address("::1", 1)), address="localhost:80"), "localhost"),
        (amending(colours=[]), "colours"),
        (amending(listeners=[{**LISTENER, "protocol": "udp"}]), "udp"),
        (amending(listeners=[{**LISTENER, "protocol": "tcp"}]), "sozu_id_header"),
        (amending(listeners=[{**LISTENER, "colour": "red"}]), "colour"),
        (amending(listeners=[{"protocol": "http"}]), "address"),
        (amending(listeners=[7]), "int"),
        (amending(clusters=[{}]), "cluster_id"),
        (amending(gone_listeners=[["tcp"]]), "tcp"),
        (amending(gone_http_frontends=[["127.0.0.1:1", "*", "GUESS", "", None]]), "GUESS"),
        (amending(settings={"log_level": "info", "timeouts": {}, "colour": 1}), "colour"),
        (amending(declared={"gone": []}), "gone"),
        (b"Lines many\nline", "many"),
        (b"Lines 0\n\xff", "utf-8"),
    ],
)
def test_what_is_wrong_is_named(document: bytes, named: str) -> None:
    with pytest.raises(ChannelError, match=named):
        decode(document, {**ASKS, **REPORTS})


HUGE = b"9" * 4300


@pytest.mark.parametrize(
    "document",
    [
        b'{"Logged":{"lines":[],"dropped":%b}}' % HUGE,
        b'{"Logged":{"lines":[],"dropped":9223372036854775808}}',
        b'{"Logged":{"lines":[],"dropped":-1}}',
        b'{"Logged":{"lines":[],"dropped":1.5}}',
        b'{"Logged":{"lines":[],"dropped":true}}',
        b'{"Logged":{"lines":[],"dropped":"7"}}',
        b'{"Logged":{"lines":[7],"dropped":0}}',
        b'{"Logged":{"lines":[[]],"dropped":0}}',
        b'{"Logged":{"lines":5,"dropped":0}}',
        b"Lines %b\n" % HUGE,
        b"Lines -1\n",
        b"Lines 9223372036854775808\nline",
        b'{"Counted":{"counters":[%b]}}' % HUGE,
        b'{"Counted":{"counters":[-1]}}',
        b'{"Stopped":{"cut":1e3}}',
        b'{"Reply":{"serial":NaN}}',
        b'{"Reply":{"serial":1,"failure":[]}}',
        b'{"Stranded":{"left":Infinity}}',
        b'{"HandedOver":{"moved":-1,"left":0}}',
        b'{"Sandboxed":{"layers":[1]}}',
        b'{"Holding":{"sockets":[[-1,"tcp","127.0.0.1:1"]]}}',
    ],
)
def test_what_a_worker_says_is_no_text_of_a_number_and_none_that_grows(document: bytes) -> None:
    with pytest.raises(ChannelError):
        decode(document, REPORTS)


@pytest.mark.parametrize("seconds", ["NaN", "Infinity", "1e999", "-1", "1e19", '"5"'])
def test_an_adopted_worker_has_a_number_of_seconds_left(seconds: str) -> None:
    document = encode(Adopted(worker_id=1, program=Program(), secret="ab", seconds_left=12345))
    assert decode(document, REPORTS) == Adopted(worker_id=1, program=Program(), secret="ab", seconds_left=12345)
    with pytest.raises(ChannelError):
        decode(document.replace(b"12345", seconds.encode()), REPORTS)


def test_the_largest_number_a_worker_may_say() -> None:
    largest = (1 << 63) - 1
    for report in (Lines(lines="a", dropped=largest), Counted(counters=(0, largest)), Stopped(cut=largest)):
        assert decode(encode(report), REPORTS) == report


def test_an_error_is_told_in_few_words() -> None:
    with pytest.raises(ChannelError) as raised:
        decode(b'{"%b":{}}' % (b"x" * 60000), REPORTS)
    assert len(str(raised.value)) < 1000


def test_what_the_other_side_says_is_not_taken_from_this_one() -> None:
    with pytest.raises(ChannelError):
        decode(encode(Lines(lines="a", dropped=0)), ASKS)
    with pytest.raises(ChannelError):
        decode(encode(COMMIT), REPORTS)


def test_lines_with_half_a_character_are_not_lost() -> None:
    back = decode(encode(Lines(lines="GET /\ud800", dropped=0)), REPORTS)
    assert back == Lines(lines="GET /\\ud800", dropped=0)
