"""Medians, ratios within a round, and the tables they are printed in."""

import json

from benchmarks.measure import Figures, Work
from benchmarks.report import Ratio, aligned, as_record, machine, markdown, ratio, section, table


def figures(cpu: float) -> Figures:
    return Figures(requests=1000, cpu=cpu, rate=12345.6, p50=1.25, p99=4, p999=9, rss=25 << 20)


ROUNDS = {
    "ours": [figures(60), figures(90), figures(50)],
    "floor": [figures(30), figures(30), figures(50)],
}


def test_ratio_is_taken_within_each_round() -> None:
    assert ratio(ROUNDS, "ours", "floor") == Ratio(median=2, low=1, high=3)


def test_no_ratio_without_subject() -> None:
    assert ratio({"floor": ROUNDS["floor"]}, "ours", "floor") is None


def test_table() -> None:
    headings, ours, floor = table(ROUNDS, "ours")
    assert headings[:5] == ("relay", "CPU µs/request", "ours ÷ it", "min–max", "requests/s")
    assert headings[5:] == ("p50 ms", "p99 ms", "p99.9 ms", "RSS MiB")
    assert ours == ("ours", "60.0", "1.00", "1.00–1.00", "12,346", "1.25", "4.00", "9.00", "25.0")
    assert floor == ("floor", "30.0", "2.00", "1.00–3.00", "12,346", "1.25", "4.00", "9.00", "25.0")


def test_table_without_subject() -> None:
    assert table({"floor": ROUNDS["floor"]}, "ours")[1][2:4] == ("–", "–")


def test_aligned() -> None:
    assert aligned([("relay", "CPU"), ("h11", "224.4")]) == "relay    CPU\nh11    224.4"


def test_markdown() -> None:
    rows = [("relay", "CPU"), ("h11", "224.4")]
    assert markdown(rows) == "| relay |   CPU |\n| ----- | ----: |\n| h11   | 224.4 |"


def test_a_section_for_people_and_one_for_a_document() -> None:
    rows = [("relay", "CPU"), ("h11", "224.4")]
    assert section("small", "2 × 1 s", rows, as_markdown=False) == f"small: 2 × 1 s\n{machine()}\n\n{aligned(rows)}\n"
    told = section("small", "2 × 1 s", rows, as_markdown=True)
    assert told == f"### small\n\n2 × 1 s; {machine()}.\n\n{markdown(rows)}\n"


def test_json_holds_every_round() -> None:
    work = Work(path="/", connections=64, body=b"hello", hosts=("bench.example",))
    found = json.loads(json.dumps(as_record(ROUNDS, "ours", work, 4)))
    assert [measured["cpu"] for measured in found["rounds"]["ours"]] == [60, 90, 50]
    assert found["ratios"]["floor"] == {"median": 2, "low": 1, "high": 3}
    assert found["work"] == {"path": "/", "bytes": 5, "connections": 64, "seconds": 4}
