"""Certificates are renewed as certbot does it, while clients come all the time: nobody reloads, and nobody notices."""

import hashlib
import os
import re
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.hashes import SHA256

from tests.e2e.clients import get
from tests.e2e.control import ctl_json
from tests.e2e.parts import Nginx, Proxy, StartProxy, wait_until
from tests.e2e.secure import Authority, Coming, coming, connect_tls, https_proxy
from tests.tls.parts import Issued

INTERVAL = 0.2
"""Seconds between two looks."""


class Live:
    """`live/` with links to `archive/`, which certbot swaps one after the other."""

    def __init__(self, folder: Path) -> None:
        self.live, self.archive = folder / "live", folder / "archive"
        self.live.mkdir(parents=True)
        self.archive.mkdir()
        self._number = 0

    @property
    def lines(self) -> str:
        return (
            f'certificate = "{self.live}/cert.pem"\nkey = "{self.live}/privkey.pem"\n'
            f'certificate_chain = "{self.live}/chain.pem"'
        )

    def renew(self, issued: Issued, *, pause: float = 0) -> str:
        """Returns the fingerprint. `pause`: seconds between certificate and key."""
        self._number += 1
        self._swap("chain", b"".join(each.pem for each in issued.issuers))
        self._swap("cert", issued.pem)
        time.sleep(pause)
        self._swap("privkey", issued.key_pem)
        return issued.certificate.fingerprint(SHA256()).hex()

    def _swap(self, kind: str, pem: bytes) -> None:
        file = self.archive / f"{kind}{self._number}.pem"
        file.write_bytes(pem)
        link = self.live / f"{kind}.pem"
        new = link.with_suffix(".new")
        new.symlink_to(os.path.relpath(file, self.live))
        new.replace(link)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


@pytest.fixture
def live(tmp_path: Path, authority: Authority) -> Live:
    live = Live(tmp_path / "letsencrypt")
    live.renew(authority.issue("localhost"))
    return live


@pytest.fixture
def proxy(nginx: Nginx, start_proxy: StartProxy, live: Live) -> Proxy:
    nginx.files.joinpath("page").write_text("page" * 1000)
    before = f"worker_count = 2\ncertificate_check_interval = {INTERVAL}"
    return start_proxy(https_proxy(nginx.port, live.lines, before=before))


def shown(proxy: Proxy, authority: Authority) -> str:
    """What a new handshake gets to see."""
    with connect_tls(proxy.port, authority.context) as client:
        leaf = client.getpeercert(binary_form=True)
        assert leaf is not None
        return hashlib.sha256(leaf).hexdigest()


def see(proxy: Proxy, authority: Authority, fingerprint: str) -> None:
    wait_until(lambda: shown(proxy, authority) == fingerprint)


def serve_more(clients: Coming, count: int = 50) -> None:
    before = clients.done
    wait_until(lambda: clients.done > before + count or clients.failures)


def test_a_renewal_needs_nobody(proxy: Proxy, authority: Authority, live: Live) -> None:
    renewed = ""
    with coming(proxy.port, authority.context, get("/page")) as clients:
        for pause in (0, 5 * INTERVAL, 0):
            serve_more(clients)
            renewed = live.renew(authority.issue("localhost"), pause=pause)
            see(proxy, authority, renewed)
        serve_more(clients)
    assert clients.failures == []
    assert clients.closes == 0
    generations = ctl_json(proxy, "history")["generations"]
    assert [each["process"] for each in generations] == ["watch"] * 3 + [None]
    assert all(each["what"] == f"renewed: {live.live}/cert.pem" for each in generations[:3])
    (certificate,) = ctl_json(proxy, "certificate", "list")["certificates"]
    assert (certificate["fingerprint"], certificate["origin"]) == (renewed, "file")
    assert "the private key does not fit" in proxy.output()
    assert ctl_json(proxy, "plan")["difference"] is False


def test_the_next_image_of_main_watches_on(proxy: Proxy, authority: Authority, live: Live) -> None:
    with coming(proxy.port, authority.context, get("/page")) as clients:
        serve_more(clients)
        first = live.renew(authority.issue("localhost"))
        ctl_json(proxy, "upgrade")
        see(proxy, authority, first)
        second = live.renew(authority.issue("localhost"))
        see(proxy, authority, second)
    assert clients.failures == []
    assert not re.search(" ERROR (MAIN|WRK)", proxy.output())


def test_files_may_be_left_to_a_reload(proxy: Proxy, authority: Authority, live: Live) -> None:
    before = shown(proxy, authority)
    file = proxy.file
    file.write_text(file.read_text().replace(f"interval = {INTERVAL}", "interval = 0"))
    ctl_json(proxy, "reload")
    renewed = live.renew(authority.issue("localhost"))
    time.sleep(5 * INTERVAL)
    assert shown(proxy, authority) == before
    ctl_json(proxy, "reload")
    assert shown(proxy, authority) == renewed
