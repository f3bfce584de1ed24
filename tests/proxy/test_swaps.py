"""Clusters follow every Table in turn, at their first use or in slices, and what they do in one slice is bounded."""

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import Backend, Cluster
from sozu_trio.proxy.backend_states import BACKEND_UNITS, CLUSTER_UNITS, BackendStates
from sozu_trio.proxy.swaps import Entries, Swaps
from sozu_trio.routing.slices import SLICE, finish
from sozu_trio.routing.table import ClusterEntry
from tests.nursery.counting import alone

IDS = "abc"
KNOWN = [ClusterEntry(Cluster(cluster_id="any"), ()) for _ in range(3)]
"""Equal, and yet not the same object, which is what counts."""

tables = st.dictionaries(st.sampled_from(IDS), st.integers(0, 2)).map(
    lambda chosen: {cluster_id: KNOWN[number] for cluster_id, number in chosen.items()}
)


class Followers:
    """Swaps, and what each cluster was told to become, one after the other."""

    def __init__(self, units: int = 0) -> None:
        self.seen: dict[str, list[int | None]] = defaultdict(list)
        self.swaps = Swaps(self._follow)
        self._units = units

    def _follow(self, cluster_id: str, entry: ClusterEntry | None) -> int:
        number = next((number for number, each in enumerate(KNOWN) if each is entry), None)
        self.seen[cluster_id].append(number)
        return self._units


def steps(swaps: list[Entries], cluster_id: str) -> list[ClusterEntry | None]:
    """What the cluster is after each swap that did something to it."""
    became: list[ClusterEntry | None] = []
    for before, after in zip([{}, *swaps], swaps, strict=False):
        if before.get(cluster_id) is not after.get(cluster_id):
            became.append(after.get(cluster_id))
    return became


@given(st.lists(tables | st.sampled_from(IDS) | st.integers(1, 3), max_size=12))
def test_every_cluster_follows_every_table_in_turn(what: list[Entries | str | int]) -> None:
    """Tables come, clusters are asked for, and some slices are done, in any order."""
    followers = Followers(units=SLICE)
    swapped: list[Entries] = []
    slices = followers.swaps.settle_all()
    for each in what:
        if isinstance(each, str):
            followers.swaps.settle(each)
            check(followers, swapped, each)
        elif isinstance(each, int):
            for _ in range(each):
                if next(slices, "done") == "done":
                    slices = followers.swaps.settle_all()
        else:
            swapped.append(each)
            followers.swaps.swap(each)
    finish(followers.swaps.settle_all())
    for cluster_id in IDS:
        check(followers, swapped, cluster_id)
    assert not followers.swaps.pending


def check(followers: Followers, swapped: list[Entries], cluster_id: str) -> None:
    expected = steps(swapped, cluster_id)
    numbers = [next((n for n, each in enumerate(KNOWN) if each is entry), None) for entry in expected]
    assert followers.seen[cluster_id] == numbers


def test_what_followed_when_it_was_asked_for_is_not_done_again() -> None:
    followers = Followers()
    followers.swaps.swap(dict.fromkeys(IDS, KNOWN[0]))
    followers.swaps.settle("b")
    followers.swaps.settle("b")
    followers.swaps.swap({"b": KNOWN[1]})
    followers.swaps.settle("b")
    assert followers.seen == {"b": [0, 1]}
    assert finish(followers.swaps.settle_all()) == 6, "touched, whether or not it had followed before"
    assert followers.seen == {"b": [0, 1], "a": [0, None], "c": [0, None]}
    assert finish(followers.swaps.settle_all()) == 0


def test_a_change_of_8500_clusters_is_followed_in_slices_of_bounded_size() -> None:
    """As many comings, then as many changes, then as many ends; the swap itself touches none of them."""
    count, most = 8500, SLICE // (CLUSTER_UNITS + BACKEND_UNITS) + 1
    told: list[object] = []
    states = BackendStates(lambda: 0.0, alone(), lambda *event: told.append(event))
    done = 0

    def begin(entries: Entries) -> list[int]:
        """Clusters touched in each slice."""
        nonlocal done
        touched = done
        states.swap(entries)
        assert done == touched
        sizes = []
        for _ in states.follow():
            sizes.append(done - touched)
            touched = done
        return [*sizes, done - touched]

    followed = states._follow

    def counted(cluster_id: str, entry: ClusterEntry | None) -> int:
        nonlocal done
        done += 1
        return followed(cluster_id, entry)

    states._swaps = Swaps(counted)
    for entries in (many(count, weight=1), many(count, weight=2), {}):
        sizes = begin(entries)
        assert sum(sizes) == count
        assert max(sizes) <= most
    assert (len(states.clusters), len(told)) == (0, count)


def many(count: int, weight: int) -> Entries:
    """Clusters with one backend each."""
    address = Address("127.0.0.1", 9000)
    ids = [f"c{number}" for number in range(count)]
    return {
        each: ClusterEntry(
            Cluster(cluster_id=each), (Backend(cluster_id=each, backend_id="b", address=address, weight=weight),)
        )
        for each in ids
    }


def test_looking_for_what_has_changed_comes_in_slices_too() -> None:
    followers = Followers()
    entries = dict.fromkeys(map(str, range(20_000)), KNOWN[0])
    followers.swaps.swap(entries)
    finish(followers.swaps.settle_all())
    followers.seen.clear()
    followers.swaps.swap({**entries, "0": KNOWN[1]})
    assert len(list(followers.swaps.settle_all())) >= 5
    assert followers.seen == {"0": [1]}
