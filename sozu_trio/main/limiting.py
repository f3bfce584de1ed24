"""The verb that shows how many connections one client address may have in a cluster."""

from sozu_trio.config.clusters import Cluster
from sozu_trio.config.program import Settings
from sozu_trio.control.answering import Answer
from sozu_trio.main.bodies import EmptyBody
from sozu_trio.main.parts import Call, Handlers, Parts


async def _connection_limit(parts: Parts, call: Call) -> Answer:
    """What is in force, and what clusters say that say something of their own."""
    call.read(EmptyBody)
    state = parts.transactions.state
    settings = state.settings
    content = {
        "limit": settings.max_connections_per_ip,
        "retry_after": settings.retry_after,
        "clusters": [_of(cluster, settings) for cluster in state.clusters.values() if _has_its_own(cluster)],
    }
    limit = settings.max_connections_per_ip
    return Answer(message=f"{limit} per client address and cluster" if limit else "no limit", content=content)


def _has_its_own(cluster: Cluster) -> bool:
    return cluster.max_connections_per_ip is not None or cluster.retry_after is not None


def _of(cluster: Cluster, settings: Settings) -> dict[str, str | int]:
    limit, wait = cluster.max_connections_per_ip, cluster.retry_after
    return {
        "cluster": cluster.cluster_id,
        "limit": settings.max_connections_per_ip if limit is None else limit,
        "retry_after": settings.retry_after if wait is None else wait,
    }


HANDLERS: Handlers = {"connection-limit show": _connection_limit}
