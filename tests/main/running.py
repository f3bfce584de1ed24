"""A whole main as `serve` starts it from a file: with its journal, a worker in process, and no control socket.

In real time: every change waits for a disk, which knows no other.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

import trio

from sozu_trio.app import open_proxy
from sozu_trio.config.load import load_config
from sozu_trio.main.audit import Audit
from sozu_trio.main.birth import begin
from sozu_trio.main.certificate_watch import CertificateWatch
from sozu_trio.main.events import Events, Hearing
from sozu_trio.main.parts import Parts
from sozu_trio.main.transactions import Transactions
from sozu_trio.testing.harness import RecordedLogs
from tests.main.looking_parts import AskedMain

PATIENCE = 60
"""Seconds that one life of main may take in a test."""
HTTP, TCP = "127.0.0.1:8080", "127.0.0.1:5432"
"""Where the listeners of GLOBALS + SERVICES stand; nothing binds there, as they are not activated."""
GLOBALS = """
command_socket = "sozu.sock"
activate_listeners = false
saved_state = "state.json"
automatic_state_save = true
worker_count = 1
"""
SERVICES = f"""
[[listeners]]
protocol = "http"
address = "{HTTP}"
[[listeners]]
protocol = "tcp"
address = "{TCP}"
[clusters.api]
protocol = "http"
frontends = [{{ address = "{HTTP}", hostname = "api.example", path = "/v1" }}]
backends = [{{ address = "127.0.0.1:1", backend_id = "api-1", weight = 50 }}]
[clusters.relay]
protocol = "tcp"
frontends = [{{ address = "{TCP}" }}]
backends = [{{ address = "127.0.0.1:3", backend_id = "relay-1" }}]
"""


def write(directory: Path, text: str = GLOBALS + SERVICES) -> Path:
    """Write `text` as the configuration file in `directory`."""
    file = directory / "proxy.toml"
    file.write_text(text)
    return file


@asynccontextmanager
async def running(file: Path, state_from: str | None = None) -> AsyncIterator[AskedMain]:
    """Main with the configuration at `file`, from its start to its end; the next one finds what this one leaves."""
    config = load_config(file)
    events, audited = Events(), list[str]()
    with trio.fail_after(PATIENCE), closing(await begin(config, state_from)) as beginning:
        first = beginning.state, beginning.generation
        async with open_proxy(
            config, logs=RecordedLogs("debug"), events=events, begin_with=first, journal=beginning.record
        ) as supervisor:
            journal = beginning.recorded()
            parts = Parts(
                config=config,
                config_path=str(file),
                supervisor=supervisor,
                transactions=Transactions(supervisor, journal, events),
                journal=journal,
                events=events,
                audit=Audit(audited.append),
                certificate_watch=CertificateWatch(beginning.seen, config.program.certificate_check_interval),
            )
            yield AskedMain(parts, {}, audited)


def told_by_main(events: Hearing) -> list[dict[str, Any]]:
    """The events so far, without those that workers tell in their own time."""
    told = [events.receive_nowait() for _ in range(events.waiting)]
    return [each for each in told if each["kind"] != "REMOVED_BACKEND_HAS_NO_CONNECTIONS"]


@contextmanager
def nothing_changes(main: AskedMain) -> Iterator[None]:
    """State, generation, journal and history are afterwards what they were, and no event was told."""
    parts = main.parts
    state, generation, history = parts.transactions.state, parts.transactions.generation, parts.journal.history
    written = parts.journal.path.read_bytes()
    with parts.events.listen() as events:
        yield
        assert told_by_main(events) == []
    assert parts.transactions.state is state
    assert parts.transactions.generation == parts.supervisor.generation == generation
    assert parts.journal.history is history
    assert parts.journal.path.read_bytes() == written


def objects(main: AskedMain) -> dict[str, list[str]]:
    """What is there, by kind, in words."""
    state = main.parts.transactions.state
    return {
        "listeners": [str(address) for _, address in state.listeners],
        "clusters": list(state.clusters),
        "frontends": [f"{each.hostname}{each.path}" for each in state.http_frontends]
        + [str(address) for address in state.tcp_frontends],
        "backends": [each for backends in state.backends.values() for each in backends],
    }
