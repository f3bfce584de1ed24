"""Names of fields that others cannot tell apart are one name."""

import pytest

from sozu_trio.config.plain_names import PLAIN, plain_name


@pytest.mark.parametrize("name", ["X-Who-1", "x_who_1", "X.WHO~1", "x!who'1", "x\xb5who\xe91"])
def test_they_are_one(name: str) -> None:
    assert plain_name(name) == "x-who-1"
    assert name.encode("latin-1").translate(PLAIN) == b"x-who-1"


def test_letters_and_digits_stay_what_they_are() -> None:
    kept = "abcdefghijklmnopqrstuvwxyz0123456789-"
    assert plain_name(kept) == plain_name(kept.upper()) == kept
