"""Verbs that look at certificates: list, and query, which says what a client that asks for a name is shown, and why."""

import ipaddress
import time
from collections.abc import Iterator
from typing import Any

import trio

from sozu_trio.config.addresses import Address
from sozu_trio.config.certificates import Certificate, ListenerCertificate, days_left
from sozu_trio.config.listeners import HttpsListener
from sozu_trio.config.server_names import canonical_name
from sozu_trio.config.values import show
from sozu_trio.control.answering import Answer
from sozu_trio.control.records import document_of, origin_of, without_pem
from sozu_trio.errors import OperatorError
from sozu_trio.main.bodies import CertificateListBody, CertificateQueryBody
from sozu_trio.main.parts import Call, Handlers, Parts
from sozu_trio.routing.resolver import Shown, covers
from sozu_trio.routing.resolvers import resolver_of
from sozu_trio.routing.state import State
from sozu_trio.telemetry.plural import count

_WHY = {
    "exact": "it is for this very name",
    "wildcard": "it is for the wildcard above this name",
    "address": "it is for the address of the listener, which is all that a client without a name has said",
    "default": "it is the default of the listener, and no other is for this name",
}


async def _list(parts: Parts, call: Call) -> Answer:
    body = call.read(CertificateListBody)
    documents = await trio.to_thread.run_sync(_documents, parts.transactions.state, body)
    faults = [str(each) for problems in parts.certificate_watch.faults.values() for each in problems]
    message = count(len(documents), "certificate")
    if faults:
        message += f"; renewed, but not to be used: {'; '.join(faults)}"
    return Answer(message=message, content={"certificates": documents, "unusable": faults})


def _documents(state: State, body: CertificateListBody) -> list[dict[str, Any]]:
    """Thousands take tens of milliseconds."""
    now = time.time()
    return [certificate_document(state, each, now) for each in _chosen(state, body)]


def _chosen(state: State, body: CertificateListBody) -> Iterator[ListenerCertificate]:
    """A fingerprint may be cut short, as ctl shows it."""
    digits = None if body.fingerprint is None else body.fingerprint.replace(":", "").lower()
    for each in state.certificates.values():
        of_listener = body.address in (None, each.address)
        of_fingerprint = digits is None or each.certificate.fingerprint.startswith(digits)
        if of_listener and of_fingerprint and (body.domain is None or covers(each.certificate, body.domain)):
            yield each


def certificate_document(state: State, record: ListenerCertificate, now: float) -> dict[str, Any]:
    """A certificate as it is listed, with the whole days it has left; without PEM. `now` in seconds since the epoch."""
    left = days_left(record.certificate, now)
    return {**without_pem(document_of(record)), "days_left": left, "origin": origin_of(record, state)}


async def _query(parts: Parts, call: Call) -> Answer:
    body = call.read(CertificateQueryBody)
    if body.domain is not None and canonical_name(body.domain) is None:
        raise OperatorError(f"domain: found {show(body.domain)}; want a host name, such as api.example")
    state = parts.transactions.state
    addresses = list(_addresses(state, body.address))
    answers = [shown_document(state, address, body.domain) for address in addresses]
    what = "a client that names none" if body.domain is None else body.domain
    lines = (f"{each['listener']}: {each['why']}" for each in answers)
    return Answer(message=f"{what}: {'; '.join(lines) or 'no https listener'}", content={"shown": answers})


def _addresses(state: State, said: Address | None) -> Iterator[Address]:
    """Of all https listeners, or of the one that is meant. Raises OperatorError."""
    if said is not None and not isinstance(state.listeners.get(("tcp", said)), HttpsListener):
        raise OperatorError(f"address: there is no https listener at {said}")
    for listener in state.listeners.values():
        if isinstance(listener, HttpsListener) and said in (None, listener.address):
            yield listener.address


def shown_at(state: State, address: Address, name: str | None) -> Shown | None:
    """What a client of the listener at `address` is shown that asks for `name`, None if it names none."""
    host = "" if ipaddress.ip_address(address.host).is_unspecified else address.host
    return resolver_of(state, address).find(name, host)


def shown_document(state: State, address: Address, name: str | None) -> dict[str, Any]:
    """As `shown_at`, and why."""
    shown = shown_at(state, address, name)
    if shown is None:
        why = "refused with the alert unrecognized_name: no certificate is for this name, and there is no default"
        return {"listener": str(address), "certificates": [], "by": None, "why": why}
    fingerprints = {each.fingerprint for each in shown.certificates}
    records = [each for (at, digits), each in state.certificates.items() if at == address and digits in fingerprints]
    now = time.time()
    return {
        "listener": str(address),
        "certificates": [certificate_document(state, each, now) for each in records],
        "by": shown.why,
        "why": _said(shown, now),
    }


def _said(shown: Shown, now: float) -> str:
    named = " or ".join(_named(each, now) for each in shown.certificates)
    several = ", as the client can check" if len(shown.certificates) > 1 else ""
    return f"{named}{several}: {_WHY[shown.why]}"


def _named(certificate: Certificate, now: float) -> str:
    fault = ""
    if now > certificate.not_after:
        fault = " (which has expired)"
    elif now < certificate.not_before:
        fault = " (which is not valid yet)"
    return f"{certificate.key_kind} certificate {certificate.fingerprint[:12]}{fault}"


HANDLERS: Handlers = {"certificate list": _list, "certificate query": _query}
