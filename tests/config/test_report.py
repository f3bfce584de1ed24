"""Problems and notices as lines."""

import pytest

from sozu_trio.config.report import Notice, Report, an, place
from sozu_trio.errors import MOST_PROBLEMS, Problem


@pytest.mark.parametrize(
    ("steps", "where"),
    [
        (("listeners", 0, "address"), "listeners[0].address"),
        (("clusters", "my.app", "backends", 1), 'clusters."my.app".backends[1]'),
        (("clusters", 'a"b'), 'clusters."a\\"b"'),
        (("clusters", "é"), 'clusters."é"'),
        (("clusters", "a\nb"), 'clusters."a\\nb"'),
        (("", "x"), '"".x'),
    ],
)
def test_places_are_written_as_toml_writes_keys(steps: tuple[str | int, ...], where: str) -> None:
    built = ""
    for step in steps:
        built = place(built, step)
    assert built == where


def test_a_message_is_one_line_whatever_it_quotes() -> None:
    report = Report()
    report.wrong("a", "unknown extension ?\n")
    report.warn("b", "x\u2028y")
    assert report.problems == [Problem("a", "unknown extension ?\\n")]
    assert report.notices == [Notice("warning", "b", "x\\u2028y")]


def test_what_was_refused_is_not_missing() -> None:
    report = Report()
    report.wrong("listeners[0].address", "found 3")
    report.wrong("listeners[1]", "found 3")
    report.missing("listeners[0].address", "ip:port")
    report.missing("listeners[1].address", "ip:port")
    report.missing("listeners[10].address", "ip:port")
    assert [str(problem) for problem in report.problems[2:]] == ["listeners[10].address: missing; want ip:port"]


def test_of_many_problems_the_first_are_kept_and_the_others_counted() -> None:
    report = Report()
    for number in range(MOST_PROBLEMS):
        report.wrong(f"changes[{number}]", "found 3")
    assert len(report.problems) == MOST_PROBLEMS
    assert report.problems[-1].others == 0
    for _ in range(1234):
        report.missing("changes[2000].verb", "a verb")
    assert report.found == MOST_PROBLEMS + 1234
    assert report.problems[MOST_PROBLEMS:] == [Problem("", "and 1,234 more", others=1234)]


def test_notices_read_as_problems_do() -> None:
    report = Report()
    report.info("clusters.api", "is there")
    assert [(notice.level, str(notice)) for notice in report.notices] == [("info", "clusters.api: is there")]


def test_articles() -> None:
    assert [an(word) for word in ("http", "tcp", "udp", "health check")] == [
        "an http",
        "a tcp",
        "a udp",
        "a health check",
    ]
