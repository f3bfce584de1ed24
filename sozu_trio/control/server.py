"""The server at the control socket: lets clients in, tells the others why not, and stops softly.

    control
     ├─ accepting    cancelled first
     └─ clients      gets a deadline: hard stop
         ├─ client 1
         └─ changes of client 1, also when it has gone

What verbs there are is not known here; whoever serves hands in who answers.
"""

import errno
import itertools
import logging
import math
import os
import socket
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import trio

from sozu_trio.config.limits import EXHAUSTED_PAUSE, ControlLimits
from sozu_trio.control.answering import Answerer
from sozu_trio.control.conversation import Conversation, Handover, Service
from sozu_trio.control.permissions import Peer, Permissions, peer_credentials, process_name
from sozu_trio.control.protocol import Id, Reply, write_reply

log = logging.getLogger(__name__)

EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})


async def serve_control(
    listener: trio.SocketListener,
    answer: Answerer,
    hello: Callable[[Peer], Mapping[str, Any]],
    *,
    changes_state: Callable[[str], bool],
    permissions: Permissions = Permissions(),  # noqa: B008 - it is frozen
    limits: ControlLimits = ControlLimits(),  # noqa: B008 - it is frozen
    task_status: "trio.TaskStatus[ControlServer]" = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled, which ends everything at once, or until `ControlServer.stop`. Closes `listener`.

    `answer` carries out a request and may raise OperatorError. `hello` says what a client is told first; protocol, role
    and limits are added. `changes_state` says of a verb whether it changes anything: requests of such verbs are
    carried out in the order a client sent them, and are finished when it hangs up.
    """
    service = Service(
        answer=answer,
        hello=hello,
        changes_state=changes_state,
        limits=limits,
        reading=trio.CapacityLimiter(limits.readers),
    )
    server = ControlServer(service, permissions)
    async with listener:
        await server.run(listener, task_status)


class ControlServer:
    """A running server: who is connected, and how to stop."""

    def __init__(self, service: Service, permissions: Permissions) -> None:
        self._service = service
        self._permissions = permissions
        self._accepting = trio.CancelScope()
        self._clients = trio.CancelScope()
        self._conversations: dict[Conversation, Peer] = {}
        self._numbers = itertools.count(1)
        self._quiet_until = -math.inf
        self._nursery: trio.Nursery
        self._stopping = False
        self._paused = trio.Event()
        self._gone = trio.Event()
        """A client."""

    @property
    def clients(self) -> int:
        """Connected now."""
        return len(self._conversations)

    def stop(self, grace: float) -> None:
        """Take no more clients and requests, answer what is under way for at most `grace` seconds, then end.

        May be called again, with less patience.
        """
        self._stopping = True
        self._accepting.cancel(reason="the control server stops")
        self._paused.set()
        self._clients.deadline = min(self._clients.deadline, trio.current_time() + grace)
        for conversation in self._conversations:
            conversation.stop()

    async def pause(self, grace: float, but: int | None = None, request: Id = 0) -> Handover | None:
        """Let nobody in, and have everybody end: whoever has not been answered after `grace` seconds is cut, except for
        client `but`, of whom it is told how to go on; `request` is all that is left to be answered there. The handover
        belongs to the caller. Raises OSError where there is no room for its descriptor.
        """
        self._paused = trio.Event()
        self._accepting.cancel(reason="the control server pauses")
        kept = next((each for each, peer in self._conversations.items() if peer.client_id == but), None)
        answered = False
        for conversation in self._conversations:
            conversation.stop()
        with trio.move_on_after(grace):
            if kept is not None:
                await kept.pause(request)
                answered = True
            while self._conversations.keys() - {kept}:
                self._gone = trio.Event()
                await self._gone.wait()
        for conversation in self._conversations.keys() - {kept}:
            conversation.cut()
        return kept.handover(request) if answered and kept in self._conversations else None

    def resume(self) -> None:
        """Let clients in again after `pause`."""
        self._accepting = trio.CancelScope()
        self._paused.set()

    def go_on(self, handover: Handover, answer: Answerer) -> None:
        """Go on with a client that another process has talked to; takes its descriptor over. `answer` carries out what
        is under way.
        """
        sock = trio.socket.from_stdlib_socket(socket.socket(fileno=handover.descriptor))
        peer = replace(handover.peer, client_id=next(self._numbers))
        conversation = Conversation(self._service, peer, sock, self._nursery)
        conversation.go_on(handover, answer)
        self._begin(conversation, peer, sock)

    async def run(self, listener: trio.SocketListener, task_status: "trio.TaskStatus[ControlServer]") -> None:
        """Let clients in until `stop`, and return when the last one has been answered."""
        with self._clients:
            async with trio.open_nursery() as self._nursery:
                task_status.started(self)
                while not self._stopping:
                    with self._accepting:
                        while True:
                            await self._accept(listener, self._nursery)
                    await self._paused.wait()
                await listener.aclose()

    async def _accept(self, listener: trio.SocketListener, clients: trio.Nursery) -> None:
        try:
            stream = await listener.accept()
        except OSError as error:
            if error.errno not in EXHAUSTED:
                raise
            self._complain(error)
            await trio.sleep(EXHAUSTED_PAUSE)
            return
        sock = stream.socket
        peer = self._peer_at(sock)
        if refusal := self._refusal(peer):
            _refuse(sock, refusal)
            log.warning("%s: refused: %s", peer, refusal)
            return
        self._begin(Conversation(self._service, peer, sock, clients), peer, sock)

    def _begin(self, conversation: Conversation, peer: Peer, sock: trio.socket.SocketType) -> None:
        self._conversations[conversation] = peer
        self._nursery.start_soon(self._serve, conversation, peer, sock, name=str(peer))

    def _peer_at(self, sock: trio.socket.SocketType) -> Peer:
        uid, gid, pid = peer_credentials(sock)
        return Peer(
            client_id=next(self._numbers),
            uid=uid,
            gid=gid,
            pid=pid,
            process=process_name(pid),
            may_change=self._permissions.may_change(uid),
            connected=time.time(),
        )

    def _refusal(self, peer: Peer) -> str | None:
        return self._permissions.refusal(peer.uid) or self._crowd(peer)

    def _crowd(self, peer: Peer) -> str | None:
        """Why there is no place for this peer, though it may talk."""
        limits, ours = self._service.limits, os.geteuid()
        if self.clients >= limits.clients:
            return f"too many control clients: {self.clients} are connected already"
        if peer.uid not in (0, ours) and self.clients >= limits.clients - limits.reserved_clients:
            kept = f"the last {limits.reserved_clients} places are kept for root and uid {ours}"
            return f"too many control clients: {self.clients} are connected already, and {kept}"
        looking = sum(not each.may_change for each in self._conversations.values())
        if not peer.may_change and looking >= limits.clients // 2:
            share = f"they get half of the {limits.clients} places"
            return f"too many read-only control clients: {looking} are connected already, and {share}"
        return None

    async def _serve(self, conversation: Conversation, peer: Peer, sock: trio.socket.SocketType) -> None:
        """The outer edge of a client: no exception passes, so that no client can stop the server."""
        log.debug("%s: connected", peer)
        if self._accepting.cancel_called:
            conversation.stop()
        try:
            await conversation.run()
            log.debug("%s: disconnected", peer)
        except* Exception as failures:
            log.error("%s: conversation failed", peer, exc_info=failures)
        finally:
            sock.close()
            del self._conversations[conversation]
            self._gone.set()

    def _complain(self, error: OSError) -> None:
        now = trio.current_time()
        if now >= self._quiet_until:
            self._quiet_until = now + 1
            log.warning("control socket: cannot accept: %s", error.strerror)


def _refuse(sock: trio.socket.SocketType, why: str) -> None:
    """One line, which always fits into a new socket, and the end."""
    with suppress(OSError):
        os.write(sock.fileno(), write_reply(Reply(id=None, status="failure", message=why)))
    sock.close()
