"""Certificates of https listeners: what a change does, and every way in which it can be refused."""

from typing import Any

import pytest

from sozu_trio.config.addresses import Address
from sozu_trio.config.certificates import ListenerCertificate
from sozu_trio.routing.changes import apply_all
from sozu_trio.routing.delta import Delta, diff
from sozu_trio.routing.state import EMPTY, State
from tests.routing.asked import Asked, attempt, carried_out, read
from tests.routing.certificates import certificate, digits

AT = "127.0.0.1:3"
HERE = Address("127.0.0.1", 3)
LISTENER: Asked = ("listener https add", {"address": AT})
PLAIN: Asked = ("listener http add", {"address": "127.0.0.1:1"})


def add(word: str, address: str = AT, **more: Any) -> Asked:
    return "certificate add", {"address": address, "certificate": word, "key": "KEY", **more}


def replace(old: str, new: str) -> Asked:
    body = {"address": AT, "new-certificate": new, "new-key": "KEY", "fingerprint": digits(old)}
    return "certificate replace", body


def remove(word: str, address: str = AT) -> Asked:
    return "certificate remove", {"address": address, "certificate": word}


def record(word: str, *, default: bool = False) -> ListenerCertificate:
    return ListenerCertificate(address=HERE, certificate=certificate(word), default=default)


def held(state: State) -> list[ListenerCertificate]:
    state.check()
    return list(state.certificates.values())


def problems(state: State, *asked: Asked) -> list[str]:
    refused = attempt(state, read(*asked))
    assert isinstance(refused, list), "it was carried out"
    return list(map(str, refused))


STATE = carried_out(EMPTY, [LISTENER, PLAIN, add("a"), add("b", default=True)])


def test_added() -> None:
    assert held(STATE) == [record("a"), record("b", default=True)]


def test_added_again_nothing_changes_but_what_is_other() -> None:
    assert apply_all(STATE, read(add("a"), add("b"))) is STATE
    assert held(apply_all(STATE, read(add("a", default=True))))[0] == record("a", default=True)
    other = apply_all(STATE, read(add("b", key="OTHER")))
    assert diff(STATE, other) == Delta(
        certificates=(ListenerCertificate(address=HERE, certificate=certificate("b", key="OTHER"), default=True),)
    )


def test_removed() -> None:
    assert held(apply_all(STATE, read(remove("a")))) == [record("b", default=True)]
    assert apply_all(STATE, read(remove("a"))).certificates.keys() == {(HERE, digits("b"))}


def test_replaced_is_what_the_old_one_was() -> None:
    assert held(apply_all(STATE, read(replace("a", "a+2")))) == [record("b", default=True), record("a+2")]
    assert held(apply_all(STATE, read(replace("b", "c"))))[-1] == record("c", default=True)
    assert diff(STATE, apply_all(STATE, read(replace("a", "a")))).gone_certificates == ()


def test_the_listener_may_come_in_the_same_transaction() -> None:
    assert held(apply_all(EMPTY, read(add("a"), LISTENER))) == [record("a")]
    assert held(apply_all(EMPTY, read(add("a"), remove("a")))) == []


def test_certificates_wait_for_the_return_of_their_listener() -> None:
    gone = apply_all(STATE, read(("listener remove", {"address": AT})))
    assert len(held(gone)) == 2
    assert held(apply_all(gone, read(LISTENER))) == held(STATE)


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        (add("a", "127.0.0.1:9"), "changes[0].address: found '127.0.0.1:9'; there is no listener"),
        (add("a", "127.0.0.1:1"),
         "changes[0].address: found '127.0.0.1:1', an http listener; want one that speaks https"),
        (remove("a", "127.0.0.1:1"),
         "changes[0].address: found '127.0.0.1:1', an http listener; want an https listener"),
        (remove("c"), f"changes[0].certificate: found '{digits('c')}'; there is no such certificate at 127.0.0.1:3"),
        (remove("a", "127.0.0.1:9"),
         f"changes[0].certificate: found '{digits('a')}'; there is no such certificate at 127.0.0.1:9; "
         "it is at 127.0.0.1:3"),
        (replace("c", "a+2"),
         f"changes[0].fingerprint: found '{digits('c')}'; there is no such certificate at 127.0.0.1:3"),
        (("frontend http add", {"address": AT, "hostname": "*", "deny": True}),
         "changes[0].address: found '127.0.0.1:3', an https listener; want one that speaks http"),
        (("frontend https add", {"address": "127.0.0.1:1", "hostname": "*", "deny": True}),
         "changes[0].address: found '127.0.0.1:1', an http listener; want one that speaks https"),
    ],
)  # fmt: skip
def test_refused(asked: Asked, problem: str) -> None:
    found = problems(STATE, asked)
    assert len(found) == 1
    assert found[0].startswith(problem)
