"""The real proxy in a test: a configuration with `$names` for addresses, served while a block runs."""

import socket
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from string import Template

from sozu_trio.app import open_proxy
from sozu_trio.config.addresses import Address
from sozu_trio.config.directives import parse_directives
from sozu_trio.config.limits import LOG_LINES
from sozu_trio.config.load import Config, parse_config
from sozu_trio.nursery.bind import bound_address, open_listening_socket
from sozu_trio.nursery.supervisor import Supervisor
from sozu_trio.telemetry.lines import LineBuffer
from sozu_trio.telemetry.log import apply_directives, log_to
from sozu_trio.testing.clients import Client


class RecordedLogs:
    """Stands for the log targets: lines stay in memory."""

    def __init__(self, directives: str) -> None:
        self.access: list[str] = []
        self._directives = directives
        self._lines = LineBuffer(LOG_LINES)
        self._log: list[str] = []

    @property
    def log(self) -> list[str]:
        """Log lines so far."""
        self._log += self._lines.take(LOG_LINES)
        return self._log

    def take(self, lines: str, dropped: int) -> None:
        assert not dropped
        self.access += lines.split("\n")

    def take_log(self, lines: Iterable[str], dropped: int) -> None:
        assert not dropped
        for line in lines:
            self._lines.append(line)

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[None]:
        with log_to(self._lines, tag="TEST"):
            apply_directives(parse_directives(self._directives))
            yield


class RunningProxy:
    """A proxy that serves, and how to reach it."""

    def __init__(
        self, config: Config, supervisor: Supervisor, addresses: Mapping[str, Address], logs: RecordedLogs
    ) -> None:
        self.config = config
        self.supervisor = supervisor
        self.addresses = addresses
        self._logs = logs

    async def connect(self, name: str = "http") -> Client:
        """A connection to the listener at `$name`."""
        return await Client.open(self.addresses[name])

    @property
    def log(self) -> list[str]:
        """Lines of the log so far."""
        return self._logs.log

    @property
    def access_log(self) -> list[str]:
        """Access-log lines so far; they arrive a moment after the response, and all of them once the proxy has
        stopped.
        """
        return self._logs.access


@asynccontextmanager
async def open_test_proxy(
    text: str,
    *,
    log: str = "debug",
    **backends: object,
) -> AsyncIterator[RunningProxy]:
    """Serve the TOML `text` while the body runs.

    In it `$name` is the address of `backends[name]` (anything whose `str` is an address) or, where none is given, of a
    listener on a free port of 127.0.0.1 (`proxy.addresses[name]`); `$$` is a dollar sign. `log` are directives. Raises
    ConfigError as `serve` does.
    """
    template = Template(text)
    given = {name: str(backend) for name, backend in backends.items()}
    free = [name for name in template.get_identifiers() if name not in given]
    sockets = {name: open_listening_socket(Address("127.0.0.1", 0)) for name in free}
    try:
        addresses = {name: bound_address(sock) for name, sock in sockets.items()}
        written = given | {name: str(address) for name, address in addresses.items()}
        config = parse_config(template.substitute(written), "test", Path.cwd())
        async with _serve(config, RecordedLogs(log), list(sockets.values()), addresses) as proxy:
            yield proxy
    finally:
        for sock in sockets.values():
            sock.close()


@asynccontextmanager
async def _serve(
    config: Config,
    logs: RecordedLogs,
    sockets: list[socket.socket],
    addresses: Mapping[str, Address],
) -> AsyncIterator[RunningProxy]:
    async with open_proxy(config, logs=logs, inherited=sockets) as supervisor:
        yield RunningProxy(config, supervisor, addresses, logs)
