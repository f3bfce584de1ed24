"""Limits and deadlines that are not keys of their own, each with its unit and the reason for its value."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadLimits:
    """What a message head may take. Bytes, except `fields`."""

    head: int = 65536
    """Request line and fields together: 431 beyond. Chrome stops at 256 KiB, nginx at 32 KiB, Sōzu at one buffer of 16
    KiB.
    """
    request_line: int = 8192
    """414 beyond. RFC 9112 §3 asks for at least 8000."""
    fields: int = 100
    """431 beyond. As Apache; nginx has none, HAProxy 101."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlLimits:
    """What clients of the control socket may take. Seconds, unless said otherwise."""

    request: int = 2_000_000
    """Bytes of a request's line; the key is `max_command_buffer_size`."""
    clients: int = 64
    """Connected at once; one more is told so. They are programs and people of one machine. Those that may only look get
    half of the places.
    """
    reserved_clients: int = 4
    """Of these places for root and for the user the proxy runs as, so that whoever else is there, an operator gets in.
    """
    requests: int = 64
    """Of one client under way; while there are so many no further one is read."""
    replies: int = 16
    """Of one client waiting to be written; whoever has another one waits."""
    reply_bytes: int = 4_000_000
    """The same in bytes; the reply that reaches them is taken whole."""
    idle: float = 600
    """Without a request, and with none under way."""
    half_line: float = 30
    """From the first byte of a line to its last."""
    unread: float = 30
    """In which a client reads nothing of what is waiting for it."""
    large_request: int = 50_000
    """Bytes of a line from which it is read in a thread: 1 ms of a loop that others need, 100 ms for the largest."""
    readers: int = 2
    """Such threads at once; further large requests wait."""
    after_garbage: float = 0.01
    """From a line that is no request to the next: garbage at full speed would take the loop from the traffic."""


MAX_CONNECTIONS = 10_000
"""Client connections per worker where nobody says how many, and descriptors suffice."""
SPLICE_PIPES = 32
"""Pipes that a worker lends at once, two descriptors each; sessions without one copy."""
ARRAY_ITEMS = 1000
"""Elements of an array in the body of a request, a batch's changes apart: they are names, headers and networks."""
READ_SIZE = 65536
"""Bytes asked of a socket for a head and whatever body came with it."""
RELAY_SIZE = 262144
"""Bytes per read of a body that is copied: 4 ms of CPU per 10 MiB against 6 with 64 KiB (docs/performance.md)."""
MOST_READ = 524288
"""The same of a chunked body whose receiver takes all at once: 12 % less CPU per 10 MiB. So much may be held for one
that stops.
"""
MANY_PIECES = 256
"""Chunks in one read after which the next has READ_SIZE: to take 256 KiB of one byte each apart takes 50 ms."""
GATHER_FROM = 16384
"""Bytes that pieces have on average from which they are sent from where they are: below it to put them together is
cheaper.
"""
MOST_GATHERED = 1024
"""Pieces the kernel takes at once (UIO_MAXIOV)."""
SMALL_MESSAGE = 4096
"""Bytes of a message that may leave together with others: a socket has room for as many, whatever its buffer was set
to (tcp(7)), unless the one before is still on its way.
"""
READ_TOGETHER = 131072
"""Bytes that are read of all sockets of a pass of the loop before the first session goes on; the others read for
themselves. More would have left the cache by then: with 64 sockets of 64 KiB each, 5.7 ms of CPU against 2.5.
"""
VOLLEY_FROM = 5
"""Sessions of a pass of the loop from which their messages leave together: with fewer, each would come 0.1 ms later,
a quarter of the time it takes, for nothing.
"""
VOLLEY_MOST = 64
"""Messages that wait for each other: what else the pass has to do must not keep them for longer than some ms."""
SPLICE_FROM = 65536
"""Bytes still to come from which a body of known length is spliced: below it one read and one write are cheaper."""
HELD_BODY = 65536
"""Bytes of a request body kept so that the request may be replayed on another connection."""
CHUNK_LINE = 256
"""Bytes of a chunk-size line with its extensions (RFC 9112 §7.1.1 asks for a limit)."""
PAUSE = 10.0
"""Seconds that a client slower than `min_body_rate` is given: enough for a phone that changes cells."""
UNSENT = 1048576
"""Bytes the kernel takes for a client beyond what it may send at once. Without this limit a client that does not read
holds 4 MiB of the kernel's memory (measured), and a thousand of them bring all connections of the machine to a halt.
With a quarter of it, 10 MiB within TLS cost 12 % more CPU.
"""
LINGER = 2.0
"""Seconds a refused or early-answered client is read from after our FIN, so that no RST eats the answer (RFC 9112
§9.6).
"""
LINGER_BYTES = 1 << 20
"""Bytes thrown away in that time before the connection is cut."""
REFUSING_AT_ONCE = 256
"""Connections over `max_connections` that may linger after their 503; further ones are answered and closed at once."""
LAST_CALL = 1.0
"""Seconds from connecting to the first byte of a request where the listener stops: it may be on its way already."""
CONNECT_ATTEMPTS = 3
"""Backends tried for one request or TCP session, as in Sōzu."""
GOODBYE = 1.0
"""Seconds a shielded clean-up may take."""
TLS_CONTEXTS = 1024
"""OpenSSL contexts of a listener kept for certificates in use, 22 KiB each; another one takes 0.7 ms to make."""
TLS_WARNING_PAUSE = 10.0
"""Seconds between two warnings of a listener that descriptors or memory are missing for its certificates."""
HANDSHAKE = 60.0
"""Seconds from a client's first byte to the end of its TLS handshake, whatever the timeouts of the listener."""
IMMEDIATE_OPERATIONS = 32
"""Reads or writes that succeed at once before a session lets others run."""
EXHAUSTED_PAUSE = 0.1
"""Seconds without accepting after the kernel refused a descriptor or memory (as trio.serve_listeners)."""
LOG_LINES = 8192
"""Lines held for a slow log target; further ones are dropped and counted."""
LOG_FLUSH = 0.05
"""Seconds log lines are collected before they are written together."""
