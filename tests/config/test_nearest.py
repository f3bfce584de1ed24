"""The nearest known word for a typo."""

from sozu_trio.config.nearest import nearest


def test_a_near_miss_gets_a_hint_and_anything_else_none() -> None:
    assert nearest("stdotu", ["stdout", "stderr"]) == " (did you mean 'stdout'?)"
    assert nearest("zebra", ["stdout", "stderr"]) == ""
