"""How a connection within TLS may end, after its handshake, other than by close_notify."""


class Truncated(ConnectionResetError):
    """The peer's connection ended without a close_notify: what came may not be all it has said."""


class CertificateWanted(ConnectionResetError):
    """The server does not take our certificate, or wants one: in TLS 1.3 it says so when our handshake is over."""
