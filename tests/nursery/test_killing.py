"""An operator ends one session by its name, wherever it turns out to be."""

import socket
from collections.abc import AsyncIterator

import pytest
import trio

from sozu_trio.config.addresses import Address
from sozu_trio.errors import ChannelError
from sozu_trio.nursery.killing import PATIENCE, kill_session
from sozu_trio.nursery.listener import Fate, ListenerNode, SessionNode

pytestmark = pytest.mark.virtual_time


@pytest.fixture
async def node() -> AsyncIterator[SessionNode]:
    """The only session of a listener."""
    with socket.socket() as sock:
        listener = ListenerNode(("tcp", Address("127.0.0.1", 1)), sock)
        node = SessionNode("one", sock, ("127.0.0.1", 2), listener, trio.current_time())
        listener.sessions["one"] = node
        yield node


async def test_of_that_name_and_no_other(node: SessionNode) -> None:
    assert not await kill_session([node.listener], "another")
    assert not node.is_killed
    assert await kill_session([node.listener], "one")
    assert node.is_killed


async def test_what_it_waits_in_is_cancelled_now_or_when_it_begins(node: SessionNode) -> None:
    before = trio.CancelScope()
    node.wait_in(before)
    assert await kill_session([node.listener], "one")
    assert before.cancel_called
    after = trio.CancelScope()
    node.wait_in(after)
    assert after.cancel_called


async def test_what_waited_before_is_left_alone(node: SessionNode) -> None:
    with node.until_killed():
        pass
    assert node.waits is None


@pytest.mark.parametrize("is_ours", [True, False])
async def test_on_its_way_it_is_killed_where_it_ends_up(node: SessionNode, *, is_ours: bool) -> None:
    node.fate = Fate(is_ours=True)

    async def decide(fate: Fate) -> None:
        await trio.sleep(PATIENCE / 2)
        fate.is_ours = is_ours
        fate.known.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(decide, node.fate)
        assert await kill_session([node.listener], "one") is is_ours
    assert node.is_killed is is_ours


async def test_one_that_is_on_its_way_for_long_is_to_be_tried_again(node: SessionNode) -> None:
    node.fate = Fate(is_ours=True)
    with pytest.raises(ChannelError, match=r"one is on its way .* try again"):
        await kill_session([node.listener], "one")
    assert not node.is_killed
