"""Heads that were read before they are asked for: only that of the very buffer, and once.

That they are the same as those read later is held together in test_request.py and test_response.py.
"""

import pytest

from sozu_trio.config.limits import HeadLimits
from sozu_trio.wire.request import RequestParser
from sozu_trio.wire.response import ResponseParser

REQUESTS = [b"GET /%d HTTP/1.1\r\nHost: a.example\r\n\r\n" % number for number in range(2)]
RESPONSES = [b"HTTP/1.1 20%d OK\r\nContent-Length: 0\r\n\r\n" % number for number in range(2)]


def parsers() -> tuple[RequestParser, ResponseParser]:
    return RequestParser(HeadLimits()), ResponseParser(HeadLimits(), b"GET")


class Recognised(Exception):
    """A head is read."""


def test_a_head_is_not_read_again_and_given_away_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def recognise(*_: object) -> None:
        raise Recognised

    requests, responses = parsers()
    requests.foresee(REQUESTS[0])
    responses.foresee(RESPONSES[0])
    monkeypatch.setattr("sozu_trio.wire.request.recognise_request", recognise)
    monkeypatch.setattr("sozu_trio.wire.response.recognise_response", recognise)
    request, response = requests.parse(REQUESTS[0]), responses.parse(RESPONSES[0])
    assert request is not None
    assert response is not None
    assert (request.target, response.status) == (b"/0", 200)
    with pytest.raises(Recognised):
        requests.parse(REQUESTS[0])
    with pytest.raises(Recognised):
        responses.parse(RESPONSES[0])


def test_the_head_of_another_buffer_is_not_taken_for_that_of_this_one() -> None:
    requests, responses = parsers()
    requests.foresee(REQUESTS[0])
    responses.foresee(RESPONSES[0])
    request, response = requests.parse(REQUESTS[1]), responses.parse(RESPONSES[1])
    assert request is not None
    assert response is not None
    assert (request.target, response.status) == (b"/1", 201)


def test_in_the_middle_of_a_head_nothing_is_foreseen() -> None:
    """And the parser is ready for the next message, one that only the judge reads."""
    requests, responses = parsers()
    assert requests.parse(REQUESTS[0][:-2]) is None
    assert responses.parse(RESPONSES[0][:-2]) is None
    requests.foresee(REQUESTS[0])
    responses.foresee(RESPONSES[0])
    assert requests.parse(REQUESTS[0])
    assert responses.parse(RESPONSES[0])
    assert requests.parse(b"GET / HTTP/1.1\r\nHost: a.example\r\nX:  two spaces\r\n\r\n")
    assert responses.parse(b"HTTP/1.1 200 OK\r\nX:  two spaces\r\n\r\n")
