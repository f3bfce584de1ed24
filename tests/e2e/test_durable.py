"""What was acknowledged is there again, whatever ended the proxy, and damage is told instead of passed over."""

import collections
import contextlib
import itertools
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from benchmarks.ports import free_port
from benchmarks.processes import Process
from tests.e2e.clients import PATIENCE
from tests.e2e.control import Control, socket_of
from tests.e2e.parts import SERVE, Proxy, environment_with, wait_until
from tests.e2e.streams import Model, Stream, changed, model_of, streaming

CONFIG = """
access_logs_target = "file:///dev/null"
audit_logs_target = "file:///dev/null"
saved_state = "state.json"
automatic_state_save = true
[[listeners]]
protocol = "http"
address = "127.0.0.1:{port}"
[clusters.web]
protocol = "http"
frontends = [{{ address = "127.0.0.1:{port}", hostname = "*" }}]
backends = [{{ backend_id = "one", address = "127.0.0.1:1001" }}, {{ backend_id = "two", address = "127.0.0.1:1002" }}]
"""
CLIENTS = 4
AT_WORK = 0.5
"""Seconds of changes before a kill, at most; a start takes about as long."""
HEARD = 3
"""Requests that are acknowledged before that, in every other life: more than one for each life, however slow all is."""


class Life:
    """One proxy after another in the same folder, with the same port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.journal = folder / "state.json.journal"
        self.config = CONFIG.format(port=free_port())

    @contextlib.contextmanager
    def lived(self, *arguments: str) -> Iterator[tuple[Proxy, Control]]:
        """A proxy that is killed in the end, unless it is dead by then."""
        proxy = Proxy(self.config, self.folder, arguments=arguments)
        try:
            with contextlib.closing(Control(socket_of(proxy))) as control:
                yield proxy, control
        finally:
            proxy.process.kill()

    def refused(self, *arguments: str) -> str:
        """Standard error of a proxy that does not start."""
        command = [*SERVE, "-c", "config.toml", *arguments]
        run = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert (run.returncode, run.stdout) == (1, "")
        return run.stderr

    def break_a_start(self) -> None:
        """Kill a proxy that is about to start."""
        command = [*SERVE, "-c", "config.toml"]
        with Process(command, self.folder, name="broken", environment=environment_with({})):
            time.sleep(random.uniform(0, AT_WORK))  # the instant is the drill


@pytest.fixture
def life(tmp_path: Path) -> Life:
    return Life(tmp_path)


@pytest.mark.drill
def test_killed_at_any_instant(life: Life, *, full_drill: bool) -> None:
    """Clients change what they can; everything is killed; what was acknowledged is there, and one request more at
    most.
    """
    runs = 50 if full_drill else 2
    figures = collections.Counter[str]()
    streams: list[Stream] = []
    known: tuple[Model, int] | None = None
    for number in itertools.count():
        with life.lived() as (proxy, control):
            dump = control.ask("state dump")
            if known is not None:
                figures["one later"] += judge(streams, *known, dump)
                figures["torn tails"] += "cut off: " in proxy.output()
            if number == runs:
                break
            known = model_of(dump), dump["generation"]
            firsts = [stream.number for stream in streams] or [0] * CLIENTS
            names = [(f"c{client}", f"127.0.0.1:{proxy.port}", known[0]) for client in range(CLIENTS)]
            streams = [Stream(*named, first) for named, first in zip(names, firsts, strict=True)]
            with streaming(streams, socket_of(proxy)):
                if number % 2 == 0:
                    wait_until(partial(have_heard, streams, HEARD))
                time.sleep(random.uniform(0, AT_WORK))  # the instant is the drill
                proxy.process.kill()
        for stream in streams:
            figures["requests"] += len(stream.acknowledged)
            figures["changes"] += sum(map(len, stream.sent[: len(stream.acknowledged)]))
        figures["journals in the making"] += bool(list(life.folder.glob(".state.json.journal.*")))
        if number % 2:
            life.break_a_start()
    print(f"\n{runs} kills while clients changed the proxy, {runs // 2} more while it started")
    print(f"acknowledged, and all of it found afterwards: {dict(figures)}")
    assert figures["requests"] > runs


def have_heard(streams: list[Stream], requests: int) -> bool:
    """Whether so many were acknowledged, or one has failed."""
    return sum(len(each.acknowledged) for each in streams) >= requests or any(each.failure for each in streams)


def judge(streams: list[Stream], model: Model, generation: int, dump: dict[str, Any]) -> bool:
    """Whether the State is one later than what was acknowledged. Fails the test where it is anything else."""
    assert [stream.failure for stream in streams if stream.failure] == []
    acknowledged = sorted(each for stream in streams for each in stream.acknowledged)
    last = generation + len(acknowledged)
    assert acknowledged == list(range(generation + 1, last + 1))
    for stream in streams:
        for changes in stream.sent[: len(stream.acknowledged)]:
            model = changed(model, changes)
    found = model_of(dump)
    if dump["generation"] == last:
        assert found == model
        return False
    assert dump["generation"] == last + 1
    waiting = [
        stream.sent[len(stream.acknowledged)] for stream in streams if len(stream.sent) > len(stream.acknowledged)
    ]
    assert found in [changed(model, each) for each in waiting]
    return True


def add_clusters(control: Control, *names: str) -> None:
    for name in names:
        control.ask("cluster add", {"id": name})


def wait_for(proxy: Proxy, line: str) -> None:
    """In the log."""
    wait_until(lambda: line in proxy.output())


def clusters(control: Control) -> list[str]:
    return [each["cluster_id"] for each in control.ask("cluster list")["clusters"]]


def test_a_torn_tail_is_cut_off_and_told(life: Life) -> None:
    with life.lived() as (_, control):
        add_clusters(control, "a", "b")
    whole = life.journal.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    for end in (last + 1, random.randrange(last + 2, len(whole) - 1), len(whole) - 1):
        life.journal.write_bytes(whole[:end])
        with life.lived() as (proxy, control):
            told = f" WARN MAIN\t{life.journal}: its last change was never finished; bytes cut off: {end - last}, "
            wait_for(proxy, told)
            assert clusters(control) == ["web", "a"]
            add_clusters(control, "c")
        assert life.journal.read_bytes().startswith(whole[:last])
    with life.lived() as (proxy, control):
        assert "cut off" not in proxy.output()
        assert (clusters(control), control.hello["generation"]) == (["web", "a", "c"], 3)


def test_damage_is_refused_and_there_is_a_way_out(life: Life) -> None:
    with life.lived() as (_, control):
        add_clusters(control, "a")
        control.ask("state save", {"file": str(life.folder / "backup.json")})
        add_clusters(control, "b", "c")
    damaged = bytearray(life.journal.read_bytes())
    start = damaged.index(b'"cluster_id":"a"')
    damaged[start + 14] ^= 1
    life.journal.write_bytes(damaged)
    line = damaged[:start].count(b"\n") + 1
    told = life.refused()
    assert told.startswith(f"{life.journal}: line {line}: ")
    assert "serve --state-from FILE" in told
    assert life.journal.read_bytes() == damaged
    assert "no-such-file" in life.refused("--state-from", "no-such-file")
    with life.lived("--state-from", "backup.json") as (proxy, control):
        assert clusters(control) == ["web", "a"]
        add_clusters(control, "d")
        (aside,) = life.folder.glob("state.json.journal.aside-*")
        wait_for(proxy, f" WARN MAIN\tstarting from backup.json; the journal is kept as {aside}\n")
    assert aside.read_bytes() == damaged
    with life.lived() as (_, control):
        assert clusters(control) == ["web", "a", "d"]
    with life.lived("--state-from", "none") as (_, control):
        assert clusters(control) == ["web"]


def test_what_changed_in_the_file_meanwhile(life: Life) -> None:
    """Only that is applied: what came over the socket survives, also to what the file declares."""
    with life.lived() as (proxy, control):
        add_clusters(control, "mine")
        control.ask("backend update", {"id": "web", "backend-id": "one", "weight": 7})
        control.ask("backend add", {"id": "web", "backend-id": "three", "address": "127.0.0.1:1003"})
        control.ask("logging", {"filter": "debug"})
        assert proxy.stop(signal.SIGTERM) == 0
    life.config = life.config.replace(
        '{ backend_id = "two", address = "127.0.0.1:1002" }',
        '{ backend_id = "two", address = "127.0.0.1:2002" }, { backend_id = "four", address = "127.0.0.1:1004" }',
    )
    expected = {("one", "1001", 7), ("two", "2002", 100), ("three", "1003", 100), ("four", "1004", 100)}
    for _ in range(2):  # a start after which nothing has changed is none to speak of
        with life.lived() as (proxy, control):
            assert clusters(control) == ["web", "mine"]
            assert backends(control) == expected
            assert control.hello["generation"] == 6
            assert control.ask("history")["generations"][0]["what"] == "start: what has changed in the file"
            assert logs_debug(proxy)
    with life.lived() as (proxy, control):
        control.ask("reload")
        assert not logs_debug(proxy)
        assert backends(control) == {("one", "1001", 100), *expected} - {("one", "1001", 7)}
        assert clusters(control) == ["web", "mine"]


def logs_debug(proxy: Proxy) -> bool:
    """Whether it writes down at that level what a client does now."""
    before = len(log_so_far(proxy))
    Control(socket_of(proxy)).close()
    return " DEBUG " in log_so_far(proxy)[before:]


def log_so_far(proxy: Proxy) -> str:
    """The log, once all that has happened is in it."""
    mark = "log files are opened anew\n"
    marks = proxy.output().count(mark)
    proxy.send_signal(signal.SIGUSR1)
    wait_until(lambda: proxy.output().count(mark) > marks)
    return proxy.output()


def backends(control: Control) -> set[tuple[str, str, int]]:
    listed = control.ask("backend list", {"id": "web"})["backends"]
    return {(each["backend_id"], each["address"].removeprefix("127.0.0.1:"), each["weight"]) for each in listed}
