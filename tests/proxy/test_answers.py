"""Responses of our own, as h11 reads them."""

import h11
import pytest

from sozu_trio.proxy.answers import TEXTS, answer, options_answer


def read(data: bytes, method: str = "GET") -> tuple[int, dict[bytes, bytes], bytes]:
    """Status, fields and body of the one response in `data`."""
    reader = h11.Connection(h11.CLIENT)
    reader.send(h11.Request(method=method, target="/", headers=[("Host", "any")]))
    reader.send(h11.EndOfMessage())
    reader.receive_data(data)
    response, body = reader.next_event(), b""
    assert isinstance(response, h11.Response)
    while isinstance(event := reader.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert reader.trailing_data == (b"", False)
    return response.status_code, dict(response.headers), body


@pytest.mark.parametrize("status", TEXTS)
def test_says_what_happened(status: int) -> None:
    found, fields, body = read(answer(status, "01ID", close=True))
    assert found == status
    assert TEXTS[status].encode() in body
    assert b"request 01ID" in body
    assert (fields[b"sozu-id"], fields[b"connection"], fields[b"cache-control"]) == (b"01ID", b"close", b"no-store")
    assert b"retry-after" not in fields


def test_status_without_a_text_of_its_own() -> None:
    assert b"<p>I'm a Teapot</p>" in answer(418, "01ID", close=True)


def test_head_gets_the_length_alone() -> None:
    whole, head = answer(404, "01ID", close=False), answer(404, "01ID", close=False, head_only=True)
    assert whole.startswith(head)
    assert read(head, "HEAD") == (404, read(whole)[1], b"")


def test_connection() -> None:
    assert b"connection" not in read(answer(404, "01ID", close=False))[1]
    assert read(answer(404, "01ID", close=False, keep_alive_1_0=True))[1][b"connection"] == b"keep-alive"
    assert read(answer(404, "01ID", close=True, keep_alive_1_0=True))[1][b"connection"] == b"close"


def test_fields_on_demand() -> None:
    assert read(answer(503, "01ID", close=True, retry_after=60))[1][b"retry-after"] == b"60"
    assert b"GET" in read(answer(405, "01ID", close=True))[1][b"allow"]
    assert read(answer(404, "01ID", close=True, id_field="Trace"))[1][b"trace"] == b"01ID"


def test_options() -> None:
    status, fields, body = read(options_answer("01ID", "Trace", close=True))
    assert (status, body, fields[b"content-length"], fields[b"trace"]) == (200, b"", b"0", b"01ID")
    assert (b"OPTIONS" in fields[b"allow"], fields[b"connection"]) == (True, b"close")
    assert b"connection" not in read(options_answer("01ID", "Trace", close=False))[1]
    assert read(options_answer("01ID", "Trace", close=False, keep_alive_1_0=True))[1][b"connection"] == b"keep-alive"
