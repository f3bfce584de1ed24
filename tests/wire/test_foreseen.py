"""Heads that were read before they are asked for: only that of the very buffer, and once.

That they are the same as those read later is held together in test_request.py and test_response.py.
"""

from sozu_trio.config.limits import HeadLimits
from sozu_trio.wire.request import RequestParser
from sozu_trio.wire.response import ResponseParser

REQUESTS = [b"GET /%d HTTP/1.1\r\nHost: a.example\r\n\r\n" % number for number in range(2)]
RESPONSES = [b"HTTP/1.1 20%d OK\r\nContent-Length: 0\r\n\r\n" % number for number in range(2)]


def test_the_head_of_another_buffer_is_not_taken_for_that_of_this_one() -> None:
    requests, responses = RequestParser(HeadLimits()), ResponseParser(HeadLimits(), b"GET")
    requests.foresee(REQUESTS[0])
    responses.foresee(RESPONSES[0])
    request, response = requests.parse(REQUESTS[1]), responses.parse(RESPONSES[1])
    assert request is not None
    assert response is not None
    assert (request.target, response.status) == (b"/1", 201)


def test_a_head_is_given_away_once() -> None:
    requests, responses = RequestParser(HeadLimits()), ResponseParser(HeadLimits(), b"GET")
    requests.foresee(REQUESTS[0])
    responses.foresee(RESPONSES[0])
    assert requests.parse(REQUESTS[0]) is not requests.parse(REQUESTS[0])
    assert responses.parse(RESPONSES[0]) is not responses.parse(RESPONSES[0])
