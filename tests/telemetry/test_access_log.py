"""Access-log lines of both formats."""

import json
import logging
import os
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sozu_trio.config.directives import parse_directives
from sozu_trio.telemetry.access_log import AccessLog, AccessRecord, TlsFacts, duration, format_ascii, format_json
from sozu_trio.telemetry.lines import LineBuffer
from sozu_trio.telemetry.log import apply_directives, log_to
from sozu_trio.telemetry.stamp import Stamp

STAMP = Stamp("WRK-00")
PID = os.getpid()
HTTP = AccessRecord(
    session_id="01S",
    request_id="01R",
    cluster_id="api",
    backend_id="api-1",
    client="192.0.2.1:55555",
    backend="10.0.0.1:8080",
    protocol="HTTP",
    start=1769860800.0,
    request_time=0.25,
    service_time=0.00042,
    response_time=0.0031,
    bytes_in=512,
    bytes_out=20480,
    tags={"owner": "Jane [ops]", "tier": "1"},
    user_agent=b"curl/8.5.0 [x]",
    x_request_id=b"01X",
    xff_chain=b"203.0.113.7",
    method=b"GET",
    host=b"[::1]:8080",
    path=b"/v1?q=[1]",
    status=200,
    message="complete",
)
TCP = AccessRecord(session_id="01S", client="[::1]:5", protocol="TCP", start=1.5, message="client timeout", failed=True)


def test_a_request_as_text() -> None:
    assert format_ascii(HTTP, STAMP) == (
        f"2026-01-31T12:00:00.250000Z {PID} INFO-ACCESS WRK-00\t"
        "[01S 01R api api-1] 192.0.2.1:55555 10.0.0.1:8080 250.0ms/420µs/3.1ms 512 20480 "
        "[owner=Jane_{ops}, tier=1, user-agent=curl/8.5.0_{x}] 01X HTTP [::1]:8080 GET /v1?q=[1] 200 | complete"
    )


def test_what_is_unknown_is_a_dash() -> None:
    assert format_ascii(TCP, STAMP) == (
        f"1970-01-01T00:00:01.500000Z {PID} ERROR-ACCESS WRK-00\t"
        "[01S - - -] [::1]:5 - 0µs/-/- 0 0 [-] - TCP - - - - | client timeout"
    )


def test_a_request_as_json() -> None:
    assert json.loads(format_json(HTTP, STAMP)) == {
        "time": "2026-01-31T12:00:00.250000Z",
        "level": "INFO-ACCESS",
        "pid": PID,
        "tag": "WRK-00",
        "session_id": "01S",
        "request_id": "01R",
        "cluster_id": "api",
        "backend_id": "api-1",
        "client": "192.0.2.1:55555",
        "backend": "10.0.0.1:8080",
        "protocol": "HTTP",
        "start": 1769860800.0,
        "request_time": 0.25,
        "service_time": 0.00042,
        "response_time": 0.0031,
        "bytes_in": 512,
        "bytes_out": 20480,
        "tags": {"owner": "Jane [ops]", "tier": "1"},
        "user_agent": "curl/8.5.0 [x]",
        "x_request_id": "01X",
        "xff_chain": "203.0.113.7",
        "host": "[::1]:8080",
        "method": "GET",
        "path": "/v1?q=[1]",
        "status": 200,
        "message": "complete",
        "tls_version": None,
        "tls_cipher": None,
        "tls_sni": None,
        "tls_alpn": None,
        "tls_resumed": None,
        "tls_client_subject": None,
        "tls_client_fingerprint": None,
    }


def test_a_request_over_tls() -> None:
    facts = TlsFacts(version="TLSv1.3", cipher="TLS_X", server_name='a"b', alpn=None, resumed=True)
    facts = replace(facts, client_subject="CN=Jürgen", client_fingerprint="ab12")
    record = replace(HTTP, protocol="HTTPS", tls=facts)
    document = json.loads(format_json(record, STAMP))
    assert document["protocol"] == "HTTPS"
    assert {key: value for key, value in document.items() if key.startswith("tls_")} == {
        "tls_version": "TLSv1.3",
        "tls_cipher": "TLS_X",
        "tls_sni": 'a"b',
        "tls_alpn": None,
        "tls_resumed": True,
        "tls_client_subject": "CN=Jürgen",
        "tls_client_fingerprint": "ab12",
    }
    assert " HTTPS " in format_ascii(record, STAMP)


