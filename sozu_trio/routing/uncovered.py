"""Names that clients asked for and that no certificate of their listener is for any more, since one that took the place
of another is for others.
"""

import functools
from collections.abc import Iterator, Sequence

from sozu_trio.config.addresses import Address
from sozu_trio.config.certificates import Certificate
from sozu_trio.config.report import Notice, place
from sozu_trio.routing.change_certificates import CertificateReplacement
from sozu_trio.routing.changes import Change
from sozu_trio.routing.resolver import wildcard_for
from sozu_trio.routing.state import State


def uncovered(before: State, after: State, changes: Sequence[Change]) -> Iterator[Notice]:
    """A notice for each of `changes`, which made `after` of `before`, that has lost names."""

    @functools.cache
    def names_at(address: Address) -> set[str]:
        """Names with a certificate now: there may be thousands, and as many changes."""
        at = (record.certificate for key, record in after.certificates.items() if key[0] == address)
        return {name for certificate in at for name in _names(certificate)}

    for change in changes:
        body = change.body
        if not isinstance(body, CertificateReplacement):
            continue
        old = before.certificates.get((body.address, body.fingerprint))
        if old is None:
            continue  # an earlier one of these changes has added it
        lost = _names(old.certificate) - _names(body.certificate)
        if lost:
            known = names_at(body.address)
            lost = {name for name in lost if name not in known and wildcard_for(name) not in known}
        if lost:
            yield Notice(
                "warning", place(change.where, "new-certificate"), f"no longer covered: {', '.join(sorted(lost))}"
            )


def _names(certificate: Certificate) -> set[str]:
    return {*certificate.names, *certificate.addresses}
