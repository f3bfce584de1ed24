"""What workers tell: lines go to the logs, events to whoever listens, and nothing else goes anywhere."""

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager, nullcontext

from sozu_trio.config.addresses import Address
from sozu_trio.control.messages import Counted, Happened, Lines, Logged
from sozu_trio.main.events import Event, Events
from sozu_trio.main.hearing import hear


class Logs:
    def __init__(self) -> None:
        self.took: list[object] = []

    def take(self, lines: str, dropped: int) -> None:
        self.took.append((lines, dropped))

    def take_log(self, lines: Iterable[str], dropped: int) -> None:
        self.took.append((list(lines), dropped))

    def serve(self) -> AbstractAsyncContextManager[None]:
        return nullcontext()


class Told(Events):
    def __init__(self) -> None:
        super().__init__()
        self.told: list[Event] = []

    def tell(self, *events: Event) -> None:
        self.told.extend(events)


def test_what_a_worker_has_said_goes_where_it_belongs() -> None:
    logs, events = Logs(), Told()
    address = Address("127.0.0.1", 9000)
    for report in (
        Lines(lines="a\nb", dropped=1),
        Logged(lines=("c", "d"), dropped=2),
        Counted(counters=(1,)),
        Happened(kind="BACKEND_DOWN", cluster_id="api", backend_id="b", address=address),
    ):
        hear(logs, events, report)
    assert logs.took == [("a\nb", 1), (["c", "d"], 2)]
    assert events.told == [Event(kind="BACKEND_DOWN", cluster_id="api", backend_id="b", address=address)]
