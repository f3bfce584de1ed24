"""Workers that count connections to backends together, without clients."""

import itertools

import trio

from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import Backend, Cluster
from sozu_trio.config.program import Program, Settings
from sozu_trio.nursery.places import Places
from sozu_trio.nursery.regions import Regions
from sozu_trio.nursery.tally import Tally
from sozu_trio.proxy.backends import Connection
from sozu_trio.proxy.connect import BackendTimeouts, Connector, discard, give_back
from sozu_trio.proxy.proxy import Proxy
from sozu_trio.routing.compile import compile_table
from sozu_trio.routing.state import declare


class House:
    """Workers before the same backends, which count together, without clients."""

    def __init__(self, workers: int = 1) -> None:
        regions = Regions()
        self.tallies = [Tally(regions.descriptors, regions.give(1 + number)) for number in range(workers)]
        regions.close()
        self.workers = [Proxy(Program(), 0, Places(tally, Settings())) for tally in self.tallies]
        self.generation = itertools.count(1)

    def configure(self, *addresses: Address, most: int = 0, **cluster: float) -> None:
        """`most`: connections to each backend."""
        backends = [
            Backend(cluster_id="api", backend_id=str(number), address=address, max_connections=most)
            for number, address in enumerate(addresses)
        ]
        clusters = [Cluster(cluster_id="api", **cluster)] if addresses else []  # type: ignore[arg-type]
        generation = next(self.generation)
        for worker in self.workers:
            worker.swap(compile_table(declare([], clusters, [], [], backends), generation))
            worker.backends.find("api")

    def connector(self, worker: int = 0) -> Connector:
        proxy = self.workers[worker]
        cluster = proxy.backends.find("api")
        assert cluster is not None
        return proxy.connector(cluster, BackendTimeouts(5, 5))

    async def connect(self, worker: int = 0) -> Connection:
        connector, now = self.connector(worker), trio.current_time()
        return connector.take_idle(now) or await connector.connect()

    def give_back(self, connection: Connection, worker: int = 0) -> None:
        cluster = self.workers[worker].backends.find("api")
        if cluster is None:
            discard(connection)
        else:
            give_back(connection, cluster, trio.current_time())

    def close(self) -> None:
        for worker in self.workers:
            worker.close_unused()
