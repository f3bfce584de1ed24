"""A proxy in a test: the real one, in process, on ports the kernel chose, with backends that do what the test says.

    harness     open_test_proxy: a configuration with `$names` for addresses, served while a block runs
    backends    ScriptedBackend: a server whose every byte the test writes
    clients     Client: bytes to the proxy, and what comes back
    plugin      the same as pytest fixtures: start_proxy, start_backend

docs/testing.md shows how to test a configuration of your own with it.
"""

from sozu_trio.testing.backends import BackendConnection, ScriptedBackend, open_backend
from sozu_trio.testing.clients import Client, Response
from sozu_trio.testing.harness import RunningProxy, open_test_proxy

__all__ = [
    "BackendConnection",
    "Client",
    "Response",
    "RunningProxy",
    "ScriptedBackend",
    "open_backend",
    "open_test_proxy",
]
