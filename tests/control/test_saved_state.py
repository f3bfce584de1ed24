"""What is dumped can be loaded; what a person has done to it meanwhile is judged, all of it at once."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import Backend, Cluster, HttpFrontend, LoadBalancing, TcpFrontend
from sozu_trio.config.limits import HeadLimits
from sozu_trio.config.listeners import HttpListener, TcpListener, Timeouts
from sozu_trio.config.program import Settings
from sozu_trio.control.saved_state import Saved, dump_document, dump_text, load_into, read_saved_state
from sozu_trio.errors import ChangeRefused
from sozu_trio.main.certificates import ANY_TIME
from sozu_trio.routing.state import EMPTY, State, declare, with_declared
from tests.control.states import STATES
from tests.tls.parts import issue

WEB, MAIL = Address("127.0.0.1", 80), Address("127.0.0.1", 25)
ASKING = {"protocol": "https", "address": "127.0.0.1:80", "client_auth": "required"}
AUTHORITY = issue(common_name="one", authority=True).pem.decode()
FLAT = declare(
    [HttpListener(address=WEB), TcpListener(address=MAIL)],
    [Cluster(cluster_id="api", protocol="http"), Cluster(cluster_id="mail")],
    [HttpFrontend(address=WEB, hostname="example.com", cluster_id="api"), HttpFrontend(address=WEB, hostname="*")],
    [TcpFrontend(address=MAIL, cluster_id="mail", tags={"key": "value"})],
    [Backend(cluster_id="api", backend_id="api-1", address=Address("::1", 9000))],
    Settings(log_level="debug"),
)


def document(**members: Any) -> dict[str, Any]:
    return {"format": "sozu_trio state", "version": 1, **members}


def read(**members: Any) -> Saved:
    return read_saved_state(json.dumps(document(**members)), ANY_TIME)


def problems(content: bytes | str) -> list[str]:
    with pytest.raises(ChangeRefused) as caught:
        read_saved_state(content, ANY_TIME)
    return [str(problem) for problem in caught.value.problems]


@settings(max_examples=60, deadline=None)
@given(STATES)
def test_what_is_dumped_is_read_again(state: State) -> None:
    text = dump_text(dump_document(state, 3, secrets=True))
    for content in (text, text.encode(), json.dumps(json.loads(text))):
        saved = read_saved_state(content, ANY_TIME)
        assert saved.state == replace(state, settings=Settings(), declared=None)
        assert list(saved.state.http_frontends) == list(state.http_frontends)
        assert saved.settings == state.settings
        assert saved.unknown == ()


def test_a_dump_has_one_record_a_line() -> None:
    state = with_declared(FLAT, replace(FLAT, clusters={"api": FLAT.clusters["api"]}, backends={}))
    text = dump_text(dump_document(state, 12, secrets=False))
    lines = text.splitlines()
    assert lines[:5] == [
        "{",
        ' "format": "sozu_trio state",',
        ' "version": 1,',
        ' "generation": 12,',
        ' "listeners": [',
    ]
    records = [json.loads(line.strip().rstrip(",")) for line in lines if line.startswith("  {")]
    assert len(records) == 8
    origins = {record["cluster_id"]: record["origin"] for record in records if "load_balancing" in record}
    assert origins == {"api": "file", "mail": "socket"}
    assert '"tags": {"key": "value"}' in text
    assert json.loads(text)["settings"]["log_level"] == "debug"
    assert dump_text(dump_document(EMPTY, 0, secrets=False)).count("[]") == 6


def test_secrets_are_left_out_of_a_dump(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sozu_trio.control.records.SECRETS", {"via"})
    state = replace(EMPTY, listeners={("tcp", WEB): HttpListener(address=WEB, via="hidden")})
    assert "hidden" in dump_text(dump_document(state, 1, secrets=True))
    assert "hidden" not in dump_text(dump_document(state, 1, secrets=False))


def test_a_dump_for_people_counts_authorities() -> None:
    state = read(listeners=[{**ASKING, "client_ca": AUTHORITY}]).state
    for secrets in (False, True):
        (listener,) = dump_document(state, 1, secrets=secrets)["listeners"]
        assert listener["client_ca"] == AUTHORITY if secrets else listener["client_ca"].startswith("1 authority (")
        assert listener["client_auth"] == "required"


def test_what_is_left_out_has_its_default() -> None:
    saved = read(
        listeners=[{"protocol": "http", "address": "127.0.0.1:80", "max_head_size": 4096}],
        clusters=[{"cluster_id": "api", "load_balancing": "RANDOM", "protocol": None}],
        http_frontends=[{"address": "127.0.0.1:80", "hostname": "*", "cluster_id": "api"}],
        tcp_frontends=[{"address": "127.0.0.1:25", "cluster_id": "api"}],
        backends=[{"cluster_id": "api", "backend_id": "1", "address": "127.0.0.1:80"}],
    )
    assert saved.state == declare(
        [HttpListener(address=WEB, limits=HeadLimits(head=4096, request_line=4096))],
        [Cluster(cluster_id="api", load_balancing=LoadBalancing.RANDOM)],
        [HttpFrontend(address=WEB, hostname="*", cluster_id="api")],
        [TcpFrontend(address=MAIL, cluster_id="api")],
        [Backend(cluster_id="api", backend_id="1", address=WEB)],
    )
    assert saved.settings is None
    assert saved.objects == 5
    assert read(settings={"front_timeout": 7}).settings == Settings(timeouts=Timeouts(front=7))


@pytest.mark.parametrize(
    ("members", "told"),
    [
        ({"clusters": {}}, "clusters: found a table; want an array"),
        ({"clusters": ["api"]}, "clusters[0]: found 'api'; want a table"),
        ({"clusters": [{}]}, "clusters[0].cluster_id: missing; want the id of a cluster, such as api"),
        ({"clusters": [{"cluster_id": ""}]}, "clusters[0].cluster_id: found ''; want the id of a cluster, such as api"),
        (
            {"clusters": [{"cluster_id": "a", "load_balancing": "BEST"}]},
            "clusters[0].load_balancing: found 'BEST'; want 'ROUND_ROBIN', 'RANDOM', 'LEAST_LOADED' or 'POWER_OF_TWO'",
        ),
        (
            {"clusters": [{"cluster_id": "a", "load_balance": "RANDOM"}]},
            "clusters[0].load_balance: unknown key; did you mean 'load_balancing'?",
        ),
        (
            {"clusters": [{"cluster_id": "a"}, {"cluster_id": "a"}]},
            "clusters[1]: the same cluster_id as clusters[0]; want only one of them",
        ),
        (
            {"listeners": [{"protocol": "udp", "address": "127.0.0.1:80"}]},
            "listeners[0].protocol: found 'udp'; want 'http', 'https' or 'tcp'",
        ),
        (
            {"listeners": [{"protocol": "tcp", "address": "127.0.0.1:80", "via": "x"}]},
            "listeners[0].via: found 'x'; want none: this is a tcp listener",
        ),
        (
            {
                "listeners": [
                    {"protocol": "http", "address": "127.0.0.1:80", "max_head_size": 300, "max_request_line": 301}
                ]
            },
            "listeners[0].max_request_line: found 301; want at most max_head_size, which is 300",
        ),
        (
            {"http_frontends": [{"address": "127.0.0.1:80", "hostname": "a..b"}]},
            "http_frontends[0].hostname: 'a..b' is not a host: a label is empty; "
            "want example.com, *.example.com, *, /regex/.example.com or an IP literal",
        ),
        (
            {"http_frontends": [{"address": "127.0.0.1:80", "hostname": "*", "path": "/?a"}]},
            "http_frontends[0].path: '/?a' is not a path: it is compared without the query, so it ends before the '?'",
        ),
        (
            {"listeners": [{"protocol": "tcp", "address": "127.0.0.1:0"}]},
            "listeners[0].address: found '127.0.0.1:0'; want a port from 1 to 65535",
        ),
        (
            {"backends": [{"cluster_id": "a", "backend_id": "b", "address": "127.0.0.1:0"}]},
            "backends[0].address: found '127.0.0.1:0'; want a port from 1 to 65535",
        ),
        (
            {"listeners": [{"protocol": "https", "address": "127.0.0.1:80", "client_auth": "required"}]},
            "listeners[0].client_ca: missing; want a PEM file of the authorities",
        ),
        (
            {"listeners": [{**ASKING, "client_ca": "2 authorities (0123456789ab)"}]},
            "listeners[0].client_ca: no certificate in PEM form",
        ),
        (
            {"listeners": [{**ASKING, "client_ca": AUTHORITY, "client_subject_header": "Host"}]},
            "listeners[0].client_subject_header: found 'Host', which has a meaning of its own",
        ),
        (
            {"listeners": [{"protocol": "http", "address": "127.0.0.1:80", "client_auth": "optional"}]},
            "listeners[0].client_auth: found 'optional'; want none: this is an http listener",
        ),
        ({"settings": []}, "settings: found an empty array; want a table"),
        ({"settings": {"front_timeout": -1}}, "settings.front_timeout: found -1; want a number of seconds from 0 to"),
        ({"cluster": []}, "cluster: unknown key; known are listeners, clusters, http_frontends, tcp_frontends"),
        ({"version": 2}, "version: found 2; want 1"),
        ({"version": None}, "version: found null; want 1"),
    ],
)
def test_what_is_wrong_is_told(members: dict[str, Any], told: str) -> None:
    (problem,) = problems(json.dumps(document(**members)))
    assert problem.startswith(told)


def test_everything_that_is_wrong_is_told_at_once() -> None:
    found = problems(
        json.dumps(
            document(
                listeners=[{"protocol": "http", "address": 5}],
                clusters=[{"cluster_id": "a", "idle_timeout": "x", "send_proxy": 1}, {"cluster_id": "a"}],
                extra=1,
            )
        )
    )
    assert [problem.partition(":")[0] for problem in found] == [
        "extra",
        "listeners[0].address",
        "clusters[0].send_proxy",
        "clusters[0].idle_timeout",
    ]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "no saved state: not JSON"),
        (b"\xff", "no saved state: not UTF-8"),
        ("\ud800", "no saved state: not UTF-8"),
        ("[]", "no saved state: want one that `state save` wrote"),
        ('{"format": "sozu_trio journal"}', "no saved state: want one that `state save` wrote"),
        ('{"a": 1, "a": 2}', "no saved state: a member occurs twice"),
    ],
)
def test_what_is_no_saved_state(content: bytes | str, told: str) -> None:
    (problem,) = problems(content)
    assert problem.startswith(told)


@settings(max_examples=100, deadline=None)
@given(mangle=st.text(max_size=20) | st.sampled_from(["[" * 9000, "null", "NaN", "1e999"]), at=st.integers(0, 3000))
def test_mangled_states(mangle: str, at: int) -> None:
    text = dump_text(dump_document(FLAT, 1, secrets=True))
    try:
        saved = read_saved_state(text[:at] + mangle + text[at + len(mangle) :], ANY_TIME)
    except ChangeRefused:
        return
    saved.state.check()


def test_loading_adds_and_replaces() -> None:
    before = with_declared(FLAT, FLAT)
    saved = read(
        listeners=[{"protocol": "http", "address": "127.0.0.1:80", "via": "new"}],
        clusters=[{"cluster_id": "new"}],
        http_frontends=[{"address": "127.0.0.1:80", "hostname": "EXAMPLE.com", "cluster_id": "new"}],
        backends=[
            {"cluster_id": "api", "backend_id": "api-2", "address": "127.0.0.1:80"},
            {"cluster_id": "new", "backend_id": "new-1", "address": "127.0.0.1:80"},
        ],
    )
    after = load_into(before, saved)
    after.check()
    assert after.declared == before.declared
    assert after.settings == before.settings
    assert list(after.listeners.values()) == [HttpListener(address=WEB, via="new"), TcpListener(address=MAIL)]
    assert list(after.clusters) == ["api", "mail", "new"]
    assert [rule.cluster_id for rule in after.http_frontends.values()] == ["new", None]
    assert {cluster: list(backends) for cluster, backends in after.backends.items()} == {
        "api": ["api-1", "api-2"],
        "new": ["new-1"],
    }
    assert load_into(after, read(settings={"log_level": "warn"})).settings.log_level == "warn"


def test_what_comes_together_has_to_fit() -> None:
    saved = read(
        listeners=[{"protocol": "http", "address": "127.0.0.1:25"}],
        clusters=[{"cluster_id": "api", "protocol": "tcp"}],
        tcp_frontends=[{"address": "127.0.0.1:80", "cluster_id": "api"}],
    )
    with pytest.raises(ChangeRefused) as caught:
        load_into(FLAT, saved)
    assert [str(problem) for problem in caught.value.problems] == [
        "http frontend example.com at 127.0.0.1:80: found 'api', a tcp cluster; want one that speaks http",
        "tcp frontend at 127.0.0.1:25: found an http listener there; want one that speaks tcp",
        "tcp frontend at 127.0.0.1:80: found an http listener there; want one that speaks tcp",
    ]


def test_what_waits_for_a_cluster_is_loaded_like_all_else() -> None:
    """`cluster remove` leaves its frontends, and what can be saved can be loaded."""
    rule = {"address": "127.0.0.1:81", "hostname": "*", "cluster_id": "gone"}
    assert load_into(FLAT, read(http_frontends=[rule])).clusters == FLAT.clusters


def sozu(*requests: tuple[str, dict[str, Any]]) -> bytes:
    records = [
        {"id": f"SAVE-{number}", "content": {"request_type": {kind: body}}}
        for number, (kind, body) in enumerate(requests)
    ]
    return b"".join(json.dumps(record).encode() + b"\n\0" for record in records)


LOCAL = {"ip": {"inner": {"V4": 2130706433}}, "port": 80}
RULE = {"address": LOCAL, "hostname": "example.com", "path": {"kind": 0, "value": "/"}, "position": 2, "tags": {}}


def test_a_state_of_sozus() -> None:
    saved = read_saved_state(
        sozu(
            ("ADD_HTTP_LISTENER", {"address": LOCAL, "expect_proxy": False, "front_timeout": 5, "active": True}),
            ("ACTIVATE_LISTENER", {"address": LOCAL, "proxy": 0, "from_scm": False}),
            ("ADD_CLUSTER", {"cluster_id": "api", "sticky_session": True, "load_balancing": 1}),
            ("ADD_HTTP_FRONTEND", {"cluster_id": "api", **RULE}),
            ("ADD_CERTIFICATE", {"address": LOCAL, "certificate": {"key": "SECRET"}}),
            ("ADD_BACKEND", {"cluster_id": "api", "backend_id": "1", "address": LOCAL}),
        ),
        ANY_TIME,
    )
    state = saved.state
    state.check()
    (listener,) = state.listeners.values()
    assert isinstance(listener, HttpListener)
    assert (listener.active, listener.timeouts.front) == (True, 5)
    assert state.clusters["api"].load_balancing is LoadBalancing.RANDOM
    assert [rule.cluster_id for rule in state.http_frontends.values()] == ["api"]
    assert state.backends["api"]["1"].address == WEB
    assert saved.settings is None
    assert [str(problem) for problem in saved.unknown] == [
        "records[2]: ADD_CLUSTER: sticky_session: found true: not built yet: sticky sessions",
        "records[4]: ADD_CERTIFICATE: certificate: want an object with certificate and key, both PEM",
    ]


def test_what_cannot_be_made_of_sozus_state_is_told_with_what_depends_on_it() -> None:
    saved = read_saved_state(
        sozu(
            ("ADD_CLUSTER", {"cluster_id": 5}),
            ("ADD_CLUSTER", {"cluster_id": "api"}),
            ("ADD_BACKEND", {"cluster_id": "api", "backend_id": "1", "address": LOCAL}),
            ("ADD_BACKEND", {"cluster_id": "gone", "backend_id": "1", "address": LOCAL}),
            ("ADD_HTTP_FRONTEND", {"cluster_id": "gone", **RULE}),
        ),
        ANY_TIME,
    )
    assert list(saved.state.clusters) == ["api"]
    assert list(saved.state.backends) == ["api"]
    assert {problem.where.partition("]")[0] + "]" for problem in saved.unknown} == {
        "records[0]",
        "records[3]",
        "records[4]",
    }


def test_an_empty_file_says_nothing() -> None:
    assert read_saved_state(b"", ANY_TIME) == Saved(state=EMPTY)
