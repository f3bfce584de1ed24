"""Certificates and workers change while clients of https come all the time, and none of them notices."""

import contextlib
import hashlib
import re
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.hashes import SHA256

from tests.e2e.clients import PATIENCE, get, read_wrk, receive_all, receive_until, start_wrk
from tests.e2e.control import Control, ctl_json, socket_of
from tests.e2e.parts import Nginx, Proxy, StartProxy, wait_until
from tests.e2e.secure import Authority, Coming, begin_websocket, coming, connect_tls, https_proxy, open_secure_websocket
from tests.e2e.servers import SlowAnswer, serving
from tests.e2e.websocket import serve_echo

PACE = 1 / 50
"""Seconds between two replacements."""
GROWTH = 8 << 20
"""Bytes of memory, in all processes, from when a third of the replacements was made."""


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


@pytest.fixture
def proxy(nginx: Nginx, start_proxy: StartProxy, authority: Authority) -> Proxy:
    nginx.files.joinpath("page").write_text("page" * 1000)
    files = authority.write("default", "localhost", "127.0.0.1")
    return start_proxy(https_proxy(nginx.port, files.lines, before="worker_count = 2"))


def shown(proxy: Proxy, authority: Authority) -> str:
    """What a new handshake gets to see."""
    with connect_tls(proxy.port, authority.context) as client:
        leaf = client.getpeercert(binary_form=True)
        assert leaf is not None
        return hashlib.sha256(leaf).hexdigest()


def serve_more(clients: Coming, count: int = 100) -> None:
    before = clients.done
    wait_until(lambda: clients.done > before + count or clients.failures)


def replacements(full_drill: bool) -> int:
    return 500 if full_drill else 100


