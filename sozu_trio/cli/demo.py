"""What `serve` without a file serves: HTTP on 127.0.0.1:8080 and HTTPS on 127.0.0.1:8443 before two small h11 servers
that show each request as it reached them.
"""

import html
import json
import shlex
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import h11
import trio

from sozu_trio.cli.demo_certificate import DemoCertificate, authority_file, open_demo_certificate
from sozu_trio.config.load import Config, parse_config

ADDRESS = "127.0.0.1:8080"
SECURE_ADDRESS = "127.0.0.1:8443"
AUTHORITY = "authority.pem"
"""In the runtime directory."""

CONFIG = """
worker_count = 1
access_logs_target = "stdout"

[[listeners]]
protocol = "http"
address = "{address}"

[[listeners]]
protocol = "https"
address = "{secure_address}"
certificate = "{certificate}"
key = "{certificate}"
alpn_protocols = ["http/1.1"]

[clusters.demo]
protocol = "http"
frontends = [
  {{ address = "{address}", hostname = "*" }},
  {{ address = "{secure_address}", hostname = "*" }},
]
backends = [
  {{ address = "127.0.0.1:{ports[0]}", backend_id = "demo-1" }},
  {{ address = "127.0.0.1:{ports[1]}", backend_id = "demo-2" }},
]
"""

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>sozu_trio</title>
<style>body{{font:16px/1.5 system-ui;max-width:46em;margin:3em auto;padding:0 1em}}
pre{{background:#f4f4f4;padding:1em;overflow:auto}}</style>
</head><body><h1>sozu_trio works</h1>
<p>This page was made by <b>{name}</b>, one of two demo backends. Reload it: the other one answers.</p>
<p>Your request, as the backend received it:</p><pre>{request}</pre></body></html>
"""

WELCOME = """No configuration file: serving a demonstration with two backends of its own. Try

  curl http://{address}/                            a page, also for a browser
  curl http://{address}/hello -d 'some text'        the request as the backend received it, as JSON
  curl http://{address}/hello -H 'X-Mine: 1'        twice: the backends take turns
  curl 'http://{address}/slow?5'                    an answer that takes 5 s; stop the proxy meanwhile
  curl --cacert {authority} https://{secure}/   the same by HTTPS

It can be changed while it serves: scripts/ctl --help; from this folder it finds this proxy.
With a file of your own: scripts/run -c FILE (docs/getting-started.md). Ctrl-C stops softly, twice at once.

"""

LONGEST_DELAY = 60


def welcome(authority: Path) -> str:
    """What there is to try. `authority`: the file of what its certificate was signed with."""
    port = SECURE_ADDRESS.rpartition(":")[2]
    return WELCOME.format(address=ADDRESS, secure=f"localhost:{port}", authority=shlex.quote(str(authority)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Demonstration:
    """What is served, once its backends run."""

    config: Config
    certificate: DemoCertificate

    def greet(self, stack: AsyncExitStack) -> str:
        """The welcome, once it is served: the file that it names is there until `stack` ends. Raises OperatorError."""
        path = self.config.program.runtime_directory / AUTHORITY
        stack.enter_context(authority_file(path, self.certificate.authority))
        return welcome(path)


@asynccontextmanager
async def open_demonstration() -> AsyncIterator[Demonstration]:
    """Its backends and its certificate are there while the body runs."""
    with open_demo_certificate() as certificate:
        async with open_demo_backends() as ports:
            yield Demonstration(config=demo_config(ports, certificate.file), certificate=certificate)


def demo_config(ports: tuple[int, int], certificate: Path) -> Config:
    """The embedded configuration, with the demo backends' ports and the file of certificate and key filled in."""
    text = CONFIG.format(address=ADDRESS, secure_address=SECURE_ADDRESS, certificate=certificate, ports=ports)
    return parse_config(text, "embedded configuration", Path.cwd())


@asynccontextmanager
async def open_demo_backends() -> AsyncIterator[tuple[int, int]]:
    """Two backends on ports the kernel chose, while the body runs."""
    async with trio.open_nursery() as nursery:
        ports = []
        for name in ("demo-1", "demo-2"):
            listeners = await nursery.start(partial(trio.serve_tcp, partial(serve_demo, name), 0, host="127.0.0.1"))
            ports.append(listeners[0].socket.getsockname()[1])
        yield ports[0], ports[1]
        nursery.cancel_scope.cancel(reason="the demonstration is over")


async def serve_demo(name: str, stream: trio.abc.Stream) -> None:
    """One connection of a demo backend."""
    connection = h11.Connection(h11.SERVER)
    try:
        while (request := await _next_event(stream, connection)).__class__ is h11.Request:
            body = b""
            while isinstance(event := await _next_event(stream, connection), h11.Data):
                body += event.data if len(body) < 65536 else b""
            await _respond(name, stream, connection, request, body)
            if connection.our_state is not h11.DONE:
                return
            connection.start_next_cycle()
    except (h11.ProtocolError, trio.BrokenResourceError):
        # Also a local one: whoever comes here directly may ask for what cannot be answered so, such as CONNECT.
        return


async def _next_event(stream: trio.abc.Stream, connection: h11.Connection) -> h11.Event:
    while (event := connection.next_event()) is h11.NEED_DATA:
        if connection.they_are_waiting_for_100_continue:
            go_ahead = h11.InformationalResponse(status_code=100, reason=b"Continue", headers=[])
            await stream.send_all(connection.send(go_ahead) or b"")
        connection.receive_data(bytes(await stream.receive_some(65536)))
    assert isinstance(event, h11.Event)
    return event


async def _respond(
    name: str, stream: trio.abc.Stream, connection: h11.Connection, request: h11.Event, body: bytes
) -> None:
    assert isinstance(request, h11.Request)
    target = request.target.decode("latin-1")
    if target.startswith("/slow?"):
        await trio.sleep(min(float(target[6:]), LONGEST_DELAY) if target[6:].isdigit() else 1)
    kind, page = _page(name, request, body)
    response = h11.Response(
        status_code=200,
        reason=b"OK",
        headers=[("Content-Type", kind), ("Content-Length", str(len(page))), ("X-Demo-Backend", name)],
    )
    data = connection.send(response) or b""
    if request.method != b"HEAD":
        data += connection.send(h11.Data(data=page)) or b""
    await stream.send_all(data + (connection.send(h11.EndOfMessage()) or b""))


def _page(name: str, request: h11.Request, body: bytes) -> tuple[str, bytes]:
    head = request.method.decode(), request.target.decode("latin-1")
    fields = [f"{field.decode('latin-1')}: {value.decode('latin-1')}" for field, value in request.headers.raw_items()]
    if head[1] == "/":
        lines = "\n".join([" ".join(head), *fields])
        return "text/html; charset=utf-8", PAGE.format(name=name, request=html.escape(lines)).encode()
    shown = {"backend": name, "method": head[0], "target": head[1], "fields": fields, "body": body.decode("latin-1")}
    return "application/json", json.dumps(shown, indent=2).encode() + b"\n"
