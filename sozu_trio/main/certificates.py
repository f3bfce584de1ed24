"""Certificates that come as PEM, over the socket, in files or in a saved state.

What reads them is imported when there is one: `cryptography` makes every start of main 25 ms longer, and each of its
upgrades.
"""

from dataclasses import dataclass

from sozu_trio.config.certificates import Certificate


@dataclass(frozen=True, slots=True)
class Pem:
    """Reads PEM, as `control/certificates.py` wants it. A certificate takes a third of a millisecond."""

    now: float | None
    """Seconds since the epoch: a certificate that is not valid then is refused; None = none is."""

    def certificate(self, certificates: bytes, key: bytes) -> Certificate:
        """Raises BadCertificate."""
        from sozu_trio.tls.reading import read_certificate

        return read_certificate(certificates, key, self.now)

    def fingerprint(self, certificate: bytes) -> str:
        """Raises BadCertificate."""
        from sozu_trio.tls.reading import fingerprint_of

        return fingerprint_of(certificate)

    def authorities(self, certificates: bytes) -> str:
        """Raises BadCertificate."""
        from sozu_trio.tls.authorities import read_authorities

        return read_authorities(certificates)

    def trusted(self, certificates: bytes) -> str:
        """Raises BadCertificate."""
        from sozu_trio.tls.trusted import read_trusted

        return read_trusted(certificates)


ANY_TIME = Pem(None)
"""For what was acknowledged before: that a certificate has expired since is no reason to lose it."""
