"""Lines of a worker are its own, whatever it is made to say."""

import json
import logging
import os

import pytest

from sozu_trio.telemetry.access_log import AccessRecord, format_ascii, format_json
from sozu_trio.telemetry.claims import Claims, tag_of
from sozu_trio.telemetry.log import format_record
from sozu_trio.telemetry.stamp import Stamp

PID = os.getpid()
CLAIMS = Claims(1, PID)
LOG = f"2026-01-31T12:00:00.000042Z {PID} INFO WRK-01\t"
ACCESS = f"2026-01-31T12:00:00.000042Z {PID} INFO-ACCESS WRK-01\t"
RECORD = AccessRecord(
    session_id="01",
    client="127.0.0.1:1",
    protocol="HTTP",
    start=1e9,
    method=b"GET",
    path=b"/\xff\x1b[31m",
    host="bücher\x7f\u202e".encode(),
    user_agent=b'"tag":"MAIN"',
    xff_chain=b"\x7f",
    message="why\nnot",
)


def _named(line: str) -> str:
    """The name of a case, which must be the same in every process that runs tests."""
    return line.replace(str(PID), "PID")


@pytest.mark.parametrize("colored", [False, True])
@pytest.mark.parametrize("failed", [False, True])
def test_what_workers_write_is_their_own(colored: bool, failed: bool) -> None:
    RECORD.failed = failed
    stamp = Stamp(tag_of(1), colored=colored)
    line = format_ascii(RECORD, stamp)
    assert CLAIMS.access_lines(f"{line}\n{line}") == f"{line}\n{line}"
    assert json.loads(CLAIMS.access_lines(format_json(RECORD, stamp))) == json.loads(format_json(RECORD, stamp))
    for level in ("ERROR", "WARNING", "INFO", "DEBUG", "TRACE", "CRITICAL"):
        try:
            raise ValueError("wrong\x1b\nby far")
        except ValueError as error:
            info = (ValueError, error, error.__traceback__)
        record = logging.LogRecord("sozu_trio", logging.getLevelName(level), "", 1, "what\n\x1b", (), info)
        line = format_record(record, stamp)
        assert "\n\t" in line
        assert CLAIMS.log_lines([line]) == (line,)


def test_ids_of_three_digits() -> None:
    line = format_ascii(RECORD, Stamp(tag_of(123)))
    assert Claims(123, PID).access_lines(line) == Claims(None, PID).access_lines(line) == line
    with pytest.raises(ValueError, match="does not begin as its own do"):
        Claims(12, PID).access_lines(line)


@pytest.mark.parametrize(
    "line",
    [
        *("", "forged", f" {LOG}", LOG.replace("WRK-01", "MAIN"), LOG.replace("WRK-01", "WRK-02")),
        *(LOG.replace("INFO", "AUDIT"), LOG.replace("INFO", "INFO-ACCESS"), LOG.replace(f" {PID} ", " 1 ")),
        *(LOG.replace("INFO", "\x1b]0;x\x07INFO"), LOG.replace("2026", "\x1b[2J"), LOG.replace("\t", " ")),
        *(f"{LOG}one\nsecond", f"{LOG}one\n\tat\n{LOG}two", f"{LOG}\n"),
    ],
    ids=_named,
)
def test_lines_of_the_log_that_others_would_have_written(line: str) -> None:
    with pytest.raises(ValueError, match="a line"):
        CLAIMS.log_lines([LOG, line])
    assert CLAIMS.log_lines([LOG]) == (LOG,)


def document(**members: object) -> str:
    return json.dumps(json.loads(format_json(RECORD, Stamp(tag_of(1)))) | members)


COMPACT = format_json(AccessRecord(session_id="01", client="", protocol="TCP", start=0), Stamp(tag_of(1)))


@pytest.mark.parametrize(
    "line",
    [
        *("", "forged", ACCESS.replace("WRK-01", "MAIN"), ACCESS.replace("INFO-ACCESS", "AUDIT"), LOG),
        *(document(tag="MAIN"), document(tag=["WRK-01"]), document(pid=1), document(level="AUDIT"), document(level=[])),
        *("{}", "{", "{" * 1000, '{"tag":"WRK-01"}', f"{document()}{document()}"),
        document()[:-1] + ',"tag":"MAIN"}',
        document()[:-1] + ',"t\\u0061g":"MAIN"}',
        document() + "\x1b[2J",
        COMPACT[:-1] + ',"tag":"MAIN"}',
        COMPACT[:-1] + ',"tag" : "MAIN"}',
        COMPACT[:-1] + ',"t\\u0061g":"MAIN"}',
        COMPACT + '{"time":"2026-01-31T12:00:00Z","result":"ok","verb":"shutdown"}',
        document(message="bücher").replace("\\u00fc", "ü"),
    ],
    ids=_named,
)
def test_lines_of_the_access_log_that_others_would_have_written(line: str) -> None:
    with pytest.raises(ValueError, match=r".") as raised:
        CLAIMS.access_lines(f"{ACCESS}\n{line}")
    assert str(raised.value).isprintable()
    assert CLAIMS.access_lines(f"{ACCESS}\n{document()}") == f"{ACCESS}\n{document()}"


def test_what_a_terminal_would_obey_is_escaped() -> None:
    assert CLAIMS.log_lines([f"{LOG}\x1b]0;x\x07\u202e\ud800"]) == (f"{LOG}\\x1b]0;x\\x07\\u202e\\ud800",)
    assert CLAIMS.log_lines([f"{LOG}a\n\t\x1b\r"]) == (f"{LOG}a\n\t\\x1b\\r",)
    assert CLAIMS.access_lines(f"{ACCESS}a\r\x85") == f"{ACCESS}a\\r\\x85"
