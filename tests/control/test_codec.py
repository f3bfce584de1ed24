"""Records come back as they went, and nothing else comes back at all."""

import json
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import (
    Backend,
    Cluster,
    HttpFrontend,
    LoadBalancing,
    LoadMetric,
    PathType,
    Position,
    TcpFrontend,
)
from sozu_trio.config.limits import HeadLimits
from sozu_trio.config.listeners import HttpListener, TcpListener, Timeouts
from sozu_trio.config.program import Program
from sozu_trio.control.codec import decode, encode
from sozu_trio.control.messages import (
    ASKS,
    REPORTS,
    Begin,
    Commit,
    Lines,
    Listen,
    Prepare,
    Reply,
    Stop,
    Stopped,
    Unlisten,
)
from sozu_trio.errors import ChannelError
from sozu_trio.routing.state import EMPTY, State, declare

TEXT = st.text(max_size=12)
SECONDS = st.one_of(st.integers(0, 100), st.floats(0, 1e6), st.just(float("inf")))
ADDRESSES = st.builds(Address, st.sampled_from(["127.0.0.1", "::1", "fe80::1"]), st.integers(0, 65535))
TAGS = st.dictionaries(TEXT, TEXT, max_size=3).map(MappingProxyType)
TIMEOUTS = st.builds(Timeouts, front=SECONDS, back=SECONDS, connect=SECONDS, request=SECONDS)
LIMITS = st.builds(HeadLimits, head=st.integers(1), request_line=st.integers(1), fields=st.integers(1))
HTTP_LISTENERS = st.builds(
    HttpListener,
    address=ADDRESSES,
    public_address=st.none() | ADDRESSES,
    expect_proxy=st.booleans(),
    timeouts=TIMEOUTS,
    limits=LIMITS,
    sozu_id_header=TEXT,
    trusted_proxies=st.lists(TEXT, max_size=2).map(tuple),
    upgrade_protocols=st.lists(TEXT, max_size=2).map(tuple),
    active=st.booleans(),
)
TCP_LISTENERS = st.builds(
    TcpListener, address=ADDRESSES, expect_proxy=st.booleans(), timeouts=TIMEOUTS, active=st.booleans()
)
CLUSTERS = st.builds(
    Cluster,
    cluster_id=TEXT,
    protocol=st.sampled_from(["http", "tcp"]),
    load_balancing=st.sampled_from(LoadBalancing),
    load_metric=st.sampled_from(LoadMetric),
    send_proxy=st.booleans(),
    idle_timeout=SECONDS,
)
HTTP_FRONTENDS = st.builds(
    HttpFrontend,
    address=ADDRESSES,
    hostname=st.sampled_from(["example.com", "*", "*.example.com", "/a+/.example.com"]),
    path=TEXT,
    path_type=st.sampled_from(PathType),
    method=st.none() | TEXT,
    position=st.sampled_from(Position),
    cluster_id=st.none() | TEXT,
    tags=TAGS,
)
TCP_FRONTENDS = st.builds(TcpFrontend, address=ADDRESSES, cluster_id=TEXT, tags=TAGS)
BACKENDS = st.builds(
    Backend,
    cluster_id=TEXT,
    backend_id=TEXT,
    address=ADDRESSES,
    weight=st.integers(0, 255),
    backup=st.booleans(),
)


def distinct(records: st.SearchStrategy[Any], key: Callable[[Any], object]) -> st.SearchStrategy[list[Any]]:
    return st.lists(records, max_size=4, unique_by=key)


