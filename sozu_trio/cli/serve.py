"""`serve`: a configuration from a file, or the embedded demonstration, until a signal says stop."""

import gc
import logging
import os
import select
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

import trio

from sozu_trio import app
from sozu_trio.cli.checking import checked_config, notice_lines, summary
from sozu_trio.cli.pid_file import pid_file
from sozu_trio.config.descriptor_check import refuse_misfit, warned
from sozu_trio.config.descriptors import descriptors_of_worker, raise_descriptor_limit
from sozu_trio.config.load import Config, load_config
from sozu_trio.errors import OperatorError
from sozu_trio.main.handoff import Succession, succession
from sozu_trio.main.key_log import open_key_log
from sozu_trio.main.launch import launched
from sozu_trio.main.rights import give_up_rights
from sozu_trio.main.service_manager import service_manager
from sozu_trio.nursery.activation import activated_sockets
from sozu_trio.nursery.supervisor import Supervisor
from sozu_trio.telemetry.plural import count

log = logging.getLogger(__name__)


def check(path: Path | None) -> None:
    """Validate a configuration and say so. Raises OperatorError with everything that is wrong."""
    if path is None:
        raise OperatorError("--check needs a file: serve -c FILE --check")
    config = warned(checked_config(path), descriptors_of_worker())
    print(*notice_lines(config), summary(config), sep="\n")


def serve(path: Path | None, state_from: Path | None = None, key_log: Path | None = None) -> None:
    """Serve until stopped. Raises OperatorError for what keeps it from starting.

    `state_from`: a saved state to begin with instead of the journal, the path `none` for no state at all. `key_log`:
    the file that gets the secrets of TLS sessions.
    """
    left = succession()
    if left is not None:
        # Until it has taken over, nobody is answered: what is made meanwhile stays for good anyhow.
        gc.disable()
    with _explained(left):
        _serve_until_stopped(path, state_from, key_log, left)


def _serve_until_stopped(
    path: Path | None, state_from: Path | None, key_log: Path | None, left: Succession | None
) -> None:
    config = None if path is None else load_config(path) if left is None else _config_of(left)
    raise_descriptor_limit()
    if config is not None and left is None:
        refuse_misfit(config, descriptors_of_worker())
        config = warned(config, descriptors_of_worker())
    if config is not None and config.program.sandbox != "off":
        give_up_rights()
    manager = service_manager(os.environ)
    with activated_sockets(os.environ) as sockets, open_key_log(key_log, succeeds=left is not None) as keys:
        start = partial(
            app.Start,
            path=path,
            state_from=None if state_from is None else str(state_from),
            sockets=sockets,
            service_manager=manager,
            launch=launched() if left is None else left.launch,
            succession=left,
            key_log=keys,
        )
        cut = trio.run(_serve, config, start)
    _say_stopped(f"sozu_trio stopped: {count(cut, 'session')} cut")


@contextmanager
def _explained(left: Succession | None) -> Iterator[None]:
    """What keeps an image from taking over is told by the one that goes on instead."""
    try:
        yield
    except BaseException as error:
        if left is not None and not left.is_settled:
            left.explain(error)
        raise


def _config_of(left: Succession) -> Config:
    """Only the global keys, which were read before: what they serve main and its workers know already."""
    return Config(
        source=left.handoff.source,
        program=left.program,
        listeners=(),
        clusters=(),
        http_frontends=(),
        tcp_frontends=(),
        backends=(),
        certificates=(),
        authorities=(),
        backend_tls=(),
        notices=(),
    )


async def _serve(config: Config | None, make_start: Callable[..., app.Start]) -> int:
    async with AsyncExitStack() as stack:
        greet = None
        if config is None:
            from sozu_trio.cli.demo import open_demonstration

            demonstration = await stack.enter_async_context(open_demonstration())
            config, greet = demonstration.config, demonstration.greet
        start = make_start(config=config)
        succeeds = start.succession is not None
        on_ready = partial(_hold_pid_file, succeeds=True) if succeeds else partial(_say_ready, greet)
        # From there on the log takes lines.
        warned = partial(_warn_of_keys, start, partial(on_ready, config, stack))
        return await app.serve(start, warned)


def _warn_of_keys(start: app.Start, on_ready: Callable[[Supervisor], None], supervisor: Supervisor) -> None:
    if start.key_log is not None:
        log.warning("--tls-key-log is given: whoever reads that file can decrypt what clients say and are told")
    on_ready(supervisor)


def _hold_pid_file(config: Config, stack: AsyncExitStack, _supervisor: Supervisor, *, succeeds: bool = False) -> None:
    stack.enter_context(pid_file(config.program.pid_file_path, succeeds=succeeds))


def _say_ready(
    greet: Callable[[AsyncExitStack], str] | None, config: Config, stack: AsyncExitStack, supervisor: Supervisor
) -> None:
    _hold_pid_file(config, stack, supervisor)
    greeting = "" if greet is None else greet(stack)
    where = ", ".join(map(str, supervisor.listening)) or "nowhere"
    ready = f"sozu_trio ready: listening on {where} (generation {supervisor.generation})"
    print(greeting + ready, flush=True)


def _say_stopped(line: str) -> None:
    """Without `print`: who read our standard output may have stopped reading, or gone, and would keep us from
    ending.
    """
    with suppress(OSError):
        if select.select([], [1], [], 0)[1]:
            os.write(1, f"{line}\n".encode())
