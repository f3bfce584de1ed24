"""The answer to what is no request: nothing of it reaches a backend, and the connection ends."""

import logging
import time
from typing import TYPE_CHECKING, Final

from sozu_trio.errors import RequestRefused
from sozu_trio.proxy.answers import answer
from sozu_trio.proxy.linger import linger
from sozu_trio.telemetry.access_log import AccessRecord
from sozu_trio.wire.lines import HEAD_TOO_LARGE, LINE_TOO_LONG, TOO_MANY_FIELDS

if TYPE_CHECKING:
    from sozu_trio.proxy.http1 import HttpConnection

log = logging.getLogger(__name__)

_LIMITS: Final = {LINE_TOO_LONG: "request_line", HEAD_TOO_LARGE: "head_size", TOO_MANY_FIELDS: "fields"}
"""Which limit a head has passed that was refused for one of these."""


async def refuse(connection: "HttpConnection", refused: RequestRefused, head: bytes) -> None:
    """Answer `head`, which is none or not all of one, log it, and count it. Raises OSError."""
    proxy = connection.proxy
    ulid = proxy.ids.next()
    id_field = connection.listener.sozu_id_header
    data = answer(refused.status, ulid, close=True, id_field=id_field, hsts=connection.hsts)
    log.debug("session %s: %s", connection.name, refused)
    record = AccessRecord(connection.name, connection.client_text, "HTTP", time.time(), request_id=ulid)
    record.status, record.message, record.failed = refused.status, str(refused), True
    record.bytes_in, record.bytes_out = len(head), len(data)
    if connection.secured is not None:
        connection.secured.note(record)
    counters = proxy.counters
    counters.client_errors += 1
    counters.limited(refused.limit or _LIMITS.get(str(refused), ""))
    counters.by_status[refused.status // 100] += 1
    counters.bytes_in += record.bytes_in
    counters.bytes_out += record.bytes_out
    counters.access_lines += 1
    proxy.access_log.write(record)
    await connection.stream.send(data, connection.patience)
    await linger(connection.stream)
