"""An image of main that would have more descriptors than it may is not begun."""

import resource

import pytest

from sozu_trio.config.addresses import Address
from sozu_trio.errors import OperatorError
from sozu_trio.main.room import MARGIN, refuse_without_room
from sozu_trio.nursery.estate import Estate
from sozu_trio.nursery.sockets import Left
from tests.descriptors import open_descriptors


def estate(sockets: int) -> Estate:
    of = [(0, "tcp", Address("::1", port), 0) for port in range(sockets)]
    left = Left(of=of, workers=(0,), inherited=[], from_outside=(), shared=(), unnumbered=(), numbers=[])
    return Estate(generation=1, worker_count=1, workers=[], past=(), sockets=left)


def test_the_sockets_are_there_twice_and_a_message_of_a_worker_comes_on_top(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = len(open_descriptors()) + 2 * 100 + MARGIN
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    refuse_without_room(estate(100))
    with pytest.raises(OperatorError, match=f"main may have {limit} descriptors .* needs {2 * 101 + MARGIN} more"):
        refuse_without_room(estate(101))


def test_where_there_is_no_limit_there_is_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    refuse_without_room(estate(1000))
