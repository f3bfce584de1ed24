"""A worker may have fewer descriptors than main, whatever that may have."""

import pytest

from sozu_trio.config.descriptors import descriptors_of_worker, limit_descriptors, most_of_worker
from sozu_trio.control.channel import MOST_DESCRIPTORS
from tests.nursery.sealed import run


@pytest.mark.parametrize(("main", "worker"), [(1024, 768), (4096, 3072), (65536, 64512)])
def test_some_are_left_to_main(main: int, worker: int) -> None:
    assert most_of_worker(main) == worker


@pytest.mark.parametrize("main", [1024, 1025, 4096, 1 << 20])
def test_what_a_worker_can_have_on_the_way_does_not_reach_what_main_may_have(main: int) -> None:
    assert most_of_worker(main) + MOST_DESCRIPTORS <= main


def test_it_holds_for_good() -> None:
    code = f"from {limit_descriptors.__module__} import limit_descriptors as limit; import resource; limit()"
    said = run(f"{code}; print(*resource.getrlimit(resource.RLIMIT_NOFILE))")
    assert said.split() == [str(descriptors_of_worker())] * 2
