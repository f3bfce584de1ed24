"""What is read off the live tree is what is there."""

from collections.abc import Iterator

import pytest
import trio

from sozu_trio.config.addresses import Address
from sozu_trio.errors import ChannelError
from sozu_trio.nursery.listener import ListenerNode, SessionNode
from sozu_trio.nursery.looks import (
    OLDEST,
    SLICE,
    Service,
    drains_by_listener,
    list_sessions,
    sessions_by_listener,
    tree_of,
)
from tests.nursery.parts import ScriptedListening

pytestmark = pytest.mark.virtual_time

PEER = ("::1", 4711, 0, 0)


@pytest.fixture
def sock() -> Iterator[ScriptedListening]:
    """A socket for every node: nothing here is ever accepted or read."""
    with ScriptedListening([]) as sock:
        yield sock


def listener(sock: ScriptedListening, port: int, *sessions: str) -> ListenerNode:
    node = ListenerNode(("tcp", Address("127.0.0.1", port)), sock)
    for name in sessions:
        add(node, name)
    return node


def add(node: ListenerNode, name: str) -> None:
    node.sessions[name] = SessionNode(name, node.sock, PEER, node, trio.current_time())


async def test_the_tree(sock: ScriptedListening) -> None:
    worker, control = Service("worker 0"), Service("control")
    node = listener(sock, 80, "old")
    await trio.sleep(2)
    add(node, "young")
    await trio.sleep(1.0004)
    assert tree_of(worker, [control], [node]) == {
        "name": "worker 0",
        "kind": "worker",
        "age": 3.0,
        "children": [
            {"name": "control", "kind": "service", "age": 3.0, "children": []},
            {
                "name": "listener tcp 127.0.0.1:80",
                "kind": "listener",
                "age": 3.0,
                "children": [
                    {"name": "accepting", "kind": "accepting", "age": 3.0, "children": []},
                    {
                        "name": "connections",
                        "kind": "connections",
                        "age": 3.0,
                        "count": 2,
                        "children": [
                            {"name": "old", "kind": "session", "age": 3.0, "children": []},
                            {"name": "young", "kind": "session", "age": 1.0, "children": []},
                        ],
                    },
                ],
            },
        ],
    }


async def test_a_listener_that_drains_accepts_no_more(sock: ScriptedListening) -> None:
    node = listener(sock, 80)
    node.closed.set()
    (shown,) = tree_of(Service("worker 0"), [], [node])["children"]
    assert [child["name"] for child in shown["children"]] == ["connections"]


async def test_of_many_sessions_the_tree_shows_the_oldest(sock: ScriptedListening) -> None:
    node = listener(sock, 80, *(f"s{n}" for n in range(1000)))
    ((_, connections),) = (shown["children"] for shown in tree_of(Service("worker 0"), [], [node])["children"])
    assert connections["count"] == 1000
    assert [child["name"] for child in connections["children"]] == [f"s{n}" for n in range(OLDEST)]


async def test_listeners_are_shown_by_address_and_the_older_first(sock: ScriptedListening) -> None:
    nodes = [listener(sock, 81), listener(sock, 80, "a")]
    await trio.sleep(1)
    nodes.insert(0, listener(sock, 80, "b"))
    shown = tree_of(Service("worker 0"), [], nodes)["children"]
    assert [(each["name"][-2:], each["age"]) for each in shown] == [("80", 1), ("80", 0), ("81", 1)]


async def test_sessions_are_counted_by_address(sock: ScriptedListening) -> None:
    nodes = [listener(sock, 80, "a", "b"), listener(sock, 80, "c"), listener(sock, 81)]
    assert sessions_by_listener(nodes) == {"127.0.0.1:80": 3, "127.0.0.1:81": 0}


async def test_who_is_left_where_nobody_is_let_in(sock: ScriptedListening) -> None:
    nodes = [listener(sock, 80, "a", "b", "c"), listener(sock, 80, "new"), listener(sock, 81, "d"), listener(sock, 82)]
    nodes[0].sessions["b"].kind = "websocket"
    nodes[2].sessions["d"].kind = "tcp"
    assert drains_by_listener(nodes, {}) == {}
    for node in (nodes[0], nodes[2], nodes[3]):
        node.stop(None)
    nodes[0].cut = 2
    assert drains_by_listener(nodes, {"127.0.0.1:80": 3, "127.0.0.1:9": 1}) == {
        "127.0.0.1:80": {"sessions": 3, "websocket": 1, "tcp": 0, "cut": 5},
        "127.0.0.1:81": {"sessions": 1, "websocket": 0, "tcp": 1, "cut": 0},
        "127.0.0.1:82": {"sessions": 0, "websocket": 0, "tcp": 0, "cut": 0},
        "127.0.0.1:9": {"sessions": 0, "websocket": 0, "tcp": 0, "cut": 1},
    }


async def test_sessions_are_listed_the_oldest_first_over_all_listeners(sock: ScriptedListening) -> None:
    one, two = listener(sock, 80), listener(sock, 81)
    for name, node in (("a", one), ("b", two), ("c", one)):
        add(node, name)
        await trio.sleep(1)
    listed = await list_sessions([one, two], {})
    assert listed == [
        {"id": "a", "listener": "127.0.0.1:80", "client": "[::1]:4711", "age": 3.0},
        {"id": "b", "listener": "127.0.0.1:81", "client": "[::1]:4711", "age": 2.0},
        {"id": "c", "listener": "127.0.0.1:80", "client": "[::1]:4711", "age": 1.0},
    ]
    assert await list_sessions([one, two], {"limit": 2}) == listed[:2]
    assert await list_sessions([one, two], {"limit": 0}) == []
    assert await list_sessions([one, two], {"limit": None}) == listed


async def test_a_long_list_lets_others_run_and_holds_who_is_still_there(sock: ScriptedListening) -> None:
    node = listener(sock, 80, *(f"s{n:04}" for n in range(4 * SLICE)))

    async def leave() -> None:
        while node.sessions:
            node.sessions.popitem()
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(leave)
        listed = await list_sessions([node], {})
        left = 4 * SLICE - len(node.sessions)
        nursery.cancel_scope.cancel()
    assert left >= 3
    assert [each["id"] for each in listed] == [f"s{n:04}" for n in range(len(listed))]
    assert 4 * SLICE - left <= len(listed) < 4 * SLICE


@pytest.mark.parametrize("query", [{"limit": "7"}, {"limit": -1}, {"limit": True}, {"limit": 1.5}, {"colour": "red"}])
async def test_another_query_is_refused(query: dict[str, object]) -> None:
    with pytest.raises(ChannelError, match="asked for by limit only"):
        await list_sessions([], query)
