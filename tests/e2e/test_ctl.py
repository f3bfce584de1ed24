"""A walk through `ctl`, as an operator takes it: every command is a process, and the proxy does what it says."""

import contextlib
import http.client
import json
import re
import signal
import socket
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest

from benchmarks.ports import free_port
from tests.e2e.clients import PATIENCE, connect, curl, get, receive_all, receive_until
from tests.e2e.control import Control, Refused, ctl, ctl_json, line_of, running, socket_of
from tests.e2e.parts import Proxy, StartProxy
from tests.e2e.servers import Handle, SlowAnswer, serving

CONFIG = """
[[listeners]]
protocol = "http"
address = "127.0.0.1:{port}"
[clusters.web]
protocol = "http"
frontends = [{{ address = "127.0.0.1:{port}", hostname = "*" }}]
backends = [{{ backend_id = "blue", address = "127.0.0.1:{blue}" }}]
"""
MORE = """
[clusters.more]
protocol = "http"
frontends = [{{ address = "127.0.0.1:{port}", hostname = "more.example" }}]
backends = [{{ address = "127.0.0.1:{green}" }}]
"""
BATCH = """
[[changes]]
verb = "cluster add"
id = "api"
load-balancing-policy = "least_loaded"
[[changes]]
verb = "backend add"
id = "api"
backend-id = "green"
address = "127.0.0.1:{green}"
[[changes]]
verb = "frontend http add"
address = "127.0.0.1:{port}"
hostname = "api.example"
path-prefix = "/v1"
cluster = "api"
"""


