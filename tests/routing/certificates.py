"""Certificates without cryptography: their PEM is a word, and everything else follows from it."""

from hashlib import sha256

from sozu_trio.config.certificates import Certificate
from sozu_trio.errors import BadCertificate


def digits(word: str) -> str:
    """The fingerprint of the certificate `word`."""
    return sha256(word.encode()).hexdigest()


def certificate(word: str, *, key: str = "KEY", not_after: int = 200, kind: str = "ecdsa") -> Certificate:
    """Of the host `word`.example, or the hosts before the first `+` of several: `a,b+2`."""
    names = tuple(f"{name}.example" for name in word.partition("+")[0].split(","))
    return Certificate(
        fingerprint=digits(word),
        names=names,
        addresses=(),
        not_before=100,
        not_after=not_after,
        key_kind="rsa" if kind == "rsa" else "ecdsa",
        subject=f"CN={names[0]}",
        issuer="CN=test",
        chain=word,
        key=key,
    )


class FakePem:
    """Reads such words. `bad` is what it refuses."""

    def certificate(self, certificates: bytes, key: bytes) -> Certificate:
        return certificate(self._word(certificates), key=key.decode())

    def fingerprint(self, certificate: bytes) -> str:
        return digits(self._word(certificate))

    def authorities(self, certificates: bytes) -> str:
        return f"{self._word(certificates)} read"

    def trusted(self, certificates: bytes) -> str:
        return self._word(certificates)

    def _word(self, text: bytes) -> str:
        word = text.decode().split()[0]
        if word == "bad":
            raise BadCertificate("it is bad")
        return word