def test_every_key_is_always_there_and_the_unknown_is_null() -> None:
    document = json.loads(format_json(TCP, STAMP))
    assert document.keys() == json.loads(format_json(HTTP, STAMP)).keys()
    nulls = {key for key, value in document.items() if value is None and not key.startswith("tls_")}
    assert nulls == {
        *("request_id", "cluster_id", "backend_id", "backend", "service_time", "response_time", "user_agent"),
        *("x_request_id", "xff_chain", "host", "method", "path", "status"),
    }


@pytest.mark.parametrize("part", ["host", "method", "path"])
def test_a_lone_bar_does_not_pass_for_the_one_before_the_message(part: str) -> None:
    record = replace(HTTP, **{part: b"|"})  # type: ignore[arg-type]
    assert format_ascii(record, STAMP).count(" | ") == 1


def test_hostile_bytes_are_escaped() -> None:
    record = replace(HTTP, path=b"/\x1b[2J\n \xff", user_agent=b"a\tb\r\nc", message="no\nthing")
    line = format_ascii(record, STAMP)
    assert "/\\x1b[2J\\n\\x20\\xff 200 | no\\nthing" in line
    assert "[a=b\\nc]" in format_ascii(replace(HTTP, tags={"a": "b\nc"}, user_agent=b""), STAMP)
    assert "user-agent=a\\tb\\r\\nc]" in line
    document = json.loads(format_json(record, STAMP))
    assert (document["path"], document["message"]) == ("/\x1b[2J\n \\xff", "no\nthing")


@given(st.binary(max_size=40), st.binary(max_size=40), st.text(st.characters(), max_size=40))
@settings(max_examples=200)
def test_no_bytes_make_two_records_of_one_or_move_a_column(path: bytes, agent: bytes, message: str) -> None:
    record = replace(HTTP, method=path, path=path, user_agent=agent, x_request_id=agent, message=message, tags={})
    stamp, _, body = format_ascii(record, STAMP).partition("\t")
    assert body.isprintable()
    assert len(stamp.split(" ")) == 4
    assert len(body.partition(" | ")[0].split(" ")) == 16
    document = format_json(record, STAMP)
    assert document.isascii()
    assert document.isprintable()
    assert json.loads(document)["status"] == 200


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0.0, "0µs"),
        (0.000_42, "420µs"),
        (0.001, "1.0ms"),
        (0.000_999_6, "1000µs"),
        (0.0314, "31.4ms"),
        (0.0999, "99.9ms"),
        (0.25, "250.0ms"),
        (1.0, "1.00s"),
        (3600.0, "3600.00s"),
    ],
)
def test_durations_are_for_people(seconds: float | None, text: str) -> None:
    assert duration(seconds) == text


@pytest.fixture
def buffer() -> Iterator[LineBuffer]:
    with log_to(LineBuffer(1), tag="MAIN"):
        apply_directives(parse_directives("info"))
        yield LineBuffer(10)


def test_a_log_writes_records_in_its_format(buffer: LineBuffer) -> None:
    AccessLog(buffer, "ascii", tag="WRK-00").write(HTTP)
    AccessLog(buffer, "json", tag="WRK-00", colored=True).write(HTTP)
    AccessLog(buffer, "ascii", tag="WRK-00", colored=True).write(HTTP)
    text, document, coloured = buffer.take(3)
    assert text == format_ascii(HTTP, STAMP)
    assert document == format_json(HTTP, STAMP)
    assert coloured == text.replace("INFO-ACCESS", "\x1b[32mINFO-ACCESS\x1b[0m")


@pytest.mark.parametrize(
    ("directives", "lines"),
    [("info", 2), ("error", 1), ("off", 0), ("error,sozu_trio.access=info", 2), ("info,sozu_trio.access=off", 0)],
)
def test_log_directives_hold_for_access_lines(buffer: LineBuffer, directives: str, lines: int) -> None:
    log = AccessLog(buffer, "ascii", tag="WRK-00")
    apply_directives(parse_directives(directives))
    log.write(HTTP)
    log.write(TCP)
    assert len(buffer.take(10)) == lines
    assert logging.getLogger("sozu_trio.access").handlers == []


def test_a_log_says_in_its_own_format_how_many_lines_are_missing(buffer: LineBuffer) -> None:
    text = AccessLog(buffer, "ascii", tag="WRK-00").lost(3)
    assert text.endswith(f" {PID} ERROR-ACCESS WRK-00\t3 lines are missing here: the log target failed or was too slow")
    document = json.loads(AccessLog(buffer, "json", tag="WRK-00").lost(3))
    assert document.pop("time").endswith("Z")
    assert document == {"level": "ERROR-ACCESS", "pid": PID, "tag": "WRK-00", "lost": 3}
