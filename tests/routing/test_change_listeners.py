"""Listeners over the socket."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from sozu_trio.config.addresses import Address
from sozu_trio.config.limits import HeadLimits
from sozu_trio.config.listeners import HttpListener, Listener, TcpListener, Timeouts
from sozu_trio.config.program import Settings
from sozu_trio.routing.state import EMPTY, State

Changed = Callable[..., State]
Refused = Callable[..., list[str]]

WEB, MAIL = Address("127.0.0.1", 80), Address("127.0.0.1", 25)
AT_WEB: dict[str, Any] = {"address": "127.0.0.1:80"}
AT_MAIL: dict[str, Any] = {"address": "127.0.0.1:25"}
OURS = replace(EMPTY, settings=Settings(timeouts=Timeouts(front=7, back=8, connect=9, request=10)))


@pytest.fixture
def state(changed: Changed) -> State:
    return changed(OURS, ("listener http add", AT_WEB), ("listener tcp add", AT_MAIL))


def web(state: State) -> Listener:
    return state.listeners["tcp", WEB]


def mail(state: State) -> Listener:
    return state.listeners["tcp", MAIL]


def test_what_is_not_said_is_the_default_of_the_file(state: State) -> None:
    assert web(state) == HttpListener(address=WEB, timeouts=OURS.settings.timeouts, active=False)
    assert mail(state) == TcpListener(address=MAIL, timeouts=OURS.settings.timeouts, active=False)


EVERYTHING = {
    "expect-proxy": True,
    "front-timeout": 1,
    "back-timeout": 2,
    "connect-timeout": 3,
    "request-timeout": 4,
    "sozu-id-header": "X-Id",
    "elide-x-real-ip": True,
    "send-x-real-ip": True,
    "trusted-proxies": ["10.0.0.0/8"],
    "upgrade-protocols": ["a", "b"],
    "via": "me",
    "max-head-size": 1000,
    "max-request-line": 900,
    "max-fields": 5,
    "max-body-size": 6,
    "max-requests-per-connection": 7,
    "min-body-rate": 8,
}


@pytest.mark.parametrize("verb", ["listener http update", "listener update"])
def test_everything_of_an_http_listener_can_be_said_and_changed(changed: Changed, state: State, verb: str) -> None:
    wanted = HttpListener(
        address=WEB,
        expect_proxy=True,
        timeouts=Timeouts(front=1, back=2, connect=3, request=4),
        limits=HeadLimits(head=1000, request_line=900, fields=5),
        sozu_id_header="X-Id",
        elide_x_real_ip=True,
        send_x_real_ip=True,
        trusted_proxies=("10.0.0.0/8",),
        upgrade_protocols=("a", "b"),
        via="me",
        max_body_size=6,
        max_requests_per_connection=7,
        min_body_rate=8,
        active=False,
    )
    added = changed(OURS, ("listener http add", {**AT_WEB, **EVERYTHING}))
    assert web(added) == wanted
    assert web(changed(state, (verb, {**AT_WEB, **EVERYTHING}))) == wanted
    assert changed(added, (verb, AT_WEB)) == added


@pytest.mark.parametrize("verb", ["listener tcp update", "listener update"])
def test_everything_of_a_tcp_listener_can_be_said_and_changed(changed: Changed, state: State, verb: str) -> None:
    body = {**AT_MAIL, "public-address": "1.2.3.4:5", "front-timeout": 1, "back-timeout": 2, "connect-timeout": 3}
    wanted = TcpListener(
        address=MAIL,
        public_address=Address("1.2.3.4", 5),
        timeouts=Timeouts(front=1, back=2, connect=3, request=10),
        active=False,
    )
    added = changed(OURS, ("listener tcp add", body))
    assert mail(added) == wanted
    assert mail(changed(state, (verb, body))) == wanted
    assert mail(changed(added, (verb, {**AT_MAIL, "back-timeout": 0}))) == replace(
        wanted, timeouts=replace(wanted.timeouts, back=0)
    )


def test_false_can_be_said(changed: Changed) -> None:
    before = changed(EMPTY, ("listener http add", {**AT_WEB, **EVERYTHING}))
    after = changed(before, ("listener update", {**AT_WEB, "expect-proxy": False, "trusted-proxies": []}))
    assert isinstance(listener := web(before), HttpListener)
    assert web(after) == replace(listener, expect_proxy=False, trusted_proxies=())


def test_the_request_line_of_a_small_head_is_as_small(changed: Changed, state: State, refused: Refused) -> None:
    small = changed(EMPTY, ("listener http add", {**AT_WEB, "max-head-size": 4096}))
    assert isinstance(listener := web(small), HttpListener)
    assert listener.limits == HeadLimits(head=4096, request_line=4096)
    assert refused(
        state,
        ("listener update", {**AT_WEB, "max-head-size": 4096}),
        ("listener http update", {**AT_WEB, "max-request-line": 70_000}),
    ) == [
        "changes[0].max-head-size: max-request-line would be 8192 and max-head-size 4096; want at most that",
        "changes[1].max-request-line: max-request-line would be 70000 and max-head-size 65536; want at most that",
    ]


def test_a_public_address_excludes_proxy_headers(changed: Changed, state: State, refused: Refused) -> None:
    expecting = changed(state, ("listener tcp update", {**AT_MAIL, "expect-proxy": True}))
    what = "expect-proxy: expect-proxy is true and public-address '1.2.3.4:5'; want only one of both"
    both = {"public-address": "1.2.3.4:5", "expect-proxy": True}
    assert refused(
        expecting,
        ("listener update", {**AT_MAIL, "public-address": "1.2.3.4:5"}),
        ("listener http update", {**AT_WEB, **both}),
        ("listener http add", {"address": "127.0.0.1:81", **both}),
    ) == [f"changes[0].{what}", f"changes[1].{what}", f"changes[2].{what}"]


@pytest.mark.parametrize("kind", ["http ", ""])
def test_on_and_off(changed: Changed, state: State, kind: str) -> None:
    on = changed(state, (f"listener {kind}activate", AT_WEB))
    assert web(on) == replace(web(state), active=True)
    assert changed(on, (f"listener {kind}activate", AT_WEB)) == on
    off = changed(on, (f"listener {kind}deactivate", {**AT_WEB, "deadline": 3}))
    assert off == state
    assert changed(off, (f"listener {kind}deactivate", AT_WEB)) == off


@pytest.mark.parametrize("kind", ["tcp ", ""])
def test_removed(changed: Changed, state: State, kind: str) -> None:
    assert list(changed(state, (f"listener {kind}remove", AT_MAIL)).listeners) == [("tcp", WEB)]


@pytest.mark.parametrize("verb", ["update", "activate", "deactivate", "remove"])
def test_a_listener_of_another_kind_and_none(refused: Refused, state: State, verb: str) -> None:
    assert refused(
        state,
        (f"listener http {verb}", AT_MAIL),
        (f"listener tcp {verb}", AT_WEB),
        (f"listener {verb}", {"address": "127.0.0.1:8"}),
    ) == [
        "changes[0].address: found '127.0.0.1:25', a tcp listener; want an http listener",
        "changes[1].address: found '127.0.0.1:80', an http listener; want a tcp listener",
        "changes[2].address: found '127.0.0.1:8'; there is no listener; did you mean '127.0.0.1:80'?",
    ]


def test_two_listeners_at_one_address(refused: Refused, state: State) -> None:
    assert refused(state, ("listener http add", AT_WEB), ("listener http add", AT_MAIL)) == [
        "changes[0].address: exists: an http listener at 127.0.0.1:80; update it, or remove it first",
        "changes[1].address: exists: a tcp listener at 127.0.0.1:25; update it, or remove it first",
    ]


def test_a_tcp_listener_has_no_head(refused: Refused, state: State) -> None:
    body = {**AT_MAIL, "request-timeout": 3, "via": "", "front-timeout": 3, "sticky-name": "a"}
    assert refused(state, ("listener update", body)) == [
        "changes[0].request-timeout: 127.0.0.1:25 is a tcp listener, "
        "which has no request-timeout and no via and no sticky-name"
    ]
