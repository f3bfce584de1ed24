"""What a listener is: where it listens and how it treats those who come. Seconds, 0 = no limit."""

from dataclasses import dataclass, field
from typing import Literal

from sozu_trio.config.addresses import Address
from sozu_trio.config.hsts import Hsts
from sozu_trio.config.limits import HeadLimits
from sozu_trio.config.tls_settings import TlsSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Deadlines of a listener's sessions, in seconds; 0 switches one off."""

    front: float = 60
    """The client sends or takes nothing."""
    back: float = 30
    """The backend sends or takes nothing."""
    connect: float = 3
    """One attempt to connect to a backend."""
    request: float = 10
    """From the first byte of a request to the end of its head (http only)."""

    @property
    def tunnel(self) -> float:
        """A relay in which no byte moves in either direction: the longer of `front` and `back`; either off is off."""
        return max(self.front, self.back) if self.front and self.back else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpListener:
    """A plain HTTP listener."""

    address: Address
    public_address: Address | None = None
    expect_proxy: bool = False
    timeouts: Timeouts = field(default_factory=Timeouts)
    limits: HeadLimits = field(default_factory=HeadLimits)
    sozu_id_header: str = "Sozu-Id"
    elide_x_real_ip: bool = False
    send_x_real_ip: bool = False
    trusted_proxies: tuple[str, ...] = ()
    """Networks, such as `10.0.0.0/8`, whose X-Forwarded-*, Forwarded, X-Real-IP and X-Request-Id are believed."""
    upgrade_protocols: tuple[str, ...] = ("websocket",)
    """Lower case."""
    via: str = ""
    """Pseudonym for the Via field; empty = none is added."""
    active: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpListener:
    """A listener that relays bytes to one cluster."""

    address: Address
    public_address: Address | None = None
    expect_proxy: bool = False
    timeouts: Timeouts = field(default_factory=Timeouts)
    active: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpsListener(HttpListener):
    """HTTP within TLS. Its certificates are records of their own (`config/certificates.py`)."""

    tls: TlsSettings = field(default_factory=TlsSettings)
    strict_sni_binding: bool = True
    """A request for a host that the certificate of its connection is not for is answered 421."""
    hsts: Hsts | None = None
    """Of frontends that say nothing of it."""
    client_subject_header: str = "X-Client-Subject"
    """The field that tells a backend whom the certificate of the client is about; this and the next two: empty = none.
    """
    client_san_header: str = "X-Client-San"
    """Its alternative names."""
    client_fingerprint_header: str = "X-Client-Fingerprint"


Listener = HttpListener | HttpsListener | TcpListener


def protocol_of(listener: Listener) -> Literal["http", "https", "tcp"]:
    """What its clients speak, as the file says it."""
    if isinstance(listener, HttpsListener):
        return "https"
    return "http" if isinstance(listener, HttpListener) else "tcp"


def carried_by(listener: Listener) -> Literal["http", "tcp"]:
    """What frontends there and the clusters they lead to speak."""
    return "http" if isinstance(listener, HttpListener) else "tcp"
