"""What is in groups of exceptions, and what each failure says."""

import pytest

from benchmarks.failures import leaves, told


def test_leaves_of_groups_in_groups() -> None:
    one, two = ValueError("one"), OSError("two")
    assert list(leaves(ExceptionGroup("", [one, ExceptionGroup("", [two])]))) == [one, two]
    assert list(leaves(one)) == [one]


def test_what_each_says() -> None:
    group = ExceptionGroup("", [ValueError("one"), ExceptionGroup("", [OSError("two")])])
    assert told(group, (ValueError, OSError)) == ["one", "two"]


def test_anything_else_comes_out() -> None:
    group = ExceptionGroup("", [ValueError("one"), TypeError("two")])
    with pytest.raises(ExceptionGroup) as raised:
        told(group, (ValueError,))
    assert raised.value is group
