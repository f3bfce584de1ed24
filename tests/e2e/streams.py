"""Clients that change a proxy all at once, and know at each moment what it must have become.

What they know is kept apart from anything of ours: plain dictionaries, read from what they sent and from `state dump`.
"""

import contextlib
import random
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tests.e2e.clients import PATIENCE
from tests.e2e.control import Control

UNDER_WAY = 4
"""Requests a client has sent and not heard of."""
MOST_CLUSTERS = 10
"""That a client keeps."""
POLICIES = ("round_robin", "random", "least_loaded", "power_of_two")

Model = dict[tuple[str, ...], Any]
"""("cluster", id) → policy; ("backend", cluster, id) → (address, weight); ("frontend", hostname) → cluster."""
Change = Mapping[str, Any]


def model_of(dump: Mapping[str, Any]) -> Model:
    """What `state dump` says."""
    model: Model = {("cluster", each["cluster_id"]): each["load_balancing"] for each in dump["clusters"]}
    for each in dump["backends"]:
        model["backend", each["cluster_id"], each["backend_id"]] = each["address"], each["weight"]
    for each in dump["http_frontends"]:
        model["frontend", each["hostname"]] = each["cluster_id"]
    return model


def changed(model: Model, changes: Iterable[Change]) -> Model:
    """The model after changes that succeed."""
    after = dict(model)
    for each in changes:
        match each["verb"]:
            case "cluster add":
                after["cluster", each["id"]] = each["load-balancing-policy"].upper()
            case "cluster remove":
                del after["cluster", each["id"]]
            case "backend add":
                after["backend", each["id"], each["backend-id"]] = each["address"], each["weight"]
            case "backend update":
                address, _ = after["backend", each["id"], each["backend-id"]]
                after["backend", each["id"], each["backend-id"]] = address, each["weight"]
            case "backend remove":
                del after["backend", each["id"], each["backend-id"]]
            case "frontend http add":
                after["frontend", each["hostname"]] = each["cluster"]
            case "frontend http remove":
                del after["frontend", each["hostname"]]
    return after


class Stream:
    """One client. The clusters whose names begin with `name` are its own; it changes them until the proxy is gone."""

    def __init__(self, name: str, listener: str, model: Model, number: int) -> None:
        """`listener`: where frontends are added; `number`: that of its first new cluster."""
        self.sent: list[list[Change]] = []
        """Requests, in order; each makes a generation of its own."""
        self.acknowledged: list[int] = []
        """The generation that each of the first requests made."""
        self.failure: BaseException | None = None
        self.number = number
        self._name = name
        self._listener = listener
        self._model = {key: value for key, value in model.items() if key[1].startswith(f"{name}-")}
        self._random = random.Random()

    def run(self, control: Control) -> None:
        """Until the connection ends. What else goes wrong is `failure`."""
        try:
            with contextlib.suppress(ConnectionError):
                while True:
                    self._exchange(control)
            with contextlib.suppress(ConnectionError):
                while True:
                    self._hear(control)  # what came before the end
        except BaseException as error:
            self.failure = error

    def _exchange(self, control: Control) -> None:
        while len(self.sent) - len(self.acknowledged) < UNDER_WAY:
            changes = list(self._think())
            self._model = changed(self._model, changes)
            self.sent.append(changes)
            if len(changes) == 1:
                control.send(changes[0]["verb"], {name: value for name, value in changes[0].items() if name != "verb"})
            else:
                control.send("apply", {"changes": changes})
        self._hear(control)

    def _hear(self, control: Control) -> None:
        reply = control.receive()
        assert reply["id"] == len(self.acknowledged) + 1, reply
        assert reply["status"] == "ok", reply
        self.acknowledged.append(reply["content"]["generation"])

    def _think(self) -> Iterator[Change]:
        """Something that succeeds and is no change that undoes itself."""
        clusters = [key[1] for key in self._model if key[0] == "cluster"]
        if len(clusters) < 2 or (len(clusters) < MOST_CLUSTERS and self._random.random() < 0.3):
            yield from self._new_cluster()
            return
        cluster = self._random.choice(clusters)
        backends = [key for key in self._model if key[:2] == ("backend", cluster)]
        match self._random.randrange(5):
            case 0:
                yield from self._end(cluster)
            case 1 if backends:
                yield {"verb": "backend remove", **named(self._random.choice(backends))}
            case 2 if backends:
                key = self._random.choice(backends)
                yield {"verb": "backend update", **named(key), "weight": (self._model[key][1] + 1) % 256}
            case 3:
                yield self._policy(cluster)
            case _:
                yield self._backend(cluster, f"b{len(self.sent)}-{self._random.randrange(10**9)}")

    def _new_cluster(self) -> Iterator[Change]:
        cluster = f"{self._name}-{self.number}"
        self.number += 1
        yield {"verb": "cluster add", "id": cluster, "load-balancing-policy": self._random.choice(POLICIES)}
        if self._random.random() < 0.7:
            yield from (self._backend(cluster, f"b{index}") for index in range(self._random.randrange(1, 20)))
            yield {"verb": "frontend http add", "cluster": cluster, **self._rule(cluster)}

    def _end(self, cluster: str) -> Iterator[Change]:
        if self._model.get(("frontend", f"{cluster}.example")):
            yield {"verb": "frontend http remove", **self._rule(cluster)}
        for key in self._model:
            if key[:2] == ("backend", cluster):
                yield {"verb": "backend remove", **named(key)}
        yield {"verb": "cluster remove", "id": cluster}

    def _policy(self, cluster: str) -> Change:
        others = [each for each in POLICIES if each.upper() != self._model["cluster", cluster]]
        return {"verb": "cluster add", "id": cluster, "load-balancing-policy": self._random.choice(others)}

    def _backend(self, cluster: str, name: str) -> Change:
        address = f"127.0.0.1:{self._random.randrange(1, 65536)}"
        weight = self._random.randrange(256)
        return {"verb": "backend add", "id": cluster, "backend-id": name, "address": address, "weight": weight}

    def _rule(self, cluster: str) -> Change:
        return {"address": self._listener, "hostname": f"{cluster}.example"}


def named(key: tuple[str, ...]) -> Change:
    """Of a backend."""
    return {"id": key[1], "backend-id": key[2]}


@contextlib.contextmanager
def streaming(streams: Iterable[Stream], path: Path) -> Iterator[None]:
    """All of them at work while the body runs, which must end the proxy; then each has heard what it was told."""
    with contextlib.ExitStack() as connected:
        threads = []
        for stream in streams:
            control = connected.enter_context(contextlib.closing(Control(path)))
            threads.append(threading.Thread(target=stream.run, args=(control,), daemon=True))
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            for thread in threads:
                thread.join(PATIENCE)
