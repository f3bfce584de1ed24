"""The table of look-ups."""

from benchmarks.routes import KINDS, SIZES, table


def test_table() -> None:
    heading, row = table({"exact host": [0.351, 0.4, 1.2]})
    assert heading == ("CPU µs per look-up", "10 hosts", "1,000 hosts", "10,000 hosts")
    assert row == ("exact host", "0.35", "0.40", "1.20")


def test_a_figure_for_each_size() -> None:
    assert all(len(row) == 1 + len(SIZES) for row in table(dict.fromkeys(KINDS, [1.0] * len(SIZES))))
