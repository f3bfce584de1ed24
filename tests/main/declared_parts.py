"""A file, another one, and changes over the socket that neither knows of."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sozu_trio.config.load import load_config
from sozu_trio.control.records import origin_of
from sozu_trio.main.declared import declared_by
from sozu_trio.routing.state import with_declared
from tests.main.looking_parts import AskedMain
from tests.main.running import HTTP, SERVICES, TCP

WEB = f"""
[clusters.web]
protocol = "http"
frontends = [{{ address = "{HTTP}", hostname = "web.example" }}]
backends = [{{ address = "127.0.0.1:7", backend_id = "web-1" }}]
"""
WITHOUT_RELAY = SERVICES.partition("[clusters.relay]")[0]
OVER_THE_SOCKET: tuple[dict[str, Any], ...] = (
    {"verb": "listener http add", "address": "127.0.0.1:8090"},
    {"verb": "cluster add", "id": "new"},
    {"verb": "frontend http add", "address": HTTP, "hostname": "new.example", "cluster": "new"},
    {"verb": "backend add", "id": "new", "address": "127.0.0.1:9", "backend-id": "new-1"},
    {"verb": "backend add", "id": "relay", "address": "127.0.0.1:4", "backend-id": "relay-2"},
    {"verb": "backend update", "id": "api", "backend-id": "api-1", "weight": 7},
    {"verb": "frontend tcp remove", "address": TCP},
)


def equals_the_file(main: AskedMain, file: Path) -> bool:
    """Whether everything there is comes from `file`, and everything in it is there."""
    declared = declared_by(load_config(file))
    return main.parts.transactions.state == with_declared(declared, declared)


def origins(main: AskedMain) -> Mapping[str, str]:
    state = main.parts.transactions.state
    backends = [each for backends in state.backends.values() for each in backends.values()]
    clusters = {each.cluster_id: origin_of(each, state) for each in state.clusters.values()}
    return clusters | {each.backend_id: origin_of(each, state) for each in backends}
