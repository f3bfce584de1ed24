"""The file says something new, at a reload and at a start."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sozu_trio.config.addresses import Address
from sozu_trio.config.certificates import ListenerCertificate
from sozu_trio.config.clusters import Backend, Cluster, HttpFrontend, Position, TcpFrontend
from sozu_trio.config.listeners import HttpListener, TcpListener, Timeouts
from sozu_trio.config.program import Settings
from sozu_trio.routing.delta import NOTHING, amend, diff, is_ordered
from sozu_trio.routing.reconcile import reload, restart, roll_back
from sozu_trio.routing.state import EMPTY, FrontendKey, State, declare, with_declared
from tests.routing.asked import SEQUENCES, STATES, Asked, carried_out, copied
from tests.routing.certificates import certificate

WEB, MAIL, ELSE = Address("127.0.0.1", 80), Address("127.0.0.1", 25), Address("127.0.0.1", 9)


def backend(backend_id: str, weight: int = 100, cluster_id: str = "a") -> Backend:
    return Backend(cluster_id=cluster_id, backend_id=backend_id, address=ELSE, weight=weight)


def rule(path: str, cluster_id: str | None = None) -> HttpFrontend:
    return HttpFrontend(address=WEB, hostname="*", path=path, position=Position.PRE, cluster_id=cluster_id)


def said(*backends: Backend) -> State:
    return declare([], [], [], [], backends)


def paths(state: State) -> str:
    return "".join(each.path for each in state.http_frontends.values())


def rules(letters: str) -> State:
    return declare([], [], [rule(path) for path in letters], [], [])


def in_force(state: State, declared: State) -> State:
    return with_declared(state, declared)


def weights(state: State) -> dict[str, int]:
    return {each.backend_id: each.weight for each in state.backends.get("a", {}).values()}


FILE = said(backend("kept"), backend("changed", 1), backend("dropped"))
NEW_FILE = said(backend("kept"), backend("changed", 2), backend("new"))


@pytest.mark.parametrize("follow", [reload, restart])
def test_what_the_file_alone_has_changed(follow: object) -> None:
    assert callable(follow)
    assert follow(in_force(FILE, FILE), NEW_FILE) == in_force(NEW_FILE, NEW_FILE)
    assert follow(EMPTY, FILE) == in_force(FILE, FILE)
    assert follow(in_force(FILE, FILE), EMPTY) == EMPTY


TOUCHED = said(backend("changed", 7), backend("dropped", 7), backend("socket", 7))
"""Over the socket `kept` was removed, `socket` added, and the others changed."""


def test_a_reload_undoes_what_the_socket_did_to_the_file() -> None:
    after = reload(in_force(TOUCHED, FILE), NEW_FILE)
    assert weights(after) == {"kept": 100, "changed": 2, "new": 100, "socket": 7}
    assert after.declared == NEW_FILE


def test_a_reload_that_prunes_leaves_the_file_alone() -> None:
    assert reload(in_force(TOUCHED, FILE), NEW_FILE, prune=True) == in_force(NEW_FILE, NEW_FILE)


def test_a_start_only_brings_what_has_changed_in_the_file() -> None:
    """`kept` stays removed, since the file still says of it what it said then."""
    after = restart(in_force(TOUCHED, FILE), NEW_FILE)
    assert weights(after) == {"changed": 2, "new": 100, "socket": 7}
    assert after.declared == NEW_FILE
    assert weights(restart(in_force(TOUCHED, FILE), FILE)) == weights(TOUCHED)


def test_what_the_socket_had_first_becomes_the_files() -> None:
    ours, theirs = said(backend("b", 1)), said(backend("b", 2))
    assert reload(ours, theirs) == restart(ours, theirs) == in_force(theirs, theirs)
    assert reload(in_force(theirs, theirs), EMPTY) == EMPTY


def test_every_kind_of_record() -> None:
    file = declare(
        [HttpListener(address=WEB), TcpListener(address=MAIL)],
        [Cluster(cluster_id="a")],
        [rule("x", "a")],
        [TcpFrontend(address=MAIL, cluster_id="a")],
        [backend("1")],
    )
    off = replace(file, listeners={key: replace(each, active=False) for key, each in file.listeners.items()})
    assert reload(in_force(off, file), file) == in_force(file, file)
    assert restart(in_force(off, file), file) == in_force(off, file)
    assert reload(in_force(file, file), EMPTY) == restart(in_force(file, file), EMPTY) == EMPTY
    assert restart(in_force(EMPTY, file), file) == in_force(EMPTY, file)


def test_after_a_reload_the_rules_of_the_file_come_first() -> None:
    state = in_force(rules("1b2a3"), rules("abc"))
    assert paths(reload(state, rules("abd"))) == "abd123"
    assert paths(reload(state, rules("ba"))) == "ba123"


def test_a_start_keeps_the_order_unless_the_file_has_another() -> None:
    state = in_force(rules("1b2a"), rules("ab"))
    assert paths(restart(state, rules("ab"))) == "1b2a"
    assert paths(restart(state, rules("abd"))) == "abd12"


def test_a_rule_that_now_leads_elsewhere_keeps_its_place() -> None:
    file = declare([], [], [rule("a", "x"), rule("b")], [], [])
    assert paths(restart(in_force(rules("1ab"), rules("ab")), file)) == "1ab"


def test_settings() -> None:
    file = replace(EMPTY, settings=Settings(log_level="warn"))
    new = replace(EMPTY, settings=Settings(log_level="warn", timeouts=Timeouts(front=1)))
    debug = with_declared(replace(EMPTY, settings=Settings(log_level="debug")), file)
    assert reload(debug, file).settings.log_level == "warn"
    assert restart(debug, file).settings.log_level == "debug"
    assert restart(debug, new).settings == Settings(log_level="debug", timeouts=Timeouts(front=1))
    assert restart(debug, replace(EMPTY, settings=Settings(log_level="error"))).settings.log_level == "error"


def test_what_stays_is_not_copied() -> None:
    """So the difference of States of ten thousand clusters is found in milliseconds."""
    state = in_force(TOUCHED, FILE)
    assert restart(state, copied(FILE)).backends is state.backends
    assert reload(in_force(FILE, FILE), copied(FILE)).backends is FILE.backends
    kept = reload(in_force(FILE, FILE), copied(NEW_FILE)).backends["a"]["kept"]
    assert kept is FILE.backends["a"]["kept"]


def shows(*words: str, port: int = 443) -> State:
    at = Address("127.0.0.1", port)
    certificates = [ListenerCertificate(address=at, certificate=certificate(word)) for word in words]
    return declare([], [], [], [], [], certificates=certificates)


def shown(state: State) -> str:
    return " ".join(each.certificate.chain for each in state.certificates.values())


@pytest.mark.parametrize(
    ("then", "file_then", "file_now", "back"),
    [
        ("a b", "a b", "a b", "a b"),
        ("a b", "a b", "a+2 b", "a+2 b"),
        ("a b", "a b", "c,a b", "c,a b"),
        ("a c", "a", "a+2", "a+2 c"),
        ("a", "", "a+2", "a"),
        ("a b", "a b", "b", "a b"),
        ("b", "a b", "a+2 b+2", "b+2"),
        ("a", "a", "a b", "a"),
        ("a,b", "a,b", "a b", "a b"),
    ],
)
def test_a_rollback_leaves_renewed_certificates(then: str, file_then: str, file_now: str, back: str) -> None:
    now = in_force(shows("x"), shows(*file_now.split()))
    rolled = roll_back(now, in_force(shows(*then.split()), shows(*file_then.split())))
    assert shown(rolled) == back
    assert rolled.declared == now.declared


def test_a_certificate_of_another_listener_is_no_renewal() -> None:
    rolled = roll_back(in_force(shows("x"), shows("a+2", port=444)), in_force(shows("a"), shows("a")))
    assert shown(rolled) == "a"


def order(state: State) -> list[FrontendKey]:
    return [key for key, frontend in state.http_frontends.items() if is_ordered(frontend)]


@given(STATES, SEQUENCES, STATES, st.booleans())
@settings(max_examples=60, deadline=None)
def test_reloading_twice_is_reloading_once(file: State, asked: list[Asked], new_file: State, prune: bool) -> None:
    state = carried_out(with_declared(file, file), asked)
    once = reload(state, new_file, prune=prune)
    once.check()
    twice = reload(once, new_file, prune=prune)
    assert (twice, list(twice.http_frontends)) == (once, list(once.http_frontends))
    assert diff(once, twice) == NOTHING
    assert amend(state, diff(state, once)) == once
    assert order(amend(state, diff(state, once))) == order(once)
    assert list(once.http_frontends)[: len(new_file.http_frontends)] == list(new_file.http_frontends)


@given(STATES, SEQUENCES, STATES)
@settings(max_examples=60, deadline=None)
def test_starting_again_with_the_same_file_changes_nothing(file: State, asked: list[Asked], new_file: State) -> None:
    state = carried_out(with_declared(file, file), asked)
    same = restart(state, copied(file))
    assert (same, list(same.http_frontends)) == (state, list(state.http_frontends))
    started = restart(state, new_file)
    started.check()
    assert restart(started, new_file) == started
    assert order(amend(state, diff(state, started))) == order(started)


@given(STATES, STATES)
@settings(max_examples=60, deadline=None)
def test_where_the_socket_did_nothing_a_start_is_a_reload(file: State, new_file: State) -> None:
    state = with_declared(file, file)
    assert restart(state, new_file) == reload(state, new_file) == with_declared(new_file, new_file)
