"""A whole main with its worker in one test, asked as the control socket asks it but without the socket."""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, closing
from pathlib import Path
from string import Template
from typing import Any

import pytest
import trio
import trio.testing

from sozu_trio.app import open_proxy
from sozu_trio.config.addresses import Address
from sozu_trio.config.load import parse_config
from sozu_trio.control.answering import Answer
from sozu_trio.control.journal import Journal
from sozu_trio.control.permissions import Peer
from sozu_trio.control.protocol import Request
from sozu_trio.errors import ChangeRefused, OperatorError
from sozu_trio.main.audit import Audit
from sozu_trio.main.events import Events
from sozu_trio.main.parts import Parts
from sozu_trio.main.transactions import Transactions
from sozu_trio.main.verbs import Verbs
from sozu_trio.nursery.bind import bound_address, open_listening_socket
from sozu_trio.testing import Client
from sozu_trio.testing.harness import RecordedLogs

OWNER = Peer(client_id=1, uid=os.getuid(), gid=0, pid=7, process="test", may_change=True, connected=0.0)

CONFIG = """
[[listeners]]
protocol = "http"
address = "$http"
[[listeners]]
protocol = "tcp"
address = "$tcp"
[clusters.api]
protocol = "http"
frontends = [
    { address = "$http", hostname = "api.example", path = "/v1", tags = { owner = "web" } },
    { address = "$http", hostname = "api.example", path = "/v1", method = "POST", position = "PRE" },
    { address = "$http", hostname = "*.example", path = "/v[0-9]", path_type = "REGEX" },
]
backends = [
    { address = "127.0.0.1:1", backend_id = "api-1", weight = 50 },
    { address = "127.0.0.1:2", backend_id = "api-2", backup = true },
]
[clusters.relay]
protocol = "tcp"
frontends = [{ address = "$tcp" }]
backends = [{ address = "127.0.0.1:3", backend_id = "relay-1" }]
"""
"""A bit of everything; nobody is asked to serve at the backends."""

RULE = {
    *(
        "protocol",
        "address",
        "hostname",
        "path",
        "path_type",
        "method",
        "position",
        "cluster",
        "tags",
        "hsts",
        "max_body_size",
        "origin",
    )
}
"""Members of a frontend as it is listed."""


class AskedMain:
    """Main, and the answers to what it is asked."""

    def __init__(self, parts: Parts, addresses: Mapping[str, Address], audited: list[str]) -> None:
        self.parts = parts
        self.addresses = addresses
        self.audited = audited
        self.progress: list[tuple[str, Any]] = []
        """Processing replies so far."""
        self._verbs = Verbs(parts)

    async def answer(self, verb: str, body: Mapping[str, Any] | None = None, *, peer: Peer = OWNER) -> Answer:
        """Raises OperatorError for what is refused."""
        return await self._verbs.answer(peer, Request(id=1, verb=verb, body=body or {}), self._progress)

    async def ask(self, verb: str, **body: Any) -> Any:
        """The content of the answer; `_` in names stands for the hyphen of ctl's options, and `from_` for `from`."""
        answer = await self.answer(verb, {name.rstrip("_").replace("_", "-"): value for name, value in body.items()})
        assert answer.ok
        assert answer.message
        return answer.content

    async def refusal(self, verb: str, body: Mapping[str, Any] | None = None) -> str:
        """Why that is refused."""
        with pytest.raises(OperatorError) as caught:
            await self.answer(verb, body)
        if isinstance(caught.value, ChangeRefused):
            assert str(caught.value) == "\n".join(map(str, caught.value.problems))
        return str(caught.value)

    async def apply(self, *changes: Mapping[str, Any]) -> None:
        await self.ask("apply", changes=list(changes))

    @asynccontextmanager
    async def connect(self, name: str = "http") -> AsyncIterator[Client]:
        """A client of the listener at `$name`, which has been let in."""
        client = await Client.open(self.addresses[name])
        try:
            await trio.testing.wait_all_tasks_blocked()
            yield client
        finally:
            await client.close()

    async def _progress(self, message: str, content: Any) -> None:
        await trio.lowlevel.checkpoint()
        self.progress.append((message, content))


@asynccontextmanager
async def open_main(directory: Path, text: str = CONFIG, **given: object) -> AsyncIterator[AskedMain]:
    """Main with the configuration `text`, in which `$name` is `given[name]`, else the address of a listener on a free
    port. Paths are relative to `directory`, where the journal is as well.
    """
    names = [name for name in Template(text).get_identifiers() if name not in given]
    sockets = {name: open_listening_socket(Address("127.0.0.1", 0)) for name in names}
    try:
        addresses = {name: bound_address(sock) for name, sock in sockets.items()}
        written = Template(text).substitute(addresses, **given)
        config = parse_config(written, "test", directory)
        events, audited = Events(), list[str]()
        async with open_proxy(
            config, logs=RecordedLogs("debug"), inherited=list(sockets.values()), events=events
        ) as supervisor:
            with closing(Journal.create(directory / "journal", supervisor.state, 1)) as journal:
                parts = Parts(
                    config=config,
                    config_path=None,
                    supervisor=supervisor,
                    transactions=Transactions(supervisor, journal, events),
                    journal=journal,
                    events=events,
                    audit=Audit(audited.append),
                )
                yield AskedMain(parts, addresses, audited)
    finally:
        for sock in sockets.values():
            sock.close()
