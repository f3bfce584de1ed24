"""One record per HTTP request or TCP session, and the two ways to write it: Sōzu's line of text, or a JSON document.

The proxy fills a record as it goes and hands it over once, at the end; bytes stay bytes until here. Everything that
peers had a hand in is escaped. Whether lines are wanted is asked of the logger `sozu_trio.access`, at info for what
went well and error for what did not, so log directives hold for access logs as they do in Sōzu. docs/logs.md is the
reference for users.
"""

import json
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from sozu_trio.telemetry.escape import ascii_text, one_word, printable
from sozu_trio.telemetry.lines import LineBuffer
from sozu_trio.telemetry.stamp import Stamp
from sozu_trio.wire.heads import RequestHead

LOGGER = "sozu_trio.access"
_TENTHS = tuple(f"{number / 10:.1f}ms" for number in range(1000))
"""Formatting a float costs three times as much, and there are three in a line."""
_BAR: Final = ord("|")
"""What ends the fields of a line; as a number it is found faster."""
_PLAIN: Final = dict.fromkeys(
    (
        *("tls_version", "tls_cipher", "tls_sni", "tls_alpn", "tls_resumed"),
        *("tls_client_subject", "tls_client_fingerprint"),
    )
)
_encode = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFacts:
    """What was agreed on in a TLS handshake."""

    version: str
    """`TLSv1.2` or `TLSv1.3`."""
    cipher: str
    """By OpenSSL's name."""
    server_name: str | None
    """Which the client asked for."""
    alpn: str | None
    resumed: bool
    client_subject: str | None = None
    """Of the client's certificate, as RFC 4514 writes it; None where it has shown none."""
    client_fingerprint: str | None = None
    """SHA-256 of that certificate, in lower-case hexadecimal."""


@dataclass(slots=True)
class AccessRecord:
    """What there is to say about one request or TCP session. None, b"" and status 0: unknown. Times in seconds."""

    session_id: str
    client: str
    """Address of the client, that of the PROXY header where there was one."""
    protocol: Literal["HTTP", "HTTPS", "TCP", "WS", "WSS"]
    start: float
    """Unix time of the request's first byte; of accepting, for TCP."""
    request_id: str | None = None
    cluster_id: str | None = None
    backend_id: str | None = None
    backend: str | None = None
    request_time: float = 0.0
    """From `start` until the last byte of the answer was written or it failed; the whole session for TCP and WS."""
    service_time: float | None = None
    """From `start` until a backend had the head (TCP: was connected): reading it, routing, connecting, other tries."""
    response_time: float | None = None
    """From then until the first byte of the backend's answer."""
    bytes_in: int = 0
    """Read from the client, heads included."""
    bytes_out: int = 0
    """Written to the client, heads included."""
    tags: Mapping[str, str] | None = None
    user_agent: bytes = b""
    x_request_id: bytes = b""
    """As the backend saw it."""
    xff_chain: bytes = b""
    """X-Forwarded-For as the client sent it."""
    method: bytes = b""
    host: bytes = b""
    path: bytes = b""
    """The request target as forwarded, query included."""
    status: int = 0
    """Of the answer the client got."""
    message: str = ""
    """Why it ended, in few words."""
    failed: bool = False
    """It ended otherwise than both sides meant: refused, cut, timed out, or answered by us for want of a backend."""
    tls: TlsFacts | None = None
    """Of the client's connection, where it speaks TLS."""

    def asked_for(self, head: RequestHead) -> None:
        """Say what was asked for."""
        self.method, self.host, self.path = head.method, head.authority, head.target
        self.user_agent = head.user_agent
        for name, value in head.forwarding:
            if name == b"x-forwarded-for":
                self.xff_chain = value


class AccessLog:
    """Turns records into lines of one format and appends them to a buffer; never waits."""

    def __init__(self, buffer: LineBuffer, form: Literal["ascii", "json"], *, tag: str, colored: bool = False) -> None:
        self._buffer = buffer
        self._stamp = Stamp(tag, colored=colored and form == "ascii")
        self._format = format_ascii if form == "ascii" else format_json
        self._lost = _lost_ascii if form == "ascii" else _lost_json
        self._logger = logging.getLogger(LOGGER)

    def write(self, record: AccessRecord) -> None:
        """Append the record's line, if the log directives want it. The record must stay as it is."""
        if self._logger.isEnabledFor(logging.ERROR if record.failed else logging.INFO):
            # Whatever is long in it has come from the client.
            self._buffer.append_later(self._line, record, record.bytes_in)

    def _line(self, record: AccessRecord) -> str:
        return self._format(record, self._stamp)

    def lost(self, count: int) -> str:
        """The line that says how many are missing, in this log's format; any thread may ask."""
        return self._lost(count, time.time(), self._stamp)


