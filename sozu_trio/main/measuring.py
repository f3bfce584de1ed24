"""The counters of main and of the workers, and their sum."""

import time
from collections.abc import Mapping

from sozu_trio.config.values import show
from sozu_trio.control.answering import Answer
from sozu_trio.main.bodies import MetricsBody
from sozu_trio.main.keeping import counts
from sozu_trio.main.parts import Call, Handlers, Parts
from sozu_trio.telemetry.plural import count


async def _metrics(parts: Parts, call: Call) -> Answer:
    names = call.read(MetricsBody).names
    looked = await parts.supervisor.look("counters")
    workers = {who.text: _named(each["counters"], names) for who, each in looked.items()}
    state = parts.transactions.state
    main = {f"configuration.{kind}": number for kind, number in counts(state).items()}
    main["configuration.generation"] = parts.transactions.generation
    main["process.uptime_seconds"] = int(time.monotonic() - parts.started)
    if state.certificates:
        soonest = min(each.certificate.not_after for each in state.certificates.values())
        main["tls.cert.min_expires_at_seconds"] = soonest
    total = _named(parts.supervisor.counters().snapshot(), names)
    main = _named(main, names)
    content = {"main": main, "workers": workers, "total": total}
    return Answer(message=_message(len(main) + len(total), names), content=content)


def _message(found: int, names: tuple[str, ...]) -> str:
    if found or not names:
        return count(found, "counter")
    return f"no counter has a name that begins with {' or '.join(map(show, names))}"


def _named(values: Mapping[str, int], names: tuple[str, ...]) -> dict[str, int]:
    return {name: value for name, value in values.items() if not names or name.startswith(names)}


HANDLERS: Handlers = {"metrics get": _metrics}
