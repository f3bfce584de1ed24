"""The Resolvers of a Table: of each https listener one, amended in slices by what has changed at its address."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet

from sozu_trio.config.addresses import Address
from sozu_trio.config.certificates import Certificate
from sozu_trio.config.listeners import HttpsListener
from sozu_trio.routing.delta import Delta
from sozu_trio.routing.resolver import NO_CERTIFICATES, Resolver
from sozu_trio.routing.slices import Pace, Sliced, batches
from sozu_trio.routing.state import State

AT_ONCE = 100
"""Certificates put between two yields. Each time the Resolver is copied, some 0.2 ms where it has 5,000."""
CERTIFICATE_UNITS = 8
LOOK_UNITS = 100
"""What it takes to look at a batch of certificates."""


def compile_resolvers(
    before: Mapping[Address, Resolver], state: State, delta: Delta, pace: Pace
) -> Sliced[Mapping[Address, Resolver]]:
    """Those of `state`, of which `delta` made it; `before` are those of the State before."""
    if not (delta.listeners or delta.gone_listeners or delta.certificates or delta.gone_certificates):
        return before
    addresses = {each.address for each in state.listeners.values() if isinstance(each, HttpsListener)}
    new = addresses - before.keys()
    resolvers = {address: before.get(address, NO_CERTIFICATES) for address in addresses}
    gone, put = _changed(delta, addresses - new)
    if new:
        yield from _all_of(state, new, put, pace)
    for address in dict.fromkeys([*gone, *put]):
        amending = _amend(resolvers[address], gone.get(address, set()), put.get(address, []), pace)
        resolvers[address] = yield from amending
    if gone or put:
        yield from _set_defaults(resolvers, state, {*gone, *put}, pace)
    return resolvers


def _changed(
    delta: Delta, addresses: AbstractSet[Address]
) -> tuple[dict[Address, set[str]], dict[Address, list[Certificate]]]:
    """What goes, be it only to be put again, and what is put, at `addresses`."""
    gone: dict[Address, set[str]] = {}
    put: dict[Address, list[Certificate]] = {}
    for address, fingerprint in delta.gone_certificates:
        if address in addresses:
            gone.setdefault(address, set()).add(fingerprint)
    for each in delta.certificates:
        if each.address in addresses:
            gone.setdefault(each.address, set()).add(each.certificate.fingerprint)
            put.setdefault(each.address, []).append(each.certificate)
    return gone, put


def _all_of(state: State, new: AbstractSet[Address], put: dict[Address, list[Certificate]], pace: Pace) -> Sliced[None]:
    for batch in batches(state.certificates.values()):
        for each in batch:
            if each.address in new:
                put.setdefault(each.address, []).append(each.certificate)
        if pace.spend(LOOK_UNITS):
            yield


def _amend(resolver: Resolver, gone: set[str], put: list[Certificate], pace: Pace) -> Sliced[Resolver]:
    fingerprints = list(gone)
    for start in range(0, len(fingerprints), AT_ONCE):
        resolver = resolver.amended(remove=fingerprints[start : start + AT_ONCE])
        if pace.spend(CERTIFICATE_UNITS * AT_ONCE):
            yield
    for start in range(0, len(put), AT_ONCE):
        resolver = resolver.amended(add=put[start : start + AT_ONCE])
        if pace.spend(CERTIFICATE_UNITS * AT_ONCE):
            yield
    return resolver


def _set_defaults(
    resolvers: dict[Address, Resolver], state: State, addresses: AbstractSet[Address], pace: Pace
) -> Sliced[None]:
    defaults: dict[Address, list[Certificate]] = {address: [] for address in addresses}
    for batch in batches(state.certificates.values()):
        for each in batch:
            if each.default and each.address in defaults:
                defaults[each.address].append(each.certificate)
        if pace.spend(LOOK_UNITS):
            yield
    for address, of_address in defaults.items():
        resolvers[address] = resolvers[address].with_default(*of_address)


def resolver_of(state: State, address: Address) -> Resolver:
    """The Resolver of one address in one go, for main, which is asked what is shown to whom."""
    of_address = [each for each in state.certificates.values() if each.address == address]
    resolver = NO_CERTIFICATES.amended(add=[each.certificate for each in of_address])
    return resolver.with_default(*(each.certificate for each in of_address if each.default))
