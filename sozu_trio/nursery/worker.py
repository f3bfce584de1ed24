"""A worker: control, services and listeners in one tree.

    worker
     ├─ control      messages from main, one after the other
     ├─ services     what the handler needs beside its sessions
     ├─ telling      access-log lines, events and counters to main (nursery/telling.py)
     ├─ cuts         one for each removed backend that has a deadline (nursery/cuts.py)
     ├─ departures   sessions to a successor (nursery/departure.py)
     ├─ arrivals     sessions of the worker before (nursery/arrival.py)
     └─ listeners    one node each (nursery/listener.py)

It talks to main through its link and nothing else; what a process is good for, it is told (`handler.OwnProcess`).
Services outlive sessions: they are cancelled when the last session has gone.
"""

import contextlib
import dataclasses
import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import trio

from sozu_trio.control.channel import Channel, DescriptorsLost, close_all
from sozu_trio.control.codec import warm
from sozu_trio.control.messages import (
    Adopt,
    Adopted,
    Amend,
    Ask,
    Beat,
    Begin,
    Commit,
    CountIn,
    Cut,
    Forget,
    GiveBack,
    HandOver,
    Happened,
    Kill,
    Lend,
    Listen,
    Look,
    Prepare,
    Reply,
    Stop,
    Stopped,
    TakeOver,
    Unlisten,
)
from sozu_trio.control.moves import KINDS, OFFERS
from sozu_trio.control.sizes import TooLarge
from sozu_trio.errors import ChannelError
from sozu_trio.nursery.arrival import OPEN, Arrival
from sozu_trio.nursery.cuts import PendingCuts, removed_by
from sozu_trio.nursery.generations import Generations
from sozu_trio.nursery.handler import Handler, MakeHandler, OwnProcess
from sozu_trio.nursery.killing import kill_session
from sozu_trio.nursery.leaving import Leaving, taken_over
from sozu_trio.nursery.link import Link
from sozu_trio.nursery.listening import Listening
from sozu_trio.nursery.looks import Service, drains_by_listener, list_sessions, sessions_by_listener, tree_of
from sozu_trio.nursery.orphan import OtherProtocol, await_main, introduce
from sozu_trio.nursery.pressure import Pressure
from sozu_trio.nursery.tally import Tally
from sozu_trio.nursery.telling import Telling
from sozu_trio.routing.drains import grace_of
from sozu_trio.routing.table import Table

log = logging.getLogger(__name__)


async def serve_worker(channel: Channel[Ask], make_handler: MakeHandler, process: OwnProcess | None = None) -> None:
    """Serve main's `channel` until it says stop and the last session has ended.

    `process`: None where the worker is a task of main, and stops when `channel` ends. Another one serves on for
    `orphan_timeout`, and stops if no other main comes. Raises ChannelError for a wrong beginning.
    """
    received = await channel.receive()
    if received is None:
        return
    begin, tally = _begin(*received)
    warm(KINDS)
    handler = make_handler(begin.program, begin.worker_id, tally)
    handler.trust(begin.authorities)
    if process is not None:
        process.begin(begin.program)
        with contextlib.suppress(OSError):
            await channel.send(process.sandbox)
        if process.sandbox.refusal:
            await channel.send(Reply(serial=begin.serial, failure=process.sandbox.refusal))
            return
    link = Link(channel)
    worker = Worker(begin, link, handler, process, tally)
    await link.send(Reply(serial=begin.serial))
    with worker.pressure.overload:
        await worker.run()
    with contextlib.suppress(OSError):
        await link.send(Stopped(cut=worker.cut))


def _begin(begin: Ask, descriptors: list[int]) -> tuple[Begin, Tally]:
    """The first message, if it is that, and what it shares with the other workers."""
    try:
        if not isinstance(begin, Begin):
            raise ChannelError(f"the first message was {type(begin).__name__}, not Begin")
        return begin, Tally(descriptors, begin.region)
    except ValueError as error:
        raise ChannelError(f"Begin: {error}") from error
    finally:
        close_all(descriptors)


@dataclasses.dataclass(frozen=True, slots=True)
class Branches:
    """Where tasks of a worker live."""

    services: trio.Nursery
    listeners: trio.Nursery


