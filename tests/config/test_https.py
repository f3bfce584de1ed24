"""https listeners out of a file, and the files of their certificates."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sozu_trio.config.addresses import Address
from sozu_trio.config.certificates import CertificateFiles
from sozu_trio.config.hsts import Hsts
from sozu_trio.config.listeners import HttpListener, HttpsListener, Listener, TcpListener, carried_by, protocol_of
from sozu_trio.config.load import Config
from sozu_trio.config.tls_settings import TlsSettings

Problems = Callable[[str], list[str]]
Load = Callable[[str], Config]

HTTPS = "[[listeners]]\nprotocol = 'https'\naddress = '127.0.0.1:443'\n"
HTTP = "[[listeners]]\nprotocol = 'http'\naddress = '127.0.0.1:80'\n"
PAIR = "certificate = 'a.pem'\nkey = 'a.key'\n"
HERE = Address("127.0.0.1", 443)
NO_H2 = "listeners[0].alpn_protocols: h2 is not offered yet: HTTP/2 is not built"
BARE = "listeners[0]: no certificate: who connects is refused until `ctl certificate add` brings one"


def frontends(*tables: str) -> str:
    return f"[clusters.web]\nprotocol = 'http'\nfrontends = [{', '.join(tables)}]\n"


def frontend(more: str = "", port: int = 443) -> str:
    return f"{{ address = '127.0.0.1:{port}', hostname = '*'{', ' * bool(more)}{more} }}"


def test_a_listener_that_says_nothing_is_as_in_sozu(load: Load) -> None:
    config = load(HTTPS)
    assert config.listeners == (HttpsListener(address=HERE),)
    assert list(map(str, config.notices)) == [NO_H2, BARE]


def test_a_listener_that_says_everything(load: Load) -> None:
    keys = """
        front_timeout = 7
        alpn_protocols = ["http/1.1"]
        strict_sni_binding = false
        tls_versions = ["TLS_V12"]
        cipher_list = ["ECDHE-RSA-AES128-GCM-SHA256"]
        groups_list = ["P-256"]
        send_tls13_tickets = 0
        hsts = { enabled = true, max_age = 5 }
        """
    config = load(HTTPS + PAIR + keys)
    (listener,) = config.listeners
    assert isinstance(listener, HttpsListener)
    assert (listener.timeouts.front, listener.strict_sni_binding, listener.hsts) == (7, False, Hsts(max_age=5))
    assert listener.tls == TlsSettings(
        versions=("TLS_V12",), ciphers=("ECDHE-RSA-AES128-GCM-SHA256",), groups=("prime256v1",), tickets=0
    )
    assert config.notices == ()


def test_what_is_spoken_and_carried() -> None:
    address = Address("::1", 1)
    kinds: list[Listener] = [
        HttpListener(address=address),
        HttpsListener(address=address),
        TcpListener(address=address),
    ]
    assert list(map(protocol_of, kinds)) == ["http", "https", "tcp"]
    assert list(map(carried_by, kinds)) == ["http", "http", "tcp"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (HTTPS + "alpn_protocols = ['h2']", "listeners[0].alpn_protocols: found h2 alone; want http/1.1 as well"),
        (HTTPS + "tls_versions = []", "listeners[0].tls_versions: no version; want"),
        (HTTPS + "cipher_list = ['ROT13']", "listeners[0].cipher_list[0]: unknown cipher suite 'ROT13'"),
        (HTTPS + "send_tls13_tickets = 256", "listeners[0].send_tls13_tickets: found 256; want at most 255"),
        (HTTPS + "hsts = { max_age = 1 }", "listeners[0].hsts.enabled: missing; want true or false"),
        (HTTPS + "key = 'k'", "listeners[0].certificate: missing; want the path of a PEM file, as there is key"),
        (HTTPS + "certificate = 'c'", "listeners[0].key: missing; want the path of the certificate's private key"),
        (HTTPS + frontends(frontend("certificate_chain = 'c'")),
         "clusters.web.frontends[0].certificate: missing; want the path of a PEM file, as there is certificate_chain"),
        (HTTP + frontends(frontend("certificate = 'c', key = 'k'", 80)),
         "clusters.web.frontends[0].certificate: found 'c', and listeners[0] speaks http; want this key left out"),
        (HTTP + frontends(frontend("hsts = { enabled = false }", 80)),
         "clusters.web.frontends[0].hsts: found a table; want none: HSTS never goes out over plain HTTP"),
        (HTTPS + "[clusters.db]\nprotocol = 'tcp'\nfrontends = [{ address = '127.0.0.1:443' }]",
         "clusters.db.frontends[0].address: found '127.0.0.1:443', an https listener (listeners[0]); want one that"),
    ],
)  # fmt: skip
def test_refused(problems: Problems, text: str, problem: str) -> None:
    assert problems(text)[0].startswith(problem)


def test_certificates_of_listeners_and_frontends(load: Load, tmp_path: Path) -> None:
    own = "certificate = 'b.pem', key = '/keys/b', certificate_chain = 'chain'"
    config = load(HTTPS + PAIR + frontends(frontend(own), frontend(f"{own}, path = '/x'"), frontend("path = '/y'")))
    pem = tmp_path / "a.pem"
    assert config.certificates == (
        CertificateFiles(where="listeners[0]", address=HERE, certificate=pem, key=tmp_path / "a.key", default=True),
        CertificateFiles(
            where="clusters.web.frontends[0]",
            address=HERE,
            certificate=tmp_path / "b.pem",
            key=Path("/keys/b"),
            chain=tmp_path / "chain",
        ),
    )


def test_a_frontend_with_a_certificate_makes_an_https_listener(load: Load) -> None:
    config = load(frontends(frontend("certificate = 'c', key = 'k'"), frontend("path = '/x'"), frontend(port=80)))
    assert list(map(protocol_of, config.listeners)) == ["https", "http"]
    assert str(config.notices[0]) == (
        "clusters.web.frontends[0]: no listener at 127.0.0.1:443: a default https listener is created"
    )


def test_hsts_of_a_frontend(load: Load) -> None:
    config = load(HTTPS + frontends(frontend("hsts = { enabled = true, preload = true }")))
    assert config.http_frontends[0].hsts == Hsts(preload=True)


def test_a_redirect_is_the_clusters(load: Load) -> None:
    config = load("[clusters.web]\nprotocol = 'http'\nhttps_redirect = true\nhttps_redirect_port = 8443\n")
    (cluster,) = config.clusters
    assert (cluster.https_redirect, cluster.https_redirect_port) == (True, 8443)
    config = load("[clusters.db]\nprotocol = 'tcp'\nhttps_redirect = true\nhttps_redirect_port = 8443\n")
    (cluster,) = config.clusters
    assert (cluster.https_redirect, cluster.https_redirect_port) == (False, None)
