"""Near misses: what was probably meant."""

import pytest

from sozu_trio.routing.refusal import COMPARED, Refusal, near_miss


@pytest.mark.parametrize(
    ("name", "hint"),
    [("aip", "; did you mean 'api'?"), ("web-2", "; did you mean 'web-1'?"), ("zzz", ""), ("", "")],
)
def test_a_name_that_looks_like_it(name: str, hint: str) -> None:
    assert near_miss(name, ["api", "web-1"]) == hint


def test_of_many_names_only_those_that_begin_or_end_alike() -> None:
    many = [f"{number:05}" for number in range(COMPARED)]
    assert near_miss("aip", [*many, "api"]) == ""
    assert near_miss("apo", [*many, "api"]) == "; did you mean 'api'?"
    assert near_miss("opi", [*many, "api"]) == "; did you mean 'api'?"


def test_a_refusal_says_what_is_wrong_and_no_more() -> None:
    refusal = Refusal("address", "found nothing")
    assert (str(refusal), refusal.lacking, refusal.hint()) == ("found nothing", None, "")
