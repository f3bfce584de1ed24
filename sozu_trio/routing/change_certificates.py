"""Certificates of https listeners: added, removed, replaced. Whoever asks has read them; here they are records.

Adding one that is there changes nothing, or its chain and key, so that a program may say it again.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from sozu_trio.config.addresses import Address
from sozu_trio.config.certificates import Certificate, ListenerCertificate
from sozu_trio.config.listeners import HttpsListener, protocol_of
from sozu_trio.config.report import an
from sozu_trio.config.values import show
from sozu_trio.routing.draft import Draft
from sozu_trio.routing.refusal import Refusal, near_miss


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateAddition:
    """Of `certificate add`, with what was read."""

    address: Address
    certificate: Certificate
    default: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateReplacement:
    """Of `certificate replace`, with what was read; `key` is the option that said which one is meant."""

    address: Address
    certificate: Certificate
    fingerprint: str
    key: str = "fingerprint"


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateRemoval:
    """Of `certificate remove`; `key` is the option that said which one is meant."""

    address: Address
    fingerprint: str
    key: str = "fingerprint"


def add(draft: Draft, body: CertificateAddition) -> None:
    """Whether there is such a listener is judged when all changes of the transaction are made."""
    present = draft.certificates.get((body.address, body.certificate.fingerprint))
    default = body.default or (present is not None and present.default)
    _put(draft, ListenerCertificate(address=body.address, certificate=body.certificate, default=default))


def remove(draft: Draft, body: CertificateRemoval) -> None:
    """Raises Refusal where there is none."""
    _present(draft, body)
    draft.certificates.take((body.address, body.fingerprint))


def replace(draft: Draft, body: CertificateReplacement) -> None:
    """The new one is what the old one was, be it the default. Raises Refusal where there is no old one."""
    old = _present(draft, body)
    draft.certificates.take((body.address, body.fingerprint))
    add(draft, CertificateAddition(address=body.address, certificate=body.certificate, default=old.default))


def _put(draft: Draft, record: ListenerCertificate) -> None:
    draft.certificates.put((record.address, record.certificate.fingerprint), record)


def _present(draft: Draft, body: CertificateRemoval | CertificateReplacement) -> ListenerCertificate:
    found = draft.certificates.get((body.address, body.fingerprint))
    if found is not None:
        return found
    listener = draft.listeners.get(("tcp", body.address))
    if listener is not None and not isinstance(listener, HttpsListener):
        kind = an(protocol_of(listener))
        raise Refusal("address", f"found {show(body.address)}, {kind} listener; want an https listener")
    what = f"found {show(body.fingerprint)}; there is no such certificate at {body.address}"
    hint = partial(_near, draft, body)
    raise Refusal(body.key, what, ("certificate", (body.address, body.fingerprint)), hint)


def _near(draft: Draft, body: CertificateRemoval | CertificateReplacement) -> str:
    elsewhere = [str(address) for address, fingerprint in draft.certificates if fingerprint == body.fingerprint]
    if elsewhere:
        return f"; it is at {', '.join(sorted(elsewhere))}"
    return near_miss(body.fingerprint, _fingerprints_at(draft, body.address))


def _fingerprints_at(draft: Draft, address: Address) -> Iterator[str]:
    return (fingerprint for at, fingerprint in draft.certificates if at == address)


CHANGES: Mapping[str, Callable[[Draft, Any], None]] = {
    "certificate add": add,
    "certificate remove": remove,
    "certificate replace": replace,
}
