"""What main remembers of the files it watches: when to look, which files to read, and what is news."""

from pathlib import Path

import pytest
import trio

from sozu_trio.config.addresses import Address
from sozu_trio.config.certificates import CertificateFiles
from sozu_trio.errors import Problem
from sozu_trio.main.certificate_watch import CertificateWatch, settled
from sozu_trio.main.seen_files import Identity, Paths, SeenFiles, paths_of

pytestmark = pytest.mark.virtual_time

CERTIFICATE, KEY, OTHER = Path("/a.pem"), Path("/a.key"), Path("/b.pem")
A: Paths = (CERTIFICATE, KEY, None)
B: Paths = (OTHER, KEY, None)
READ = {CERTIFICATE: (1,), KEY: (1,), OTHER: (1,)}


def names(paths: Paths) -> CertificateFiles:
    certificate, key, chain = paths
    return CertificateFiles(where="x", address=Address("127.0.0.1", 443), certificate=certificate, key=key, chain=chain)


SEEN = SeenFiles(files=(names(A), names(B)), fingerprints={A: "aa", B: "bb"}, identities=READ)


@pytest.mark.parametrize(
    ("before", "now", "found"),
    [
        ({}, {}, []),
        ({}, {CERTIFICATE: (2,)}, []),
        ({CERTIFICATE: (2,)}, {CERTIFICATE: (2,)}, [A]),
        ({CERTIFICATE: (2,)}, {CERTIFICATE: (3,)}, []),
        ({CERTIFICATE: (2,)}, {CERTIFICATE: (2,), KEY: (2,)}, []),
        ({CERTIFICATE: (2,), KEY: (2,)}, {CERTIFICATE: (2,), KEY: (2,)}, [A, B]),
        ({CERTIFICATE: (2,), OTHER: (2,)}, {CERTIFICATE: (2,), OTHER: (3,)}, [A]),
        ({CERTIFICATE: ()}, {CERTIFICATE: ()}, [A]),
        ({CERTIFICATE: (2,)}, {}, []),
    ],
)
def test_what_is_different_is_read_when_it_has_stayed_so(
    before: dict[Path, Identity], now: dict[Path, Identity], found: list[Paths]
) -> None:
    assert settled(SEEN.groups(), READ, READ | before, READ | now) == frozenset(found)


def test_what_was_read_is_read_again_when_it_changes_again() -> None:
    watch = CertificateWatch(SEEN, 10)
    now = READ | {CERTIFICATE: (2,)}
    watch.settle(frozenset([A]), frozenset(), now, {})
    assert settled(SEEN.groups(), watch.seen.identities, now, now) == frozenset()
    later = READ | {CERTIFICATE: (1,)}
    assert settled(SEEN.groups(), watch.seen.identities, later, later) == frozenset([A])


def test_what_may_pass_is_read_again_whether_it_changes_or_not() -> None:
    watch = CertificateWatch(SEEN, 10)
    now = READ | {KEY: (2,)}
    watch.settle(frozenset([A, B]), frozenset([A]), now, {})
    for later in (now, READ):
        assert settled(SEEN.groups(), watch.seen.identities, later, later) == frozenset([A, B])
    watch.settle(frozenset([A, B]), frozenset(), now, {})
    assert settled(SEEN.groups(), watch.seen.identities, now, now) == frozenset()


def test_what_is_wrong_is_news_once() -> None:
    watch = CertificateWatch(SEEN, 10)
    one, two = (Problem("a", "garbage"),), (Problem("b", "expired"),)
    assert watch.tell(frozenset([A]), {A: one}) == {A: one}
    assert watch.tell(frozenset([A, B]), {A: one, B: two}) == {B: two}
    assert watch.tell(frozenset([A]), {}) == {}
    assert watch.faults == {B: two}
    assert watch.tell(frozenset([A]), {A: one}) == {A: one}
    watch.follow(SEEN, 10)
    assert watch.faults == {}


async def seconds_to_look(watch: CertificateWatch) -> float:
    begun = trio.current_time()
    await watch.pause()
    return trio.current_time() - begun


async def test_it_is_time_to_look_after_the_interval() -> None:
    assert await seconds_to_look(CertificateWatch(SEEN, 10)) == pytest.approx(10)


async def test_never_with_an_interval_of_none_until_a_reload_says_otherwise() -> None:
    watch = CertificateWatch(SEEN, 0)

    async def reload() -> None:
        await trio.sleep(1000)
        watch.follow(SEEN, 3)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(reload)
        assert await seconds_to_look(watch) == pytest.approx(1003)


async def test_a_reload_begins_a_new_interval() -> None:
    watch = CertificateWatch(SEEN, 10)

    async def reload() -> None:
        await trio.sleep(9)
        watch.follow(SEEN, 2)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(reload)
        assert await seconds_to_look(watch) == pytest.approx(11)


def test_paths_of_a_record() -> None:
    assert paths_of(names(A)) == A
