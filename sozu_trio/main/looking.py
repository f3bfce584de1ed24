"""Verbs that look at the processes and what lives in them: status, the tree, and sessions, which can be cut."""

import os
import time
from typing import Any

from sozu_trio import __version__
from sozu_trio.control.answering import Answer
from sozu_trio.errors import OperatorError
from sozu_trio.main.bodies import EmptyBody, SessionKillBody, SessionListBody
from sozu_trio.main.parts import Call, Handlers, Parts
from sozu_trio.nursery.workers import WorkerStatus
from sozu_trio.telemetry.plural import count


async def _status(parts: Parts, call: Call) -> Answer:
    call.read(EmptyBody)
    await parts.supervisor.look("counters")
    workers = [
        {
            **_status_of(worker),
            "generation": worker.generation,
            "sandbox": list(worker.sandbox),
            "unsandboxed": list(worker.unsandboxed),
        }
        for worker in parts.supervisor.workers
    ]
    leaving = [
        {**_status_of(worker), "seconds_left": None if worker.seconds_left is None else round(worker.seconds_left, 3)}
        for worker in parts.supervisor.leaving
    ]
    main = {
        "pid": os.getpid(),
        "version": __version__,
        "generation": parts.transactions.generation,
        "uptime": round(time.monotonic() - parts.started, 3),
        "config": parts.config_path,
        "command_socket": str(parts.config.program.command_socket),
    }
    content = {"main": main, "workers": workers, "leaving": leaving}
    return Answer(message=f"generation {main['generation']}", content=content)


def _status_of(worker: WorkerStatus) -> dict[str, Any]:
    return {"id": worker.id, "pid": worker.pid, "state": worker.state, "sessions": worker.sessions}


async def _tree(parts: Parts, call: Call) -> Answer:
    call.read(EmptyBody)
    looked = await parts.supervisor.look("tree")
    workers = [{**tree, "name": f"worker {who.text}"} for who, tree in looked.items()]
    main = {
        "name": "main",
        "kind": "process",
        "age": round(time.monotonic() - parts.started, 3),
        "children": [
            {"name": f"control socket {parts.config.program.command_socket}", "kind": "service", "children": []},
            {"name": f"journal {parts.journal.path}", "kind": "service", "children": []},
        ],
    }
    return Answer(message=f"main and {count(len(workers), 'worker')}", content={"main": main, "workers": workers})


async def _sessions(parts: Parts, call: Call) -> Answer:
    limit = call.read(SessionListBody).limit
    looked = await parts.supervisor.look("sessions", {"limit": limit})
    sessions = [{**each, "worker": who.worker_id} for who, found in looked.items() for each in found]
    sessions.sort(key=lambda each: -each["age"])
    return Answer(message=count(len(sessions), "session"), content={"sessions": sessions[:limit]})


async def _kill_session(parts: Parts, call: Call) -> Answer:
    session = call.read(SessionKillBody).session
    if not await parts.supervisor.kill_session(session):
        raise OperatorError(f"session: there is none {session!r} (any more)")
    return Answer(message=f"session {session} is cut", content={})


HANDLERS: Handlers = {
    "status": _status,
    "tree": _tree,
    "session list": _sessions,
    "session kill": _kill_session,
}