class Site:
    """A proxy before the backend blue; green waits for its time."""

    def __init__(self, start_proxy: StartProxy, blue: int, green: int) -> None:
        self.ports = {"blue": blue, "green": green, "port": free_port()}
        self.proxy: Proxy = start_proxy(CONFIG.format(**self.ports))
        self.control = Control(socket_of(self.proxy))

    def ctl(self, *words: str) -> str:
        """Standard output of what must succeed."""
        run = ctl(self.proxy, *words)
        assert (run.code, run.err) == (0, ""), run.out
        return run.out

    def json(self, *words: str) -> Any:
        return ctl_json(self.proxy, *words)

    def file(self, name: str, text: str) -> None:
        self.proxy.folder.joinpath(name).write_text(text.format(**self.ports))

    def apply(self) -> None:
        """The batch, without ctl."""
        self.control.ask("apply", tomllib.loads(BATCH.format(**self.ports)))

    def said(self, host: str, path: str = "/") -> tuple[int, str]:
        """How a request is answered, and by whom."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.proxy.port, timeout=PATIENCE)) as client:
            client.request("GET", path, headers={"Host": host})
            response = client.getresponse()
            text = response.read().decode()
        return response.status, text if response.status == 200 else ""

    def generation(self) -> int:
        generation: int = self.control.ask("status")["main"]["generation"]
        return generation


@pytest.fixture
def site(start_proxy: StartProxy) -> Iterator[Site]:
    with serving(saying(b"blue")) as blue, serving(saying(b"green")) as green:
        site = Site(start_proxy, blue, green)
        with contextlib.closing(site.control):
            yield site


def saying(name: bytes) -> Handle:
    """A backend that answers with its name."""

    def handle(sock: socket.socket) -> None:
        while receive_until(sock, b"\r\n\r\n"):
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(name), name))

    return handle


def test_a_batch_is_in_force_when_ctl_ends(site: Site) -> None:
    assert site.said("api.example", "/v1/x") == (200, "blue")
    site.file("batch.toml", BATCH)
    assert site.json("apply", "-f", "batch.toml") == {"generation": 2, "changes": 3}
    assert site.said("api.example", "/v1/x") == (200, "green")
    assert site.said("api.example", "/") == (200, "blue")
    explained = site.json("explain", f"http://api.example:{site.proxy.port}/v1/x")
    assert (explained["outcome"], explained["cluster"]) == ("forward", "api")
    assert [(each["backend_id"], each["candidate"]) for each in explained["backends"]] == [("green", True)]
    assert [each["rule"]["hostname"] for each in explained["lost"]] == ["*"]
    assert "→ web" in site.ctl("explain", "http://api.example/v2", "--listener", f"127.0.0.1:{site.proxy.port}")


def test_every_mistake_is_listed_and_changes_nothing(site: Site) -> None:
    refuse_a_batch(site)
    refuse_a_file(site)
    assert site.generation() == 1
    assert site.said("any.example") == (200, "blue")


def refuse_a_batch(site: Site) -> None:
    bad = [
        {"verb": "cluster add", "id": "good"},
        {"verb": "backend add", "id": "good", "address": "nowhere", "wieght": 3},
        {"verb": "backend remove", "id": "web", "backend-id": "red"},
        {"verb": "no such verb"},
    ]
    site.proxy.folder.joinpath("bad.json").write_text(json.dumps({"changes": bad}))
    run = ctl(site.proxy, "--json", "apply", "-f", "bad.json")
    assert run.code == 1
    problems = json.loads(run.out)["problems"]
    places = ["changes[1].address", "changes[1].wieght", "changes[2].backend-id", "changes[3].verb"]
    assert sorted(each["where"] for each in problems) == places
    assert run.err.splitlines() == [f"{each['where']}: {each['what']}" for each in problems]
    assert "did you mean 'weight'?" in run.err
    assert "absent.json: cannot be read" in ctl(site.proxy, "apply", "-f", "absent.json").err
    assert ctl(site.proxy, "apply").code == 2


def refuse_a_file(site: Site) -> None:
    site.file("config.toml", CONFIG.replace("hostname", "hostnaem") + "frontend = 3\n")
    for verb in ("plan", "reload"):
        run = ctl(site.proxy, verb)
        assert run.code == 1
        assert "hostnaem" in run.err
        assert "clusters.web.frontend:" in run.err


def test_looking(site: Site) -> None:
    site.apply()
    with connect(site.proxy.port) as client:
        client.sendall(get("/v1/x", ["X-From: a client"]).replace(b"localhost", b"api.example"))
        assert receive_until(client, b"green").endswith(b"green")
        look_at_lists(site)
        status = site.json("status")
        assert (status["main"]["pid"], status["main"]["config"]) == (site.proxy.pid, str(site.proxy.file))
        assert [each["state"] for each in status["workers"]] == ["running", "running"]
        assert sum(each["sessions"] for each in status["workers"]) == 1
        tree = site.ctl("tree")
        assert all(name in tree for name in ("worker 0", f"listener tcp 127.0.0.1:{site.proxy.port}", "connections  1"))
        total = site.json("metrics", "get", "--names", "http.")["total"]
        assert all(name.startswith("http.") for name in total)
        assert total["http.requests"] == 1
        (session,) = site.control.ask("session list")["sessions"]
        assert session["client"] == "{}:{}".format(*client.getsockname())
        site.ctl("session", "kill", session["id"])
        assert client.recv(1) == b""
    with pytest.raises(Refused, match="there is none"):
        site.control.ask("session kill", {"session": session["id"]})


def look_at_lists(site: Site) -> None:
    """For people and for programs, with filters."""
    (backend,) = site.control.ask("backend list", {"id": "api"})["backends"]
    assert (backend["backend_id"], backend["origin"]) == ("green", "socket")
    assert sum(each["idle"] for each in backend["workers"]) == 1
    clusters = site.json("cluster", "list", "--domain", "api.example/v1/x")["clusters"]
    assert [(each["cluster_id"], each["load_balancing"]) for each in clusters] == [
        ("web", "ROUND_ROBIN"),
        ("api", "LEAST_LOADED"),
    ]
    assert [row[-1] for row in rows_of(site.ctl("frontend", "list", "--http"))] == ["file", "socket"]
    assert [row[0] for row in rows_of(site.ctl("cluster", "list"))] == ["web", "api"]
    ((*_, active, sessions, _, origin),) = rows_of(site.ctl("listener", "list"))
    assert (active, sessions, origin) == ("yes", "1", "file")
    run = ctl(site.proxy, "cluster", "list", "--id", "absent")
    assert (run.code, run.err) == (1, "id: there is no cluster 'absent'\n")


def rows_of(table: str) -> list[list[str]]:
    """The words of each line behind the message and the titles."""
    return [line.split() for line in table.splitlines()[2:]]


def test_the_file_counts_when_it_is_read_again(site: Site) -> None:
    site.apply()
    assert "no difference" in site.ctl("plan")
    site.file("config.toml", CONFIG + MORE)
    run = ctl(site.proxy, "plan")
    assert run.code == 3
    assert "+ cluster more" in run.out
    assert site.said("more.example") == (200, "blue")
    assert site.json("reload")["added"][0] == "cluster more"
    assert (site.said("more.example"), site.said("api.example", "/v1")) == ((200, "green"), (200, "green"))
    site.file("config.toml", CONFIG)
    run = ctl(site.proxy, "--json", "plan", "--prune")
    assert run.code == 3
    removed = {f"{each['kind']} {each['name']}" for each in json.loads(run.out)["changes"]}
    assert {"cluster more", "cluster api"} <= removed
    assert "- cluster more" in site.ctl("reload", "--prune")
    assert (site.said("more.example"), site.said("api.example", "/v1")) == ((200, "blue"), (200, "blue"))
    assert site.control.ask("plan", {"prune": True})["difference"] is False


def test_history_and_the_way_back(site: Site) -> None:
    site.apply()
    site.ctl("backend", "remove", "--id", "api", "--backend-id", "green")
    assert site.said("api.example", "/v1")[0] == 503
    assert site.json("rollback", "2") == {"generation": 4}
    assert site.said("api.example", "/v1") == (200, "green")
    site.control.ask("rollback", {"generation": 1})
    assert site.said("api.example", "/v1") == (200, "blue")
    history = site.control.ask("history")["generations"]
    assert [each["generation"] for each in history] == [5, 4, 3, 2, 1]
    assert [each["what"].split()[0] for each in history] == ["rollback", "rollback", "backend", "apply", "start"]
    rows = rows_of(site.ctl("history", "--limit", "3"))
    assert rows[2][-4:] == ["backend", "remove", "id=api", "backend-id=green"]
    run = ctl(site.proxy, "rollback", "99")
    assert run.code == 1
    assert "99" in run.err


def test_events_tell_of_changes(site: Site) -> None:
    with running(site.proxy, "--json", "events") as process:
        assert json.loads(line_of(process))["kind"] == "EVENTS_SUBSCRIBED"
        site.apply()
        told = [json.loads(line_of(process)) for _ in range(2)]
        assert [each["kind"] for each in told] == ["CLUSTER_ADDED", "FRONTEND_ADDED"]
        assert {each["cluster_id"] for each in told} == {"api"}
        site.proxy.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0
    assert site.proxy.wait() == 0
    run = ctl(site.proxy, "status")
    assert run.code == 1
    assert f"no proxy listens at {socket_of(site.proxy)}" in run.err


def test_state_saved_and_loaded(site: Site) -> None:
    site.apply()
    assert site.json("state", "save", "-f", "saved.json")["objects"] == 7
    saved = site.proxy.folder / "saved.json"
    assert saved.stat().st_mode & 0o777 == 0o600
    dumped = json.loads(site.ctl("state", "dump"))
    assert dumped == json.loads(saved.read_text())
    site.control.ask("rollback", {"generation": 1})
    assert site.json("state", "stats")["clusters"] == 1
    assert site.said("api.example", "/v1") == (200, "blue")
    assert site.json("state", "load", "-f", "saved.json")["objects"] == 7
    assert site.said("api.example", "/v1") == (200, "green")
    assert site.control.ask("state dump") == {**dumped, "generation": 4}
    saved.write_text(saved.read_text().replace('"hostname"', '"hsotname"'))
    run = ctl(site.proxy, "state", "load", "-f", "saved.json")
    assert run.code == 1
    wrong = [line.rpartition(": unknown key")[0] for line in run.err.splitlines() if "hsotname" in line]
    assert wrong == [f"saved.json: http_frontends[{number}].hsotname" for number in range(2)]


def test_listeners_come_and_go(site: Site) -> None:
    port = free_port()
    address = f"127.0.0.1:{port}"
    where = ("--address", address)
    site.ctl("listener", "http", "add", *where)
    site.ctl("frontend", "http", "add", *where, "--hostname", "*", "id", "web")
    assert refuses(port)
    site.ctl("listener", "http", "activate", *where)
    assert curl(f"http://{address}/").body == b"blue"
    with connect(port) as held:
        held.sendall(get())
        assert receive_until(held, b"blue").endswith(b"blue")
        site.ctl("listener", "http", "deactivate", *where)
        assert refuses(port)
        assert receive_all(held) == b""  # without a request under way it has nothing to finish
    site.control.ask("frontend http remove", {"address": address, "hostname": "*", "cluster": "web"})
    site.ctl("listener", "http", "remove", *where)
    assert len(site.control.ask("listener list")["listeners"]) == 1


def refuses(port: int) -> bool:
    try:
        connect(port).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.parametrize("hard", [False, True], ids=["soft", "hard"])
def test_shutdown(start_proxy: StartProxy, *, hard: bool) -> None:
    slow = SlowAnswer()
    with serving(slow) as backend:
        proxy = start_proxy(CONFIG.format(port=free_port(), blue=backend))
        with connect(proxy.port) as client:
            client.sendall(get())
            assert slow.asked.wait(PATIENCE)
            if hard:
                assert ctl_json(proxy, "shutdown", "--hard") == {"cut": 1}
                assert proxy.wait() == 0
            else:
                shut_down_softly(proxy, slow, client)


def shut_down_softly(proxy: Proxy, slow: SlowAnswer, client: socket.socket) -> None:
    """While `client` waits for an answer."""
    with running(proxy, "shutdown") as process:
        assert re.fullmatch(r"1 session left, \d+ s\n", line_of(process))
        assert refuses(proxy.port)
        slow.answer.set()
        assert receive_all(client).endswith(b"slow")
        client.close()
        assert proxy.wait() == 0
        assert process.wait(PATIENCE) == 0
        assert line_of(process) == "stopped: 0 sessions cut\n"


def test_requests_of_one_client_are_carried_out_in_order(site: Site) -> None:
    """Sent at once, without a look at the answers."""
    control, green = site.control, {"id": "x", "backend-id": "b"}
    sent = [
        control.send("cluster add", {"id": "x"}),
        control.send("backend add", {**green, "address": f"127.0.0.1:{site.ports['green']}"}),
        control.send("backend remove", {**green, "backend-id": "absent"}),
        control.send("cluster remove", {"id": "x", "no-such-option": 1}),
        control.send("backend remove", green),
    ]
    replies = [control.receive() for _ in sent]
    assert [each["id"] for each in replies] == sent
    assert [each["status"] for each in replies] == ["ok", "ok", "failure", "failure", "ok"]
    assert site.generation() == 4
    with pytest.raises(Refused, match="not built yet"):
        control.ask("cluster health-check list")
