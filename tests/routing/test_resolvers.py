"""Resolvers in a Table follow the State, in slices."""

from dataclasses import replace

from sozu_trio.config.addresses import Address
from sozu_trio.config.certificates import ListenerCertificate
from sozu_trio.config.listeners import HttpListener, HttpsListener
from sozu_trio.routing.delta import diff
from sozu_trio.routing.resolver import NO_CERTIFICATES, Resolver
from sozu_trio.routing.resolvers import compile_resolvers, resolver_of
from sozu_trio.routing.slices import Pace, finish
from sozu_trio.routing.state import EMPTY, State, declare
from tests.routing.certificates import certificate

ONE, TWO, PLAIN = Address("127.0.0.1", 1), Address("127.0.0.1", 2), Address("127.0.0.1", 3)


def state(*records: ListenerCertificate, listeners: tuple[Address, ...] = (ONE, TWO)) -> State:
    https = [HttpsListener(address=address) for address in listeners]
    return declare([*https, HttpListener(address=PLAIN)], [], [], [], [], certificates=records)


def at(address: Address, word: str, *, default: bool = False) -> ListenerCertificate:
    return ListenerCertificate(address=address, certificate=certificate(word), default=default)


def follow(before: State, after: State) -> dict[Address, Resolver]:
    first = finish(compile_resolvers({}, before, diff(EMPTY, before), Pace()))
    return dict(finish(compile_resolvers(first, after, diff(before, after), Pace())))


def words(resolver: Resolver, name: str | None) -> list[str]:
    shown = resolver.find(name)
    return [] if shown is None else [each.chain for each in shown.certificates]


def test_each_https_listener_has_its_own() -> None:
    found = follow(EMPTY, state(at(ONE, "a"), at(TWO, "b", default=True), at(PLAIN, "c")))
    assert found.keys() == {ONE, TWO}
    assert (words(found[ONE], "a.example"), words(found[ONE], "b.example"), words(found[ONE], None)) == (["a"], [], [])
    assert (words(found[TWO], "a.example"), words(found[TWO], None)) == (["b"], ["b"])


def test_a_change_at_one_leaves_the_other_as_it_was() -> None:
    before = state(at(ONE, "a"), at(TWO, "b"))
    first = finish(compile_resolvers({}, before, diff(EMPTY, before), Pace()))
    after = state(at(ONE, "a+2", default=True), at(TWO, "b"))
    found = finish(compile_resolvers(first, after, diff(before, after), Pace()))
    assert found[TWO] is first[TWO]
    assert (words(found[ONE], "a.example"), words(found[ONE], "x.example")) == (["a+2"], ["a+2"])
    assert finish(compile_resolvers(found, after, diff(after, after), Pace())) is found


def test_one_that_is_other_than_it_was() -> None:
    new = replace(at(ONE, "a"), certificate=certificate("a", key="NEW"), default=True)
    found = follow(state(at(ONE, "a")), state(new))
    assert found[ONE].default == (new.certificate,)
    assert found[ONE].certificates == {new.certificate.fingerprint: new.certificate}


def test_listeners_that_come_and_go() -> None:
    before, after = state(at(ONE, "a"), listeners=(ONE,)), state(at(ONE, "a"), at(TWO, "b"), listeners=(TWO,))
    assert follow(before, after).keys() == {TWO}
    assert words(follow(after, before)[ONE], "a.example") == ["a"]
    assert follow(EMPTY, state()) == {ONE: NO_CERTIFICATES, TWO: NO_CERTIFICATES}


def test_many_come_and_go_in_slices() -> None:
    records = [at(ONE, f"n{number}") for number in range(1000)]
    work = compile_resolvers({}, state(*records), diff(EMPTY, state(*records)), Pace())
    assert sum(1 for _ in work) >= 5
    found = follow(state(*records), state(*records[500:]))
    assert len(found[ONE].certificates) == 500
    assert found[ONE] == resolver_of(state(*records[500:]), ONE)
