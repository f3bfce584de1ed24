"""Changes under load: no request fails, each is in force once it is answered, and nobody waits for them."""

import collections
import contextlib
import http.client
import itertools
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.ports import free_port
from tests.e2e.clients import PATIENCE, Load, read_wrk, start_wrk, wrk
from tests.e2e.control import Control, ctl_json, socket_of
from tests.e2e.parts import Nginx, Proxy, StartProxy

SAY = 'location / {{ return 200 "{}"; }}'
CONFIG = """
access_logs_target = "file:///dev/null"
saved_state = "state.json"
automatic_state_save = true
[[listeners]]
protocol = "http"
address = "127.0.0.1:{port}"
[clusters.steady]
protocol = "http"
frontends = [{{ address = "127.0.0.1:{port}", hostname = "127.0.0.1" }}]
backends = [{{ backend_id = "blue", address = "127.0.0.1:{backend}" }}]
"""
LONGEST_HOLD = 0.020
"""Seconds a change may hold the loop of a worker."""
FELT = 0.100
"""Seconds by which the slowest request may be slower while there are changes."""
CONNECTIONS = 32
LONGER_THAN_ANY = 1000
"""Seconds of load."""
STEPS = 5
"""Changes in the life of a cluster."""


class Rig:
    """A proxy before two backends that say who they are, with a cluster `steady` for the load."""

    def __init__(self, start_nginx: Callable[[str], Nginx], start_proxy: StartProxy) -> None:
        self.ports = {name: start_nginx(SAY.format(name)).port for name in ("blue", "green")}
        self.proxy: Proxy = start_proxy(CONFIG.format(port=free_port(), backend=self.ports["blue"]))
        self.url = f"http://127.0.0.1:{self.proxy.port}/"

    def control(self) -> "contextlib.closing[Control]":
        return contextlib.closing(Control(socket_of(self.proxy)))

    def backend(self, cluster: str, name: str) -> dict[str, Any]:
        return {"id": cluster, "backend-id": name, "address": f"127.0.0.1:{self.ports[name]}"}

    def frontend(self, cluster: str) -> dict[str, Any]:
        return {"cluster": cluster, "address": f"127.0.0.1:{self.proxy.port}", "hostname": f"{cluster}.example"}

    def longest_hold(self) -> float:
        """Seconds, as measured in the workers."""
        workers = ctl_json(self.proxy, "metrics", "get")["workers"].values()
        return float(max(worker["configuration.longest_hold_us"] for worker in workers)) / 1e6


@pytest.fixture
def rig(start_nginx: Callable[[str], Nginx], start_proxy: StartProxy) -> Rig:
    return Rig(start_nginx, start_proxy)


@pytest.mark.drill
def test_every_change_is_in_force_once_it_is_answered(rig: Rig, *, full_drill: bool) -> None:
    """While wrk takes all that the proxy can give."""
    lives = 400 if full_drill else 10
    with loaded(rig.url) as loads, rig.control() as control:
        for number in range(lives):
            live_once(rig, control, f"app-{number}")
    hold, (load,) = rig.longest_hold(), loads
    print(f"\n{lives * STEPS} changes under {load.requests} requests; a loop was held for {hold * 1000:.1f} ms at most")
    assert load.errors == []
    assert load.requests > 100
    assert hold <= LONGEST_HOLD * (1 if full_drill else 5)


