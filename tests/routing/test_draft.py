"""A draft looks like the State it will be, and its difference is no larger than need be."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import Backend, Cluster
from sozu_trio.config.program import Settings
from sozu_trio.routing.delta import NOTHING, Delta
from sozu_trio.routing.draft import Draft, Records
from sozu_trio.routing.state import EMPTY, declare

API, WEB = Cluster(cluster_id="api"), Cluster(cluster_id="web")
ONE = Backend(cluster_id="api", backend_id="1", address=Address("127.0.0.1", 1))
STATE = declare([], [API, WEB], [], [], [ONE])

STEPS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from([None, 1, 2])), max_size=8)


@given(st.dictionaries(st.sampled_from("abc"), st.integers(1, 2)), STEPS)
def test_records_are_like_a_dict_of_which_the_old_one_is_kept(before: dict[str, int], steps: list[Any]) -> None:
    records: Records[str, int] = Records(dict(before))
    plain = dict(before)
    for key, value in steps:
        if value is not None:
            plain[key] = value
            records.put(key, value)
        elif key in plain:
            del plain[key]
            records.take(key)
        assert {each: records.get(each) for each in "abc"} == {each: plain.get(each) for each in "abc"}
        assert {each for each in "abc" if each in records} == set(plain) == set(records)
        assert len(list(records)) == len(plain)
    assert records.before == before
    assert all(before[key] == plain[key] for key in set(before) & set(plain) - set(records.gone) - _put(records))
    assert sorted(records.kept()) == sorted(
        value for key, value in before.items() if key not in records.gone and key not in _put(records)
    )


def _put(records: Records[str, int]) -> set[str]:
    return set(records._put)


def test_what_was_put_as_it_was_is_no_difference() -> None:
    draft = Draft(STATE)
    draft.clusters.put("api", Cluster(cluster_id="api", idle_timeout=1))
    assert draft.delta() == Delta(clusters=(Cluster(cluster_id="api", idle_timeout=1),))
    draft.clusters.put("api", API)
    draft.backends("api").put("1", ONE)
    assert draft.delta() == NOTHING
    assert draft.state() is STATE


def test_what_is_taken_and_put_again_goes_to_the_end() -> None:
    draft = Draft(STATE)
    draft.clusters.take("api")
    draft.clusters.put("api", API)
    assert draft.delta() == Delta(gone_clusters=("api",), clusters=(API,))
    assert list(draft.state().clusters) == ["web", "api"]


def test_what_is_put_and_taken_again_was_never_there() -> None:
    draft = Draft(EMPTY)
    draft.clusters.put("api", API)
    draft.backends("api").put("1", ONE)
    draft.clusters.take("api")
    draft.backends("api").take("1")
    assert draft.delta() == NOTHING


def test_backends_and_settings() -> None:
    draft = Draft(STATE)
    two = Backend(cluster_id="web", backend_id="2", address=Address("127.0.0.1", 2))
    draft.backends("api").take("1")
    draft.backends("web").put("2", two)
    draft.settings = Settings(log_level="debug")
    assert draft.delta() == Delta(gone_backends=(("api", "1"),), backends=(two,), settings=Settings(log_level="debug"))
    assert draft.state().backends == {"web": {"2": two}}
    assert STATE.backends == {"api": {"1": ONE}}
