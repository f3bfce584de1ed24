"""A worker that an attacker has taken over, sealed, turns on main and its sibling: the proxy goes on without it."""

import contextlib
import os
import resource
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from benchmarks.ports import free_port
from tests.e2e.clients import curl
from tests.e2e.control import ctl_json
from tests.e2e.hostile_sibling import FLOOD
from tests.e2e.parts import Proxy, wait_until
from tests.e2e.test_workers import workers

ROOT = Path(__file__).parents[2]
HOSTILE = (sys.executable, "-m", "tests.e2e.hostile_main", "hostile_sibling", "serve")


def with_descriptors(most: int) -> tuple[str, ...]:
    """A prefix: what comes behind it may have so many."""
    return "sh", "-c", f'ulimit -n {most}; exec "$@"', "sh"


MOST_HELD = with_descriptors(2 * (FLOOD - 50))
"""Half of them may be sockets of one worker."""


@contextlib.contextmanager
def attacked(
    folder: Path, how: str, *, before: str = "", arguments: Sequence[str] = (), prefix: Sequence[str] = ()
) -> Iterator[Proxy]:
    """A proxy with two workers, of which worker 1 turns."""
    folder.mkdir(exist_ok=True)
    flag = folder / "flag"
    flag.touch()
    config = f"""
worker_count = 2
sandbox_violation = "deny"
{before or 'sandbox = "auto"'}
[[listeners]]
protocol = "http"
address = "127.0.0.1:{free_port()}"
"""
    environment = {"HOSTILE": how, "HOSTILE_FLAG": str(flag), "PYTHONPATH": str(ROOT)}
    proxy = Proxy(
        config, folder, environment=environment, serve=HOSTILE, arguments=[*map(str, arguments)], prefix=prefix
    )
    with contextlib.closing(proxy):
        yield proxy


def acted(proxy: Proxy) -> bool:
    return "HOSTILE has acted" in proxy.errors()


def serves(proxy: Proxy) -> None:
    """Each client is answered, whichever worker the kernel chooses."""
    for _ in range(8):
        assert curl(f"http://127.0.0.1:{proxy.port}/").status == 404


def all_run(proxy: Proxy) -> bool:
    return [each["state"] for each in workers(proxy)] == ["running"] * 2


def goes_on(proxy: Proxy, sibling: int) -> None:
    """The same main, the same sibling, two workers that serve, and both can be replaced, and main itself."""
    wait_until(lambda: all_run(proxy))
    assert workers(proxy)[0]["pid"] == sibling
    serves(proxy)
    ctl_json(proxy, "upgrade")
    wait_until(lambda: all_run(proxy))
    assert workers(proxy)[0]["pid"] != sibling
    serves(proxy)
    os.kill(proxy.pid, 0)


@pytest.mark.parametrize("key_log", [False, True])
def test_what_it_writes_where_all_count(tmp_path: Path, key_log: bool) -> None:
    arguments = ["--tls-key-log", str(tmp_path / "keys")] if key_log else []
    with attacked(tmp_path / "proxy", "scribble", arguments=arguments) as proxy:
        sibling = workers(proxy)[0]["pid"]
        wait_until(lambda: acted(proxy))
        wait_until(lambda: "is replaced" in proxy.output())
        goes_on(proxy, sibling)
        assert "refused" in proxy.errors()
        assert "done" not in proxy.errors()


def test_a_listening_socket_that_it_shuts_down(tmp_path: Path) -> None:
    with attacked(tmp_path / "proxy", "shut_down") as proxy:
        sibling = workers(proxy)[0]["pid"]
        wait_until(lambda: acted(proxy))
        wait_until(lambda: "has shut its socket" in proxy.output())
        goes_on(proxy, sibling)
        assert proxy.output().count(") is replaced ") == 1


def test_what_it_does_to_the_log(tmp_path: Path) -> None:
    with attacked(tmp_path / "proxy", "rewrite") as proxy:
        sibling = workers(proxy)[0]["pid"]
        wait_until(lambda: acted(proxy))
        assert "flags refused" in proxy.errors()
        assert not proxy.errors().startswith("REWRITTEN")
        goes_on(proxy, sibling)


@pytest.mark.drill
def test_descriptors_that_it_sends_and_never_receives(tmp_path: Path, *, full_drill: bool) -> None:
    """The kernel counts them by user: other proxies of tests, that may have fewer, could not send any meanwhile."""
    if not full_drill:
        pytest.skip("it would disturb what runs beside it")
    with attacked(tmp_path / "proxy", "in_flight", prefix=with_descriptors(1024)) as proxy:
        first, second = (each["pid"] for each in workers(proxy))
        wait_until(lambda: acted(proxy))
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: all_run(proxy) and workers(proxy)[0]["pid"] != first)
        serves(proxy)
        assert workers(proxy)[1]["pid"] == second
        goes_on(proxy, workers(proxy)[0]["pid"])


def test_sockets_that_it_says_it_has_for_others(tmp_path: Path) -> None:
    """It is killed for that, by the next main, whose other workers go on."""
    with attacked(tmp_path / "proxy", "flood", prefix=MOST_HELD) as first:
        sibling, hostile = (each["pid"] for each in workers(first))
        assert first.stop(signal.SIGKILL) == -signal.SIGKILL
        environment = {"PYTHONPATH": str(ROOT), "HOSTILE": "", "HOSTILE_FLAG": str(tmp_path / "none")}
        again = Proxy(
            first.file.read_text(), tmp_path / "proxy", environment=environment, serve=HOSTILE, prefix=MOST_HELD
        )
        with contextlib.closing(again) as second:
            assert f"(pid {hostile}) is not adopted, and killed: it names its socket" in second.output()
            goes_on(second, sibling)
        first.process.kill()


def test_workers_may_have_fewer_descriptors_than_main(tmp_path: Path) -> None:
    with attacked(tmp_path / "proxy", "rewrite", prefix=with_descriptors(2000)) as proxy:
        for worker in workers(proxy):
            assert resource.prlimit(worker["pid"], resource.RLIMIT_NOFILE) == (1500, 1500)
        assert resource.prlimit(proxy.pid, resource.RLIMIT_NOFILE) == (2000, 2000)


def test_one_that_is_not_sealed_is_replaced_where_that_is_required(tmp_path: Path) -> None:
    config = (
        f'worker_count = 2\nsandbox = "off"\n[[listeners]]\nprotocol = "http"\naddress = "127.0.0.1:{free_port()}"\n'
    )
    first = Proxy(config, tmp_path / "proxy")
    before = {each["pid"] for each in workers(first)}
    assert first.stop(signal.SIGKILL) == -signal.SIGKILL
    with contextlib.closing(Proxy(config.replace('"off"', '"require"'), tmp_path / "proxy")) as second:
        assert not before & {each["pid"] for each in workers(second)}
        assert all("seccomp" in each["sandbox"] for each in workers(second))
        serves(second)
    first.process.kill()
