"""What was written for Sōzu, a configuration and a saved state, serves here; `state dump` shows all of it."""

import contextlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.ports import free_port
from tests.e2e.clients import connect, curl, receive_until
from tests.e2e.control import ctl, ctl_json
from tests.e2e.parts import Nginx, Proxy, Redis

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"
SAY = 'location / {{ return 200 "{}"; }}'
LATER = (
    {"ADD_CLUSTER": {"cluster_id": "later", "sticky_session": False, "https_redirect": False, "load_balancing": 1}},
    {"ADD_CLUSTER": {"cluster_id": "last", "sticky_session": False, "https_redirect": False, "load_balancing": 3}},
    {"ADD_CERTIFICATE": {"address": {"ip": {"inner": {"V4": 2130706433}}, "port": 443}, "certificate": {}}},
)


def with_ports(name: str, ports: Mapping[int, int], form: str) -> str:
    """An example with other ports; it must name each of them. `form`: what stands around one."""
    text = EXAMPLES.joinpath(name).read_text()
    for old, new in ports.items():
        assert form.format(old) in text
        text = text.replace(form.format(old), form.format(new))
    return text


def test_configuration_and_saved_state(
    start_nginx: Callable[[str], Nginx], redis_server: Redis, tmp_path: Path
) -> None:
    nginx = start_nginx(SAY.format("from nginx"))
    declared = {8080: free_port(), 8081: free_port(), 1026: nginx.port, 1027: nginx.port, 4000: redis_server.port}
    saved = {8088: free_port(), 8089: free_port(), 9001: nginx.port, 9002: nginx.port, 9004: redis_server.port}
    config = with_ports("sozu-sample.toml", declared, '"127.0.0.1:{}"')
    tmp_path.joinpath("state.json").write_text(with_ports("sozu-state.json", saved, '"port":{}}}'))
    with contextlib.closing(Proxy(config, tmp_path)) as proxy:
        document = ctl_json(proxy, "state", "dump")
        assert document["generation"] == 1
        look_at_declared(document, declared)
        look_at_saved(document, saved)
        assert curl(f"http://127.0.0.1:{declared[8080]}/").body == b"from nginx"
        use_saved(saved)
        load_another(proxy)


def look_at_declared(document: Mapping[str, Any], ports: Mapping[int, int]) -> None:
    """What the file says."""
    of_file = {name: [each for each in of_kind if each["origin"] == "file"] for name, of_kind in lists(document)}
    assert [(each["protocol"], each["address"]) for each in of_file["listeners"]] == [
        ("http", f"127.0.0.1:{ports[8080]}"),
        ("tcp", f"127.0.0.1:{ports[8081]}"),
    ]
    assert [each["cluster_id"] for each in of_file["clusters"]] == ["MyCluster", "TcpTest"]
    assert [(each["hostname"], each["path"], each["method"]) for each in of_file["http_frontends"]] == [
        ("localhost", "/api", None),
        ("127.0.0.1", "", None),
        ("*.localhost", "", "GET"),
    ]
    assert of_file["http_frontends"][0]["tags"] == {"part": "api", "owner": "team-a"}
    assert [(each["cluster_id"], each["weight"]) for each in of_file["backends"]] == [
        ("MyCluster", 100),
        ("MyCluster", 50),
        ("TcpTest", 100),
        ("TcpTest", 50),
    ]


def look_at_saved(document: Mapping[str, Any], ports: Mapping[int, int]) -> None:
    """What the saved state says."""
    loaded = {name: [each for each in of_kind if each["origin"] == "socket"] for name, of_kind in lists(document)}
    http, tcp = f"127.0.0.1:{ports[8088]}", f"127.0.0.1:{ports[8089]}"
    assert [(each["protocol"], each["address"], each["active"]) for each in loaded["listeners"]] == [
        ("http", http, True),
        ("tcp", tcp, True),
    ]
    assert [(each["cluster_id"], each["load_balancing"]) for each in loaded["clusters"]] == [
        ("app-1", "ROUND_ROBIN"),
        ("redis", "LEAST_LOADED"),
    ]
    rules = [tuple(map(each.get, ("hostname", "path_type", "path", "cluster_id"))) for each in loaded["http_frontends"]]
    assert sorted(rules, key=str) == [
        ("*.app.example", "REGEX", "/v[0-9]+/.*", "app-1"),
        ("app.example", "EQUALS", "/private", None),
        ("app.example", "PREFIX", "/", "app-1"),
    ]
    assert [(each["address"], each["cluster_id"], each["tags"]) for each in loaded["tcp_frontends"]] == [
        (tcp, "redis", {"owner": "team-b"})
    ]
    assert [(each["backend_id"], each["address"], each["weight"]) for each in loaded["backends"]] == [
        ("app-1-0", f"127.0.0.1:{ports[9001]}", 100),
        ("app-1-1", f"127.0.0.1:{ports[9002]}", 50),
        ("redis-0", f"127.0.0.1:{ports[9004]}", 100),
    ]


def lists(document: Mapping[str, Any]) -> list[tuple[str, list[Any]]]:
    return [(name, value) for name, value in document.items() if isinstance(value, list)]


def use_saved(ports: Mapping[int, int]) -> None:
    """Traffic reaches the clusters of the saved state, by its rules."""
    url = f"http://127.0.0.1:{ports[8088]}"
    assert curl(f"{url}/x", "--header", "Host: app.example").body == b"from nginx"
    assert curl(f"{url}/private", "--header", "Host: app.example").status == 401
    assert curl(f"{url}/v7/x", "--header", "Host: eu.app.example").body == b"from nginx"
    assert curl(f"{url}/x", "--header", "Host: eu.app.example").status == 404
    with connect(ports[8089]) as client:
        client.sendall(b"PING\r\n")
        assert receive_until(client, b"\r\n") == b"+PONG\r\n"


def load_another(proxy: Proxy) -> None:
    """While it serves; one of its requests makes no sense."""
    requests = [{"id": f"SAVE-{index}", "content": {"request_type": each}} for index, each in enumerate(LATER)]
    proxy.folder.joinpath("later.state").write_text("".join(f"{json.dumps(each)}\n\0" for each in requests))
    run = ctl(proxy, "state", "load", "-f", "later.state")
    assert run.code == 1
    assert "records[2]: ADD_CERTIFICATE: certificate: want an object with certificate and key, both PEM" in run.err
    assert ctl_json(proxy, "status")["main"]["generation"] == 1
    loaded = ctl_json(proxy, "state", "load", "-f", "later.state", "--skip-unknown")
    assert (loaded["generation"], loaded["objects"]) == (2, 2)
    assert [each.partition(":")[0] for each in loaded["skipped"]] == ["records[2]"]
    clusters = ctl_json(proxy, "cluster", "list")["clusters"]
    assert [(each["cluster_id"], each["load_balancing"]) for each in clusters[-2:]] == [
        ("later", "RANDOM"),
        ("last", "POWER_OF_TWO"),
    ]
