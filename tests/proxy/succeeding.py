"""Sessions of every kind that a successor is to take over: there they are, and all of them go on."""

from trio.testing import wait_all_tasks_blocked

from sozu_trio.testing import BackendConnection, Client
from tests.proxy.moving import Succession
from tests.proxy.parts import GET, OK, values
from tests.proxy.test_tunnels import SWITCH, open_tunnel


async def served(client: Client) -> None:
    """Whether `client` is served, and its connection stays."""
    await client.send(GET)
    head = await client.receive_until(b"ok")
    assert head.startswith(b"HTTP/1.1 200")
    assert not values(head, b"connection")


async def serve(connection: BackendConnection) -> None:
    """Requests, tunnels, and sessions of any other kind."""
    while (first := await connection.receive_exactly(4)) == b"GET ":
        head = await connection.read_head()
        await connection.send(SWITCH if head.startswith(b"/chat") else OK)
        if head.startswith(b"/chat"):
            break
    else:
        await connection.send(first)
    while data := await connection.stream.receive_some(65536):
        await connection.send(data)


async def one_of_each(succession: Succession) -> tuple[Client, Client, Client, Client]:
    """A connection that has sent nothing, one that has, and two tunnels."""
    silent = await succession.client()
    used = await succession.client()
    await served(used)
    tunnels = [await open_tunnel(succession, kind) for kind in ("tcp", "websocket")]
    await wait_all_tasks_blocked()
    return silent, used, tunnels[0], tunnels[1]


async def all_go_on(clients: tuple[Client, Client, Client, Client]) -> None:
    silent, used, tcp, websocket = clients
    await served(silent)
    await served(used)
    for tunnel in (tcp, websocket):
        await tunnel.send(b"more")
        assert await tunnel.receive_exactly(4) == b"more"
