"""What `max_connections` takes of the descriptors a process may have."""

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sozu_trio.config import descriptors
from sozu_trio.config.descriptors import (
    BESIDE,
    fitting,
    lowered,
    misfit,
    most_descriptors,
    need,
    raise_descriptor_limit,
)
from sozu_trio.config.limits import MAX_CONNECTIONS
from sozu_trio.config.program import Settings


@given(st.integers(1, 100_000))
def test_what_fits_fits_and_one_more_does_not(limit: int) -> None:
    most = fitting(limit)
    assert 1 <= most <= MAX_CONNECTIONS
    assert need(most) <= limit or most == 1
    assert need(most + 1) > limit or most == MAX_CONNECTIONS


@given(st.integers(1, 100_000), st.integers(1, 60_000))
def test_an_explicit_number_is_refused_exactly_where_it_does_not_fit(limit: int, wanted: int) -> None:
    assert (misfit(Settings(max_connections=wanted), limit) is None) is (need(wanted) <= limit)
    assert lowered(Settings(max_connections=wanted), limit) is None
    assert misfit(Settings(), limit) is None


def test_both_numbers_are_named() -> None:
    said = misfit(Settings(max_connections=5000), 4096)
    assert said == (
        f"found 5000, which takes {10_000 + BESIDE} descriptors of a process that may have 4096; want at most "
        f"{(4096 - BESIDE) // 2}, or a higher limit (LimitNOFILE=, ulimit -n)"
    )
    assert "want at most 0," in str(misfit(Settings(max_connections=1), 64))


def test_an_unset_number_is_lowered_and_that_is_said() -> None:
    assert lowered(Settings(), need(MAX_CONNECTIONS)) is None
    assert str(lowered(Settings(), 4096)).startswith(f"not set: {fitting(4096)} instead of {MAX_CONNECTIONS}, which ")


@pytest.fixture
def limits() -> Iterator[None]:
    """Those of this process are as before afterwards."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.mark.usefixtures("limits")
def test_the_soft_limit_is_raised() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (100, hard))
    raise_descriptor_limit()
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (most_descriptors(), hard)


@pytest.mark.parametrize(("said", "most"), [("90", 90), ("none", None)])
def test_the_kernel_has_limits_of_its_own(
    said: str, most: int | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    (tmp_path / "nr_open").write_text(said)
    monkeypatch.setattr(descriptors, "OF_KERNEL", (tmp_path / "nr_open", tmp_path / "nothing"))
    assert most_descriptors() == (most or hard)
