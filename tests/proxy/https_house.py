"""An https listener before a backend, and clients of it."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

import trio

from sozu_trio.testing import Client, RunningProxy
from sozu_trio.testing.plugin import StartBackend, StartProxy
from tests.proxy.parts import OK
from tests.proxy.secure import open_client, secure_text


class Inhabited(Protocol):
    """A proxy and its clients."""

    clients: list[Client]
    proxy: RunningProxy


@contextlib.asynccontextmanager
async def left_in_order(house: Inhabited) -> AsyncIterator[None]:
    """Afterwards all clients are let go of, and no session has failed by an exception that nobody foresaw."""
    yield
    for client in house.clients:
        await trio.aclose_forcefully(client.stream)
    assert not [line for line in house.proxy.log if "Traceback" in line]


class House:
    """A proxy with an https listener, and clients that are let go of when the test is over."""

    def __init__(self, folder: Path, start_proxy: StartProxy, start_backend: StartBackend) -> None:
        self.clients: list[Client] = []
        self._folder = folder
        self._start_proxy = start_proxy
        self._start_backend = start_backend

    async def start(self, script: object = OK, **text: object) -> None:
        self.backend = await self._start_backend(script)
        self.proxy = await self._start_proxy(secure_text(self._folder, **text), api=self.backend)  # type: ignore[arg-type]
        self.address = self.proxy.addresses["https"]

    async def client(self, *arguments: object, **how: object) -> Client:
        self.clients.append(await open_client(self.address, *arguments, **how))  # type: ignore[arg-type]
        return self.clients[-1]

    @property
    def sessions(self) -> list[str]:
        """Lines about sessions that went wrong."""
        return [line for line in self.proxy.log if "session" in line and "closed" in line]