class Worker:
    """The live tree of one worker."""

    def __init__(self, begin: Begin, link: Link, handler: Handler, process: OwnProcess | None, tally: Tally) -> None:
        self.services: dict[Service, None] = {}
        """What else runs, in the order in which it began."""
        self._begin = begin
        self._itself = Service(f"worker {begin.worker_id}")
        self._link = link
        self._handler = handler
        self._process = process
        self._tally = tally
        log_lines = None if process is None else process.lines
        self._telling = Telling(link, handler.lines, log_lines, handler.counters)
        self._generations = Generations(self._swap, handler.counters)
        self._cuts = PendingCuts(handler.cut_backend)
        pressure = Pressure(self._itself.name, lambda: self._listening.nodes, handler, process, self._telling.happened)
        self.pressure = pressure
        self._doors = dataclasses.replace(
            handler.doors, relieve=pressure.relieve, overload=pressure.overload, evict=pressure.evict
        )
        self._listening = Listening(self._doors)
        handler.relieve_with(pressure.relieve)
        handler.tell_with(self._happened)
        self._stop = trio.Event()
        """It is to end when the last session has."""
        self._arrivals: list[Arrival] = []
        self._leaving = Leaving(self._listening.nodes, handler.learned, link)

    @property
    def cut(self) -> int:
        return self._listening.cut_at.total()

    def _happened(self, event: Happened) -> None:
        """Of a session or a backend. Each worker tells its own, so it says who it is."""
        self._telling.happened(dataclasses.replace(event, details=self._itself.name))

    def _swap(self, table: Table) -> None:
        self._listening.wake(self._handler.swap(table))

    async def run(self) -> None:
        """Serve until stopped and the last session has ended; main has been told everything then but `cut`."""
        async with trio.open_nursery() as services:
            for name, serve in {**self._telling.services, **self.pressure.services, **self._handler.services}.items():
                services.start_soon(self._serve, name, serve, name=name)
            async with trio.open_nursery() as listeners:
                control = partial(self._control, Branches(services, listeners))
                services.start_soon(self._serve, "control", control, name="control")
                await self._stop.wait()
            services.cancel_scope.cancel(reason="the last session has ended")
        await self._telling.count()

    async def _serve(self, name: str, serve: Callable[[], Awaitable[None]]) -> None:
        service = Service(name)
        self.services[service] = None
        try:
            await serve()
        finally:
            del self.services[service]

    async def _control(self, branches: Branches) -> None:
        """Obey one main after the other."""
        try:
            await self._obey_main(branches)
            while await self._find_main():
                await self._obey_main(branches)
        except ChannelError as error:
            log.error("main is lost: %s: stopping", error)
        self._link.give_up()
        self._generations.forget()
        self._stop_all(grace_of(self._begin.program.shutdown_timeout))

    async def _obey_main(self, branches: Branches) -> None:
        """Until it is gone. Raises ChannelError when it makes no sense."""
        # It is reset, not ended, where main had not read everything.
        with contextlib.suppress(OSError):
            while await self._answer_next(branches):
                pass

    async def _find_main(self) -> bool:
        """Wait for another main; False where none has come, or none is of use any more."""
        self._generations.forget()
        process = self._process
        if process is None or self._is_told_to_stop or not self._generations.generation:
            log.warning("main is gone: stopping")
            return False
        self._link.lose()
        patience = self._begin.program.orphan_timeout or math.inf
        found = await await_main(partial(process.next_main, self._introduce), patience)
        if found is None:
            log.warning("no main has come to stay: stopping")
            return False
        self._link.take(found)
        log.info("another main has come")
        with contextlib.suppress(OSError):
            await self._link.send(process.sandbox)
        await self._telling.count()
        return True

    async def _introduce(self, channel: Channel[Ask]) -> None:
        assert self._process is not None
        own = [(self._begin.worker_id, key, node.sock) for key, node in self._listening.listeners.items()]
        lent = [(owner, key, node.sock) for (owner, key), node in self._listening.lent.items()]
        itself = Adopted(
            worker_id=self._begin.worker_id,
            program=self._begin.program,
            secret=self._tally.secret.hex(),
            leaving=self._leaving.began,
            seconds_left=self._leaving.seconds_left(),
        )
        try:
            await introduce(channel, itself, [*own, *lent], (self._process.place,))
        except OtherProtocol:
            # It starts workers of its own kind, and has the connections of this one end well.
            self._stop_all(grace_of(self._begin.program.shutdown_timeout))
            raise

    async def _answer_next(self, branches: Branches) -> bool:
        """Answer main's next message; whether there was one."""
        try:
            received = await self._link.channel.receive()
        except DescriptorsLost as loss:
            # No reason to lose every session as well. Main waits in vain only where the serial was lost too.
            log.error("%s", loss)
            self.pressure.relieve()
            if isinstance(loss.message, Ask):
                await self._link.send(Reply(serial=loss.message.serial, failure=str(loss)))
            return True
        if received is None:
            return False
        message, descriptors = received
        reply = await self._answer(message, descriptors, branches)
        try:
            await self._link.send(reply)
        except TooLarge as error:
            await self._link.send(Reply(serial=message.serial, failure=str(error)))
        return True

    async def _answer(self, message: Ask, descriptors: list[int], branches: Branches) -> Reply:
        name = type(message).__name__
        try:
            content = await self._obey(message, descriptors, branches)
        except (ChannelError, ValueError) as refusal:
            log.warning("%s refused: %s", name, refusal)
            return Reply(serial=message.serial, failure=str(refusal))
        except Exception as error:
            log.exception("%s failed", name)
            return Reply(serial=message.serial, failure=f"{type(error).__name__}: {error}")
        finally:
            close_all(descriptors)
        return Reply(serial=message.serial, content=content)

    async def _obey(self, message: Ask, descriptors: list[int], branches: Branches) -> Any:
        """Do what main asks; returns what it is answered."""
        match message:
            case Amend():
                self._generations.amend(message, self._link.channel.reading_since)
            case Prepare():
                await self._generations.prepare(message)
            case Forget():
                self._generations.forget()
            case Commit():
                self._generations.commit(message.generation)
                self._handler.follow(self._generations.state.settings)
                self.pressure.follow(self._generations.state.settings)
                self._cuts.follow(self._generations.state)
                if self._process is not None:
                    self._process.follow(message.generation, self._generations.state.settings)
            case Listen():
                self._refuse_while_stopping()
                await self._listening.listen((message.transport, message.address), descriptors, branches.listeners)
            case Unlisten():
                await self._listening.unlisten((message.transport, message.address), message.grace)
            case Lend():
                key = message.transport, message.address
                self._refuse_while_stopping()
                await self._listening.borrow(message.owner, key, descriptors, branches.listeners)
            case GiveBack():
                await self._listening.give_back(message.owner, (message.transport, message.address))
            case Beat():
                pass
            case CountIn():
                self._tally.move(descriptors, message.region)
            case Cut():
                self._cut_later(message, branches.services)
            case Look():
                return await self._look(message.what, message.query)
            case Kill():
                return await kill_session(self._listening.nodes, message.session)
            case HandOver():
                self._hand_over(message.grace, descriptors, branches)
            case TakeOver():
                self._take_over(descriptors, branches.services)
            case Stop():
                self._stop_all(message.grace)
            case Begin() | Adopt():
                raise ChannelError(f"{type(message).__name__} comes once")
        return None

    def _cut_later(self, message: Cut, services: trio.Nursery) -> None:
        removed = removed_by(message, self._generations.state)
        name = f"cut of backend {message.backend_id} of cluster {message.cluster_id}"
        services.start_soon(self._serve, name, partial(self._cuts.wait_and_cut, removed, message.grace), name=name)

    async def _look(self, what: str, query: Mapping[str, Any]) -> Any:
        match what:
            case "counters":
                # Main's sum is as fresh as the answer then.
                await self._telling.count()
                counters = self._handler.counters.snapshot()
                limit = self._doors.capacity.limit
                by_listener = sessions_by_listener(self._listening.nodes)
                return {
                    "counters": counters,
                    "listeners": by_listener,
                    "max_connections": limit,
                    "sheds": self.pressure.sheds,
                }
            case "drains":
                return drains_by_listener(self._listening.nodes, self._listening.cut_at)
            case "tree":
                return tree_of(self._itself, self.services, self._listening.nodes)
            case "sessions":
                return await list_sessions(self._listening.nodes, query)
        return await self._handler.look(what, query)

    def _hand_over(self, grace: float | None, descriptors: list[int], branches: Branches) -> None:
        """Leave what there is to a successor; it stays reachable for the next main, for it may drain for long."""
        if self._is_told_to_stop:
            raise ChannelError("the worker is stopping")
        departure = self._leaving.begin(grace, taken_over(descriptors))
        self._accept_nobody()
        branches.services.start_soon(self._serve, "departures", departure.run, name="departures")
        branches.listeners.start_soon(departure.looked.wait)

    def _take_over(self, descriptors: list[int], services: trio.Nursery) -> None:
        self._refuse_while_stopping()
        channel = Channel(taken_over(descriptors), OFFERS)
        listing = OPEN if self._process is None else self._process.listing
        arrival = Arrival(channel, self._listening.listeners, self._doors, self._handler.learn, listing)
        self._arrivals.append(arrival)
        services.start_soon(self._serve, "arrivals", arrival.run, name="arrivals")

    def _refuse_while_stopping(self) -> None:
        if self._stop.is_set():
            raise ChannelError("the worker is stopping")

    @property
    def _is_told_to_stop(self) -> bool:
        return self._stop.is_set() and not self._leaving.began

    def _accept_nobody(self) -> None:
        """Neither clients nor sessions of the worker before; end with the last session."""
        self._listening.forget()
        for arrival in self._arrivals:
            arrival.finish()
        self._stop.set()

    def _drain(self, grace: float | None) -> None:
        self._accept_nobody()
        for node in self._listening.nodes:
            node.stop(grace)

    def _stop_all(self, grace: float | None) -> None:
        self._leaving.stop()
        self._drain(grace)
        if self._process is not None:
            self._process.close_door()