@pytest.mark.drill
def test_changes_are_not_felt(rig: Rig, *, full_drill: bool) -> None:
    """The slowest of paced requests, at half of what the proxy can take, without changes and with them."""
    rounds, lives, seconds = (4, 100, 8) if full_drill else (1, 10, 2)
    most = wrk(rig.url, connections=CONNECTIONS, seconds=seconds)
    delay = round(CONNECTIONS / (most.requests / seconds / 2) * 1000)
    script = rig.proxy.folder / "paced.lua"
    script.write_text(f"function delay() return {delay} end")
    names = (f"app-{number}" for number in itertools.count())
    slowest: dict[str, list[float]] = collections.defaultdict(list)
    requests = collections.Counter[str]()
    with rig.control() as control:
        for kind in ("quiet", "changing") * rounds:
            with loaded(rig.url, script) as loads:
                if kind == "quiet":
                    time.sleep(seconds)  # how long it runs is the measurement
                else:
                    for name in itertools.islice(names, lives):
                        live_once(rig, control, name)
            (load,) = loads
            assert load.errors == []
            slowest[kind].append(load.slowest)
            requests[kind] += load.requests
    quiet, changing, hold = max(slowest["quiet"]), max(slowest["changing"]), rig.longest_hold()
    print(f"\nat half of {most.requests / seconds:.0f} requests/s, {rounds * lives * STEPS} changes; {dict(requests)}")
    print(f"the slowest request: {quiet * 1000:.0f} ms without changes, {changing * 1000:.0f} ms with them")
    print(f"a loop was held for {hold * 1000:.1f} ms at most")
    assert changing - quiet <= FELT * (1 if full_drill else 5)
    assert hold <= LONGEST_HOLD * (1 if full_drill else 5)


@pytest.mark.drill
def test_blue_green(rig: Rig, *, full_drill: bool) -> None:
    """All backends of a cluster under load are replaced, again and again."""
    swaps = 100 if full_drill else 10
    with loaded(rig.url) as loads, rig.control() as control:
        for old, new in itertools.islice(itertools.cycle([("blue", "green"), ("green", "blue")]), swaps):
            swap(rig, control, "steady", old, new)
            assert said(rig.proxy.port, "127.0.0.1") == (200, new)
    (load,) = loads
    print(f"\n{swaps} swaps under {load.requests} requests")
    assert load.errors == []
    assert load.requests > 100


@contextlib.contextmanager
def loaded(url: str, script: Path | None = None) -> Iterator[list[Load]]:
    """wrk at work from before the body to after it; its figures are in the list then."""
    loads: list[Load] = []
    loading = start_wrk(url, connections=CONNECTIONS, seconds=LONGER_THAN_ANY, script=script)
    try:
        yield loads
        loading.send_signal(signal.SIGINT)
        loads.append(read_wrk(loading, PATIENCE))
    finally:
        loading.kill()
        loading.wait()


def live_once(rig: Rig, control: Control, cluster: str) -> None:
    """A cluster comes, is changed, and goes; after each change, the next request of an old client and of a new one."""
    host, port = f"{cluster}.example", rig.proxy.port
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as kept:

        def both() -> set[tuple[int, str]]:
            return {ask(kept, host), said(port, host)}

        control.ask("cluster add", {"id": cluster})
        control.ask("frontend http add", rig.frontend(cluster))
        assert {status for status, _ in both()} == {503}
        control.ask("backend add", rig.backend(cluster, "blue"))
        assert both() == {(200, "blue")}
        swap(rig, control, cluster, "blue", "green")
        assert both() == {(200, "green")}
        removed = {"verb": "frontend http remove", **rig.frontend(cluster)}, {"verb": "cluster remove", "id": cluster}
        control.ask("apply", {"changes": removed})
        assert {status for status, _ in both()} == {404}


def swap(rig: Rig, control: Control, cluster: str, old: str, new: str) -> None:
    changes = [
        {"verb": "backend add", **rig.backend(cluster, new)},
        {"verb": "backend remove", **rig.backend(cluster, old)},
    ]
    control.ask("apply", {"changes": changes})


def said(port: int, host: str) -> tuple[int, str]:
    """To a new client."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as client:
        return ask(client, host)


def ask(client: http.client.HTTPConnection, host: str) -> tuple[int, str]:
    client.request("GET", "/", headers={"Host": host})
    response = client.getresponse()
    return response.status, response.read().decode()
