"""Field lines: as pairs and back, and what is left out by name."""

import pytest

from sozu_trio.wire.field_lines import field_of, line_of, lines_unlike, lines_without, name_of


@pytest.mark.parametrize("field", [(b"X", b"1"), (b"X", b""), (b"X", b"a: b"), (b"x-Y", b":")])
def test_a_field_is_its_line(field: tuple[bytes, bytes]) -> None:
    assert field_of(line_of(field)) == field
    assert name_of(line_of(field)) == field[0].lower()


def test_without_a_name_in_any_case() -> None:
    assert lines_without([b"Age: 1", b"AGE: ", b"Aged: 2", b"X: age: 3"], b"age") == [b"Aged: 2", b"X: age: 3"]


def test_unlike_is_about_lookalikes_too() -> None:
    lines = [b"Sozu-Id: 1", b"sozu_id: 2", b"SOZU.ID: 3", b"Sozu-Ids: 4", b"X: Sozu-Id: 5"]
    assert lines_unlike(lines, (b"sozu-id",)) == lines[3:]
