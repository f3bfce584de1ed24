"""The composition root: builds every part in order of dependency and hands each what it needs. The only file that
knows every package.

logs                  outlive everything, so that the last line is written
 └─ supervisor        main
     ├─ worker 0      its handler is made here, from `proxy`
     └─ signals
"""

import gc
import logging
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

import trio

from sozu_trio.config.load import Config
from sozu_trio.control.channel import Channel
from sozu_trio.control.messages import Ask
from sozu_trio.nursery.supervisor import Supervisor
from sozu_trio.nursery.worker import grace_of, serve_worker
from sozu_trio.proxy.doors import ProxyHandler
from sozu_trio.routing.state import State, declare
from sozu_trio.telemetry.logs import Logs

log = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP, signal.SIGUSR2)


class TakesLines(Protocol):
    """Where lines go: the targets of a configuration, or a test's memory."""

    def take(self, lines: str, dropped: int) -> None: ...
    def serve(self) -> AbstractAsyncContextManager[None]: ...


def state_of(config: Config) -> State:
    """The State a configuration declares."""
    return declare(
        listeners=config.listeners,
        clusters=config.clusters,
        http_frontends=config.http_frontends,
        tcp_frontends=config.tcp_frontends,
        backends=config.backends,
    )


@asynccontextmanager
async def open_proxy(
    config: Config,
    *,
    logs: "TakesLines | None" = None,
    inherited: Iterable[socket.socket] = (),
) -> AsyncIterator[Supervisor]:
    """A proxy that serves `config` while the body runs; what is left of it after the body is stopped hard.

    Raises OperatorError when a log target or an address cannot be had, the latter in exception groups as it comes out
    of nurseries; nothing listens then.
    """
    lines = Logs(config.program) if logs is None else logs
    async with lines.serve():
        _log_notices(config)
        supervisor = Supervisor(
            config.program, _serve_in_process, lambda report: lines.take(report.lines, report.dropped)
        )
        supervisor.inherit(inherited)
        async with trio.open_nursery() as main:
            await main.start(supervisor.run)
            await supervisor.change(state_of(config))
            yield supervisor
            await supervisor.stop(0)


async def serve(config: Config, on_ready: Callable[[Supervisor], None]) -> int:
    """Serve `config` until a signal says stop; returns how many sessions the stop has cut. Raises OperatorError."""
    logs = Logs(config.program)
    with trio.open_signal_receiver(*SIGNALS) as signals:
        async with open_proxy(config, logs=logs) as supervisor, trio.open_nursery() as nursery:
            nursery.start_soon(_obey, signals, supervisor, logs, name="signals")
            # What was made so far stays for good. Looked through with the garbage of traffic it holds the loop for 100
            # ms among 10,000 clusters.
            gc.collect()
            gc.freeze()
            on_ready(supervisor)
            await supervisor.stopped.wait()
            nursery.cancel_scope.cancel(reason="stopped")
        return supervisor.cut


async def _obey(signals: AsyncIterator[int], supervisor: Supervisor, logs: Logs) -> None:
    """SIGTERM, SIGINT: soft stop, the second one hard. SIGUSR1: reopen the logs."""
    stopping = False
    async for number in signals:
        name = signal.Signals(number).name
        if number == signal.SIGUSR1:
            log.info("%s: log files are opened anew", name)
            logs.reopen()
        elif number not in {signal.SIGTERM, signal.SIGINT}:
            log.warning("%s: not built yet, ignored", name)
        elif stopping:
            log.warning("%s again: cutting every session", name)
            await supervisor.stop(0)
        else:
            stopping = True
            grace = grace_of(supervisor.program.shutdown_timeout)
            log.info(
                "%s: stopping; sessions may take %s", name, "as long as they need" if grace is None else f"{grace:g} s"
            )
            await supervisor.stop(grace)


async def _serve_in_process(_worker_id: int, channel: Channel[Ask]) -> None:
    try:
        await serve_worker(channel, ProxyHandler)
    finally:
        channel.close()


def _log_notices(config: Config) -> None:
    for notice in config.notices:
        level = logging.WARNING if notice.level == "warning" else logging.INFO
        log.log(level, "%s: %s: %s", config.source, notice.where, notice.what)
    if config.program.worker_count != 1:
        log.info("worker_count = %d: main and one worker share this process for now", config.program.worker_count)
