"""What the fields of a head mean: the only place where Host, Connection, Expect, Upgrade, TE and Max-Forwards are read.

Both the recogniser's and the judge's way end here. Each field is looked at once: it is kept for the next hop, set
apart as forwarding, or collected for the questions below. Which of the client's claims to believe is left to the
proxy.
"""

from typing import Final

from sozu_trio.config.plain_names import PLAIN
from sozu_trio.errors import RequestRefused
from sozu_trio.wire.authority import host_of, read_target
from sozu_trio.wire.field_lines import field_of, lines_without, name_of
from sozu_trio.wire.field_names import HOP_BY_HOP, LOWERED, NOT_AN_OPTION, ORDINARY, is_forwarding, is_lookalike
from sozu_trio.wire.framing import request_framing, response_framing
from sozu_trio.wire.heads import CHUNKED, CLOSE, NO_BODY, Field, Framing, Line, RequestHead, ResponseHead
from sozu_trio.wire.recognise import Request, Response

Special = dict[bytes, list[bytes]]
"""Lower-case name → values, of the fields that we read and do not pass on."""

READ_OF_REQUESTS = HOP_BY_HOP | {b"host", b"content-length", b"expect"}
READ_OF_RESPONSES = HOP_BY_HOP | {b"content-length"}
QUERY: Final = ord("?")
"""What begins one; as a number it is found faster."""
ONLY_ABOUT_US = HOP_BY_HOP | {b"close"}
"""Connection options that name no field which could still be there."""
ONE_OPTION = {
    spelling: frozenset((spelling.lower(),))
    for spelling in (b"keep-alive", b"Keep-Alive", b"close", b"Close", b"upgrade", b"Upgrade")
}
"""What nearly every list we read consists of, read beforehand."""


def understand_request(parts: Request) -> RequestHead:
    """Give a request its meaning. Raises RequestRefused: 400, 405, 417 or 501."""
    method, target, minor, lines, size = parts
    target, named = read_target(method, target)
    kept, forwarding, special, user_agent, unusual = _sort_request_lines(lines)
    authority, host = _read_host(named, special.pop(b"host", None), minor)
    framing, length, max_forwards = NO_BODY, -1, -1
    keep_alive, expects_continue, upgrade, te_trailers = minor == 1, False, b"", False
    # Most requests have little to say about themselves, and what is not there is not looked for one by one.
    if special:
        if b"content-length" in special or b"transfer-encoding" in special:
            framing, length = request_framing(special.get(b"content-length"), special.get(b"transfer-encoding"), minor)
        if (values := special.get(b"connection")) is not None:
            options = read_list(values)
            kept = kept if options <= ONLY_ABOUT_US else _without(kept, options)
            keep_alive = persists(options, minor)
            if b"upgrade" in special and b"upgrade" in options and minor == 1:
                upgrade = b", ".join(special[b"upgrade"])
        expects_continue = b"expect" in special and _expects_continue(special[b"expect"], minor, framing, length)
        te_trailers = b"te" in special and minor == 1 and b"trailers" in read_list(special[b"te"])
    if method == b"OPTIONS" or method == b"TRACE":
        kept, max_forwards = _take_max_forwards(kept)
    path = target[: target.index(QUERY)] if QUERY in target else target
    # In the order of the record: by keyword it would take 0.5 µs longer, a quarter of a small head.
    return RequestHead(
        method,
        target,
        authority,
        host,
        path,
        minor,
        kept,
        forwarding,
        framing,
        length,
        keep_alive,
        expects_continue,
        upgrade,
        te_trailers,
        user_agent,
        max_forwards,
        size,
        unusual,
    )


def understand_response(parts: Response, method: bytes) -> ResponseHead:
    """Give the response to a `method` request its meaning. Raises BadResponse."""
    minor, status, reason, lines, size = parts
    kept, special, unusual = _sort_response_lines(lines)
    never_a_body = status < 200 or status == 204
    codings = special.get(b"transfer-encoding")
    bodiless = never_a_body or status == 304 or method == b"HEAD"
    framing, length = response_framing(special.get(b"content-length"), codings, minor, bodiless=bodiless)
    keep_alive, upgrade = minor == 1, b""
    if (values := special.get(b"connection")) is not None:
        options = read_list(values)
        kept = kept if options <= ONLY_ABOUT_US else _without(kept, options)
        keep_alive = persists(options, minor)
        if b"upgrade" in special and b"upgrade" in options:
            upgrade = b", ".join(special[b"upgrade"])
    # Whoever declares a body where none can be may also send it; it must not be read as the next response.
    if framing is CLOSE or (never_a_body and (length > 0 or codings is not None)):
        keep_alive = False
    return ResponseHead(status, reason, minor, kept, framing, length, keep_alive, upgrade, size, unusual)