@pytest.mark.drill
def test_a_certificate_is_replaced_fifty_times_a_second(
    proxy: Proxy, authority: Authority, tmp_path: Path, full_drill: bool
) -> None:
    address, url = f"127.0.0.1:{proxy.port}", f"https://127.0.0.1:{proxy.port}/page"
    (found,) = ctl_json(proxy, "certificate", "list")["certificates"]
    before = found["fingerprint"]
    made = [authority.issue("localhost", "127.0.0.1") for _ in range(replacements(full_drill))]
    seconds = int(len(made) * PACE) + 3
    closing = tmp_path / "closing.lua"
    closing.write_text('wrk.headers["Connection"] = "close"\n')
    staying = start_wrk(url, connections=4, seconds=seconds)
    coming_anew = start_wrk(url, connections=2, seconds=seconds, script=closing)
    sizes: list[int] = []
    looks = 0
    with (
        contextlib.closing(Control(socket_of(proxy))) as control,
        coming(proxy.port, authority.context, get("/page"), clients=2, pause=0.02) as clients,
    ):
        serve_more(clients)
        began = time.monotonic()
        for number, each in enumerate(made):
            due = began + (number + 1) * PACE
            body = {"new-certificate": each.pem.decode(), "new-key": each.key_pem.decode(), "fingerprint": before}
            control.ask("certificate replace", {"address": address, **body})
            before = each.certificate.fingerprint(SHA256()).hex()
            if number % 10 == 0 or time.monotonic() < due:
                assert shown(proxy, authority) == before
                looks += 1
            if number % 10 == 0:
                sizes.append(proxy.rss())
            time.sleep(max(0.0, due - time.monotonic()))
        took = time.monotonic() - began
        serve_more(clients)
    stayed, came = read_wrk(staying, seconds), read_wrk(coming_anew, seconds)
    warm, last = sizes[len(sizes) // 3], sizes[-1]
    print(
        f"\n{len(made)} certificates in {took:.1f} s, {looks} looked at before the next; {stayed.requests:,} requests"
    )
    print(f"on 4 connections, {came.requests:,} on new ones, {clients.done:,} by clients that look at all they get;")
    print(f"memory {warm >> 20} MiB after a third, {(last - warm) / (1 << 20):+.1f} since")
    assert clients.failures == []
    assert clients.closes == 0
    assert (stayed.errors, came.errors) == ([], [])
    assert last - warm < GROWTH
    (found,) = ctl_json(proxy, "certificate", "list")["certificates"]
    assert found["fingerprint"] == before
    assert not re.search(" ERROR (MAIN|WRK)", proxy.output())


def test_workers_are_upgraded_under_load(proxy: Proxy, authority: Authority) -> None:
    loading = start_wrk(f"https://127.0.0.1:{proxy.port}/page", connections=16, seconds=6)
    with coming(proxy.port, authority.context, get("/page")) as clients:
        for number in (0, 1, 0, 1):
            serve_more(clients)
            ctl_json(proxy, "upgrade", "--worker", str(number))
        serve_more(clients)
    assert clients.failures == []
    assert clients.closes > 0
    assert read_wrk(loading, 6).errors == []
    wait_until(lambda: ctl_json(proxy, "status")["leaving"] == [])
    assert not re.search(" ERROR (MAIN|WRK)| was cut: ", proxy.output())


def test_main_is_upgraded_under_load(proxy: Proxy, authority: Authority) -> None:
    with coming(proxy.port, authority.context, get("/page")) as clients:
        serve_more(clients)
        ctl_json(proxy, "upgrade")
        serve_more(clients)
    assert clients.failures == []


def test_what_cannot_move_ends_well_after_a_worker_s_upgrade(start_proxy: StartProxy, authority: Authority) -> None:
    """A response that runs, an idle connection, a tunnel."""
    slow, files = SlowAnswer(), authority.write("default", "localhost")
    with serving(slow) as backend, serving(serve_echo) as echo:
        lines = f"""
[clusters.echo]
protocol = "http"
frontends = [{{ address = "127.0.0.1:PORT", hostname = "*", path = "/echo" }}]
backends = [{{ address = "127.0.0.1:{echo}" }}]
"""
        config = https_proxy(backend, files.lines, before="worker_count = 1")
        port = re.findall(r'address = "127.0.0.1:(\d+)"', config)[0]
        proxy = start_proxy(config + lines.replace("PORT", port))
        with (
            connect_tls(proxy.port, authority.context) as running,
            connect_tls(proxy.port, authority.context) as idle,
            open_secure_websocket(proxy.port, authority.context, "/echo") as tunnel,
        ):
            running.sendall(get("/"))
            assert slow.asked.wait(PATIENCE)
            (done,) = ctl_json(proxy, "upgrade", "--worker", "0")["workers"]
            assert (done["moved"], done["left"]) == (0, 3)
            assert receive_all(idle) == b""
            slow.answer.set()
            answer = receive_until(running, b"slow")
            assert b"onnection: close" in answer
            assert receive_all(running) == b""
            tunnel.send_message("still here")
            assert tunnel.receive() == "still here"
            assert len(ctl_json(proxy, "status")["leaving"]) == 1
            tunnel.close(1000, "done")
            assert tunnel.receive() is None
            assert tunnel.ended()
        wait_until(lambda: ctl_json(proxy, "status")["leaving"] == [])


def test_what_is_cut_does_not_end_with_a_close_notify(start_proxy: StartProxy, authority: Authority) -> None:
    files = authority.write("default", "localhost")
    with serving(serve_echo) as echo:
        proxy = start_proxy(https_proxy(echo, files.lines))
        for cut in ("session", "backend"):
            with connect_tls(proxy.port, authority.context) as sock:
                tunnel = begin_websocket(sock)
                tunnel.send_message("hello")
                assert tunnel.receive() == "hello"
                if cut == "session":
                    (session,) = ctl_json(proxy, "session", "list")["sessions"]
                    ctl_json(proxy, "session", "kill", session["id"])
                else:
                    (backend,) = ctl_json(proxy, "backend", "list")["backends"]
                    ctl_json(proxy, "backend", "remove", "--id", "web", "--backend-id", backend["backend_id"], "--now")
                with pytest.raises(OSError, match=r"reset|EOF"):
                    sock.recv(1)
