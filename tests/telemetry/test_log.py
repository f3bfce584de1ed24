"""Loggers, levels and the handler that makes lines."""

import logging
import os
import re
from collections.abc import Iterator

import pytest

from sozu_trio.config.directives import parse_directives
from sozu_trio.telemetry.lines import LineBuffer
from sozu_trio.telemetry.log import apply_directives, get_logger, log_to

STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z " + str(os.getpid()) + r" ")
log = get_logger("sozu_trio.proxy.tests")


@pytest.fixture
def buffer() -> Iterator[LineBuffer]:
    lines = LineBuffer(100)
    with log_to(lines, tag="MAIN"):
        apply_directives(parse_directives("info"))
        yield lines


def said(buffer: LineBuffer) -> list[str]:
    """The lines so far, without their time and process."""
    lines = buffer.take(100)
    assert all(STAMP.match(line) for line in lines)
    return [STAMP.sub("", line, count=1) for line in lines]


def test_a_line_for_each_level(buffer: LineBuffer) -> None:
    apply_directives(parse_directives("trace"))
    log.trace("at %s", "trace")
    log.debug("at debug")
    log.info("at info")
    log.warning("at warn")
    log.error("at error")
    log.critical("at critical")
    assert said(buffer) == [
        "TRACE MAIN\tat trace",
        "DEBUG MAIN\tat debug",
        "INFO MAIN\tat info",
        "WARN MAIN\tat warn",
        "ERROR MAIN\tat error",
        "ERROR MAIN\tat critical",
    ]


def test_directives_hold_for_modules_and_those_below(buffer: LineBuffer) -> None:
    apply_directives(parse_directives("off,sozu_trio.proxy=debug,sozu_trio.proxy.quiet=error"))
    log.trace("no")
    log.debug("yes")
    get_logger("sozu_trio.proxy.quiet").warning("no")
    get_logger("sozu_trio.app").critical("no")
    assert said(buffer) == ["DEBUG MAIN\tyes"]


def test_new_directives_replace_the_old_altogether(buffer: LineBuffer) -> None:
    apply_directives(parse_directives("info,sozu_trio.proxy=trace"))
    apply_directives(parse_directives("warn"))
    log.info("no")
    log.warning("yes")
    assert said(buffer) == ["WARN MAIN\tyes"]


def test_trio_speaks_here_too(buffer: LineBuffer) -> None:
    logging.getLogger("trio.serve_listeners").error("accept failed")
    assert said(buffer) == ["ERROR MAIN\taccept failed"]


def test_one_message_is_one_line_whatever_is_in_it(buffer: LineBuffer) -> None:
    log.info("from the peer: %s", "x\n2026-01-31T12:00:00.000000Z 1 INFO MAIN\tforged\x1b[2J")
    assert said(buffer) == [
        "INFO MAIN\tfrom the peer: x\\n2026-01-31T12:00:00.000000Z 1 INFO MAIN\\tforged\\x1b[2J",
    ]


def test_a_traceback_follows_indented(buffer: LineBuffer) -> None:
    try:
        raise ValueError("first\nsecond\x00")
    except ValueError:
        log.exception("session failed")
    (record,) = said(buffer)
    first, *rest = record.split("\n")
    assert first == "ERROR MAIN\tsession failed"
    assert rest[0] == "\tTraceback (most recent call last):"
    assert rest[-2:] == ["\tValueError: first", "\tsecond\\x00"]
    assert all(line.startswith("\t") for line in rest)


def test_a_stack_follows_indented(buffer: LineBuffer) -> None:
    log.info("here", stack_info=True)
    (record,) = said(buffer)
    first, second, *_ = record.split("\n")
    assert [first, second] == ["INFO MAIN\there", "\tStack (most recent call last):"]


def test_a_message_that_does_not_fit_its_arguments_comes_out_all_the_same() -> None:
    buffer, arguments = LineBuffer(1), ["five"]
    with log_to(buffer, tag="MAIN"):  # not by the fixture: pytest would listen too, and object
        log.error("%d", *arguments)
    (line,) = said(buffer)
    assert line.startswith("ERROR MAIN\ta message that cannot be formatted, '%d' in sozu_trio.proxy.tests line ")


def test_handlers_of_others_get_nothing(caplog: pytest.LogCaptureFixture) -> None:
    buffer = LineBuffer(1)
    with log_to(buffer, tag="MAIN"):
        log.error("ours")
    assert caplog.records == []
    assert said(buffer) == ["ERROR MAIN\tours"]


def test_a_terminal_gets_colours() -> None:
    buffer = LineBuffer(1)
    with log_to(buffer, tag="MAIN", colored=True):
        apply_directives(parse_directives("info"))
        log.info("green")
    assert said(buffer) == ["\x1b[32mINFO\x1b[0m MAIN\tgreen"]


def test_afterwards_logging_is_as_it_was(caplog: pytest.LogCaptureFixture) -> None:
    ours, below = logging.getLogger("sozu_trio"), logging.getLogger("sozu_trio.proxy")
    before = (ours.level, ours.propagate, ours.handlers[:], below.level)
    buffer = LineBuffer(1)
    with log_to(buffer, tag="MAIN"):
        apply_directives(parse_directives("error,sozu_trio.proxy=trace"))
        assert (ours.level, below.level) == (logging.ERROR, 5)
    assert (ours.level, ours.propagate, ours.handlers, below.level) == before
    log.error("theirs again")
    assert [record.message for record in caplog.records] == ["theirs again"]
    assert buffer.take(1) == []


def test_directives_from_before_come_back(buffer: LineBuffer) -> None:
    apply_directives(parse_directives("info,sozu_trio.proxy=debug"))
    with log_to(LineBuffer(1), tag="INNER"):
        apply_directives(parse_directives("off"))
    log.debug("still")
    assert said(buffer) == ["DEBUG MAIN\tstill"]


def test_blocks_may_overlap_in_any_order() -> None:
    first, second = LineBuffer(9), LineBuffer(9)
    one, two = log_to(first, tag="ONE"), log_to(second, tag="TWO")
    ours = logging.getLogger("sozu_trio")
    before = (ours.propagate, ours.level)
    one.__enter__()
    two.__enter__()
    log.error("both")
    one.__exit__(None, None, None)
    log.error("one")
    two.__exit__(None, None, None)
    assert [len(first.take(9)), len(second.take(9))] == [1, 2]
    assert (ours.propagate, ours.level) == before