def format_ascii(record: AccessRecord, stamp: Stamp) -> str:
    """Stamp, `[ids] client backend times bytes [tags] x-request-id protocol host method path status | message`."""
    # Identifiers, addresses and numbers are our own making; looking at the rest only takes half the time.
    names = f"{record.cluster_id or '-'} {record.backend_id or '-'}"
    tags = _tags(record) if record.tags or record.user_agent else "-"
    passed_on = one_word(record.x_request_id)
    target = _target(record.host or b"-", record.method or b"-", record.path or b"-")
    body = (
        f"[{record.session_id} {record.request_id or '-'} {names}] {record.client} {record.backend or '-'} "
        f"{duration(record.request_time)}/{duration(record.service_time)}/{duration(record.response_time)} "
        f"{record.bytes_in} {record.bytes_out} [{tags}] {passed_on} {record.protocol} {target} "
        f"{record.status or '-'} | {record.message}"
    )
    if not f"{names}{tags}{passed_on}{target}{record.message}".isprintable():
        body = printable(body)
    level = "ERROR-ACCESS" if record.failed else "INFO-ACCESS"
    return stamp.line(record.start + record.request_time, level, body)


def format_json(record: AccessRecord, stamp: Stamp) -> str:
    """One JSON object with every key always there; null for what is unknown, numbers as numbers, times in seconds."""
    return _encode(
        {
            "time": stamp.time(record.start + record.request_time),
            "level": "ERROR-ACCESS" if record.failed else "INFO-ACCESS",
            "pid": stamp.pid,
            "tag": stamp.tag,
            "session_id": record.session_id,
            "request_id": record.request_id,
            "cluster_id": record.cluster_id,
            "backend_id": record.backend_id,
            "client": record.client,
            "backend": record.backend,
            "protocol": record.protocol,
            "start": round(record.start, 6),
            "request_time": _rounded(record.request_time),
            "service_time": _rounded(record.service_time),
            "response_time": _rounded(record.response_time),
            "bytes_in": record.bytes_in,
            "bytes_out": record.bytes_out,
            "tags": dict(record.tags or {}),
            "user_agent": _text(record.user_agent),
            "x_request_id": _text(record.x_request_id),
            "xff_chain": _text(record.xff_chain),
            "host": _text(record.host),
            "method": _text(record.method),
            "path": _text(record.path),
            "status": record.status or None,
            "message": record.message,
            **_tls(record.tls),
        }
    )


def _tls(facts: TlsFacts | None) -> dict[str, str | bool | None]:
    if facts is None:
        return _PLAIN
    return {
        "tls_version": facts.version,
        "tls_cipher": facts.cipher,
        "tls_sni": facts.server_name,
        "tls_alpn": facts.alpn,
        "tls_resumed": facts.resumed,
        "tls_client_subject": facts.client_subject,
        "tls_client_fingerprint": facts.client_fingerprint,
    }


def duration(seconds: float | None) -> str:
    """`420µs`, `3.1ms`, `12.05s`, or `-` for None."""
    if seconds is None:
        return "-"
    if seconds < 0.001:
        return f"{round(seconds * 1e6)}µs"
    if seconds < 0.0999:
        return _TENTHS[round(seconds * 1e4)]
    return f"{seconds * 1e3:.1f}ms" if seconds < 1 else f"{seconds:.2f}s"


def _target(host: bytes, method: bytes, path: bytes) -> str:
    words = b" ".join((host, method, path))
    if words.isascii() and words.count(b" ") == 2 and _BAR not in words:
        return words.decode("ascii")
    return f"{ascii_text(host)} {ascii_text(method)} {ascii_text(path)}"


def _tags(record: AccessRecord) -> str:
    words = [_tag(name, value) for name, value in record.tags.items()] if record.tags else []
    if record.user_agent:
        words.append(f"user-agent={one_word(record.user_agent)}")
    return ", ".join(words)


def _tag(name: str, value: str) -> str:
    return f"{name}={value}".replace(" ", "_").replace("[", "{").replace("]", "}")


def _text(raw: bytes) -> str | None:
    return raw.decode("utf-8", "backslashreplace") if raw else None


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)


def _lost_ascii(count: int, moment: float, stamp: Stamp) -> str:
    return stamp.line(moment, "ERROR-ACCESS", f"{count} lines are missing here: the log target failed or was too slow")


def _lost_json(count: int, moment: float, stamp: Stamp) -> str:
    return _encode(
        {"time": stamp.time(moment), "level": "ERROR-ACCESS", "pid": stamp.pid, "tag": stamp.tag, "lost": count}
    )