def persists(options: frozenset[bytes], minor: int) -> bool:
    """Whether the connection outlives the message (RFC 9112 §9.3); a gateway is no proxy (RFC 9110 §3.7)."""
    if b"close" in options:
        return False
    return minor == 1 or b"keep-alive" in options


def read_list(values: list[bytes]) -> frozenset[bytes]:
    """The elements of comma-separated lists in lower case, empty ones left out."""
    if len(values) == 1 and (known := ONE_OPTION.get(values[0])):
        return known
    return frozenset(element.strip(b" \t").lower() for value in values for element in value.split(b",")) - {b""}


def _sort_request_lines(lines: list[Line]) -> tuple[list[Line], list[Field], Special, bytes, bool]:
    """Lines to keep, forwarding fields, those we read, User-Agent, and whether a name that is kept is unusual."""
    kept: list[Line] = []
    forwarding: list[Field] = []
    special: Special = {}
    user_agent = b""
    unusual = False
    for line in lines:
        name, _, value = line.partition(b": ")  # `field_of`, without a call for each
        if name in ORDINARY:
            kept.append(line)
            continue
        name = LOWERED.get(name) or name.lower()
        if name in READ_OF_REQUESTS:
            if name in special:
                special[name].append(value)
            else:
                special[name] = [value]
        elif name == b"user-agent":
            user_agent = value
            kept.append(line)
        elif is_forwarding(name):
            forwarding.append((name, value))
        elif name.translate(PLAIN) == name or not is_lookalike(name):
            unusual = True
            kept.append(line)
    return kept, forwarding, special, user_agent, unusual


def _sort_response_lines(lines: list[Line]) -> tuple[list[Line], Special, bool]:
    # The loop of `_sort_request_lines` without what only requests have: one for both would ask that of every field.
    kept: list[Line] = []
    special: Special = {}
    unusual = False
    for line in lines:
        name, _, value = line.partition(b": ")
        if name in ORDINARY:
            kept.append(line)
            continue
        name = LOWERED.get(name) or name.lower()
        if name in READ_OF_RESPONSES:
            if name in special:
                special[name].append(value)
            else:
                special[name] = [value]
        else:
            unusual = True
            kept.append(line)
    return kept, special, unusual


def _read_host(named: bytes, values: list[bytes] | None, minor: int) -> tuple[bytes, bytes]:
    """Authority and host; `named` is the target's own authority, which wins over Host (RFC 9112 §3.2.2)."""
    if values is None:
        if minor == 1:
            raise RequestRefused(400, "no Host")
        return named, host_of(named) if named else b""
    if len(values) > 1:
        raise RequestRefused(400, "more than one Host")
    host = host_of(values[0])
    return (named, host_of(named)) if named else (values[0], host)


def _without(kept: list[Line], options: frozenset[bytes]) -> list[Line]:
    """The fields that Connection does not name (RFC 9110 §7.6.1)."""
    return [line for line in kept if (name := name_of(line)) not in options or name in NOT_AN_OPTION]


def _take_max_forwards(kept: list[Line]) -> tuple[list[Line], int]:
    """The fields without Max-Forwards, and its number; -1 where it is not one number (RFC 9110 §7.6.2)."""
    values = [field_of(line)[1] for line in kept if name_of(line) == b"max-forwards"]
    if len(values) != 1 or not values[0].isdigit() or len(values[0]) > 9:
        return kept, -1
    return lines_without(kept, b"max-forwards"), int(values[0])


def _expects_continue(values: list[bytes], minor: int, framing: Framing, length: int) -> bool:
    """Whether the client waits for 100. Raises RequestRefused (417) for any other expectation (RFC 9110 §10.1.1)."""
    if minor == 0:
        return False
    if read_list(values) != {b"100-continue"}:
        raise RequestRefused(417, "an expectation other than 100-continue")
    return framing is CHUNKED or length > 0
