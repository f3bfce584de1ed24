"""Workers replaced by successors, one at a time, while nobody connected notices."""

from collections.abc import Iterable, Mapping
from typing import Any

from sozu_trio.control.answering import Answer, Progress
from sozu_trio.main.events import Event, Events
from sozu_trio.main.parts import Parts
from sozu_trio.nursery.succession import Succeeded
from sozu_trio.nursery.supervisor import Supervisor
from sozu_trio.telemetry.plural import count


async def replace_workers(
    supervisor: Supervisor, events: Events, worker_ids: Iterable[int], progress: Progress
) -> list[dict[str, Any]]:
    """Replace these, one after the other; returns JSON for each: {"id", "before", "after", "moved", "left"}.

    `before` and `after` are processes. Raises OperatorError at the first successor that does not get ready: that worker
    and those after it are as they were.
    """
    replaced: list[dict[str, Any]] = []
    for worker_id in worker_ids:
        document = _document(await supervisor.upgrade(worker_id, progress))
        replaced.append(document)
        message = _message(document)
        events.tell(Event(kind="WORKER_UPGRADED", details=message))
        await progress(message, document)
    return replaced


def _document(done: Succeeded) -> dict[str, Any]:
    return {
        "id": done.worker_id,
        "before": done.before,
        "after": done.after,
        "moved": done.moved,
        "left": done.left,
    }


def _message(done: Mapping[str, Any]) -> str:
    left = f", {done['left']:,} left to drain" if done["left"] else ""
    return f"worker {done['id']}: pid {done['after']} serves, {count(done['moved'], 'session')} moved{left}"


async def replace_worker(parts: Parts, worker_id: int, progress: Progress) -> Answer:
    """As `replace_workers`, for one of them."""
    replaced = await replace_workers(parts.supervisor, parts.events, [worker_id], progress)
    return Answer(message=_message(replaced[0]), content={"workers": replaced})
