"""An exchange that is cut, at any step of it, leaves nothing open."""

from contextlib import suppress

import pytest
import trio
from trio.testing import MockClock

from sozu_trio.testing import BackendConnection, Client
from tests.proxy.parts import GET, Net, request

pytestmark = pytest.mark.usefixtures("leaving")


class CutAt(trio.abc.Instrument):
    """Cuts every session when its tasks have made `step` steps."""

    def __init__(self, step: int) -> None:
        self.left = step

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        while task.parent_nursery is not None and len(task.name) != len("01ARZ3NDEKTSV4RRFFQ69G5FAV"):
            task = task.parent_nursery.parent_task
        if task.parent_nursery is not None:
            self.left -= 1
            if self.left == 0:
                task.parent_nursery.cancel_scope.cancel(reason="the test cuts here")


async def converse(connection: BackendConnection) -> None:
    """All that an exchange can be asked to wait for."""
    while True:
        head = await connection.read_head()
        if b"100-continue" in head:
            await connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            await connection.receive_until(b"0\r\n\r\n")
        await connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
        await trio.sleep(0.1)
        await connection.send(b"0\r\n\r\n")


async def use(client: Client) -> None:
    upload = request("POST /", "Transfer-Encoding: chunked", "Expect: 100-continue")
    for data in (GET[:9], GET[9:], upload, b"1\r\na\r\n", b"0\r\n\r\n"):
        await client.send(data)
        await trio.sleep(0.5)
    await client.receive_all()


async def test_cut_at_any_step_leaves_nothing_open(net: Net, clock: MockClock) -> None:
    """That nothing stays open is seen by ResourceWarnings being errors, and by the backend."""
    backend = await net.backend(converse)
    for step in range(1, 100):
        instrument = CutAt(step)
        client = await net.client(await net.proxy(backend, listener="front_timeout = 3\nrequest_timeout = 3"))
        trio.lowlevel.add_instrument(instrument)
        with suppress(trio.BrokenResourceError):
            await use(client)
        trio.lowlevel.remove_instrument(instrument)
        if instrument.left > 0:
            break
    assert step > 10
    await trio.sleep(40)
    assert backend.open == 0
