"""Responses of our own: a small page that says what happened, and the id to look for in the log."""

from http import HTTPStatus

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{status} {phrase}</title></head>
<body><h1>{status} {phrase}</h1><p>{text}</p><p><small>request {request_id}</small></p></body></html>
"""

ALLOW = "Allow: GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH"

TEXTS = {
    301: "This page is served over https.",
    400: "The request could not be understood.",
    401: "This address is not open to you.",
    404: "Nothing is served at this address.",
    405: "This method is not allowed here.",
    408: "The request took too long to arrive.",
    413: "The content of the request is too large.",
    414: "The address in the request is too long.",
    417: "The expectation in the request cannot be met.",
    421: "This connection is not for the host in the request; a new one may be.",
    429: "Too much is asked for at once, or too often, from your address.",
    431: "The request's header fields are too large.",
    501: "The request asks for something that is not implemented.",
    502: "The server behind this proxy gave no valid answer.",
    503: "No server is available behind this proxy, or it has too much to do.",
    504: "The server behind this proxy took too long to answer.",
    505: "This version of HTTP is not supported.",
}


def answer(
    status: int,
    request_id: str,
    *,
    close: bool,
    keep_alive_1_0: bool = False,
    head_only: bool = False,
    retry_after: int = 0,
    id_field: str = "Sozu-Id",
    location: str = "",
    hsts: str = "",
) -> bytes:
    """A whole response. `retry_after` in seconds, 0 = none; `location`: where to go instead, latin-1, empty = nowhere;
    `hsts`: the value of Strict-Transport-Security, empty = none.

    `head_only` leaves the body out but not its length (RFC 9110 §9.3.2).
    """
    phrase = HTTPStatus(status).phrase
    page = PAGE.format(status=status, phrase=phrase, text=TEXTS.get(status, phrase), request_id=request_id).encode()
    lines = [
        f"HTTP/1.1 {status} {phrase}",
        "Content-Type: text/html; charset=utf-8",
        f"Content-Length: {len(page)}",
        "Cache-Control: no-store",
        f"{id_field}: {request_id}",
    ]
    if location:
        lines.append(f"Location: {location}")
    if hsts:
        lines.append(f"Strict-Transport-Security: {hsts}")
    if retry_after:
        lines.append(f"Retry-After: {retry_after}")
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        lines.append(ALLOW)
    lines += _connection(close=close, keep_alive_1_0=keep_alive_1_0)
    head = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
    return head if head_only else head + page


def options_answer(
    request_id: str, id_field: str, *, close: bool, keep_alive_1_0: bool = False, hsts: str = ""
) -> bytes:
    """The answer to an OPTIONS that stops here (Max-Forwards: 0, RFC 9110 §7.6.2)."""
    lines = ["HTTP/1.1 200 OK", "Content-Length: 0", ALLOW, f"{id_field}: {request_id}"]
    if hsts:
        lines.append(f"Strict-Transport-Security: {hsts}")
    lines += _connection(close=close, keep_alive_1_0=keep_alive_1_0)
    return "\r\n".join([*lines, "", ""]).encode()


def _connection(*, close: bool, keep_alive_1_0: bool) -> list[str]:
    if close:
        return ["Connection: close"]
    return ["Connection: keep-alive"] if keep_alive_1_0 else []