STATES = st.builds(
    declare,
    distinct(HTTP_LISTENERS | TCP_LISTENERS, lambda listener: listener.address),
    distinct(CLUSTERS, lambda cluster: cluster.cluster_id),
    distinct(HTTP_FRONTENDS, lambda f: (f.address, f.hostname, f.path_type, f.path, f.method)),
    distinct(TCP_FRONTENDS, lambda frontend: frontend.address),
    distinct(BACKENDS, lambda backend: (backend.cluster_id, backend.backend_id)),
)
PROGRAMS = st.builds(
    Program,
    command_socket=st.builds(Path, st.sampled_from(["/run/a.sock", "b"])),
    command_allowed_uids=st.none() | st.lists(st.integers(0, 9), max_size=3).map(tuple),
    shutdown_timeout=SECONDS,
    timeouts=TIMEOUTS,
    pid_file_path=st.none() | st.just(Path("/run/pid")),
    log_level=TEXT,
    access_logs_target=st.none() | TEXT,
    access_logs_format=st.sampled_from(["ascii", "json"]),
)
SERIALS = st.integers(0, 1 << 60)
TRANSPORTS = st.just("tcp")
ANY_ASK = st.one_of(
    st.builds(Begin, serial=SERIALS, worker_id=st.integers(0, 64), program=PROGRAMS),
    st.builds(Commit, serial=SERIALS, generation=SERIALS),
    st.builds(Listen, serial=SERIALS, transport=TRANSPORTS, address=ADDRESSES),
    st.builds(Unlisten, serial=SERIALS, transport=TRANSPORTS, address=ADDRESSES, grace=st.none() | SECONDS),
    st.builds(Stop, serial=SERIALS, grace=st.none() | SECONDS),
)
ANY_REPORT = st.one_of(
    st.builds(Reply, serial=SERIALS, failure=st.none() | TEXT),
    st.builds(Lines, lines=st.text(st.characters(exclude_categories=["Cs"])), dropped=SERIALS),
    st.builds(Stopped, cut=SERIALS),
)


@settings(max_examples=60, deadline=None)
@given(STATES)
def test_a_state_comes_back_with_its_order(state: State) -> None:
    message = Prepare(serial=1, generation=2, state=state)
    back = decode(encode(message), ASKS)
    assert back == message
    assert isinstance(back, Prepare)
    back.state.check()
    assert list(back.state.http_frontends) == list(state.http_frontends)
    assert list(back.state.listeners) == list(state.listeners)
    assert [list(members) for members in back.state.backends.values()] == [list(m) for m in state.backends.values()]


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
PREPARE = Prepare(serial=1, generation=2, state=EMPTY)


@pytest.mark.parametrize(
    ("document", "named"),
    [
        (b'{"Commit":{"serial":1}}', "generation"),
        (tampered(COMMIT, surprise=1), "surprise"),
        (b'{"Obey":{"serial":1}}', "Obey"),
        (b'{"Commit":{"serial":1,"generation":2},"Stop":{"serial":1,"grace":0}}', "too many values"),
        (tampered(Listen(serial=1, transport="tcp", address=Address("::1", 1)), address="localhost:80"), "localhost"),
        (tampered(PREPARE, state={}), "listeners"),
        (
            tampered(PREPARE, state={**json.loads(encode(PREPARE))["Prepare"]["state"], "certificates": []}),
            "certificates",
        ),
        (
            tampered(
                PREPARE, state={**json.loads(encode(PREPARE))["Prepare"]["state"], "listeners": [{"protocol": "udp"}]}
            ),
            "udp",
        ),
        (b"Lines many\nline", "many"),
        (b"Lines 0\n\xff", "utf-8"),
    ],
)
def test_what_is_wrong_is_named(document: bytes, named: str) -> None:
    with pytest.raises(ChannelError, match=named):
        decode(document, {**ASKS, **REPORTS})


def test_what_the_other_side_says_is_not_taken_from_this_one() -> None:
    with pytest.raises(ChannelError):
        decode(encode(Lines(lines="a", dropped=0)), ASKS)
    with pytest.raises(ChannelError):
        decode(encode(COMMIT), REPORTS)


def test_lines_with_half_a_character_are_not_lost() -> None:
    back = decode(encode(Lines(lines="GET /\ud800", dropped=0)), REPORTS)
    assert back == Lines(lines="GET /\\ud800", dropped=0)
