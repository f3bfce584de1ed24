"""What clients get to see: the certificate for the name they ask for, of a kind they can check, as it is now."""

import errno
import logging
import os
import socket
import ssl
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.serialization import PrivateFormat

from sozu_trio.config.certificates import Certificate
from sozu_trio.config.tls_settings import TlsSettings
from sozu_trio.proxy.stream import RESET_ON_CLOSE
from sozu_trio.routing.resolver import NO_CERTIFICATES, Resolver
from sozu_trio.tls.contexts import ServerContexts, ServerSocket, certificate_context
from tests.descriptors import open_descriptors
from tests.nursery.parts import tcp_pair
from tests.tls.parts import authorities, issue, key_of_kind, rsa_key
from tests.tls.peers import ask_openssl, client_context, connect, fingerprint_shown

ROOT, MIDDLE = authorities("root", "middle")
ECDSA = issue("a.example", "192.0.2.1", common_name="ecdsa", by=MIDDLE).read()
RSA = issue("a.example", common_name="rsa", by=MIDDLE, key=rsa_key()).read()
WILD = issue("*.example", common_name="wild", by=MIDDLE).read()
OTHER = issue("other.test", common_name="other", by=MIDDLE).read()
RSA_ONLY = ("-sigalgs", "RSA-PSS+SHA256:RSA+SHA256")


def resolver(*certificates: Certificate, default: Certificate | None = None) -> Resolver:
    whole = NO_CERTIFICATES.amended(add=certificates)
    return whole.with_default(default) if default else whole


def contexts(*certificates: Certificate, settings: TlsSettings | None = None, most: int = 10) -> ServerContexts:
    return ServerContexts(settings or TlsSettings(), resolver(*certificates), most)


def test_each_name_has_its_certificate() -> None:
    made = contexts(ECDSA, WILD, OTHER)
    assert fingerprint_shown(made, "a.example") == ECDSA.fingerprint
    assert fingerprint_shown(made, "B.example") == WILD.fingerprint
    assert fingerprint_shown(made, "other.test") == OTHER.fingerprint
    assert fingerprint_shown(made, None, "192.0.2.1") == ECDSA.fingerprint


@pytest.mark.parametrize("name", ["unknown.test", None])
def test_without_a_default_a_client_is_refused_by_name(name: str | None) -> None:
    made = contexts(ECDSA)
    text, served = ask_openssl(made, *(["-servername", name] if name else ["-noservername"]))
    assert "tlsv1 unrecognized name" in text
    assert served is None
    assert fingerprint_shown(made, "a.example") == ECDSA.fingerprint


@pytest.mark.parametrize("name", ["unknown.test", None])
def test_the_default(name: str | None) -> None:
    made = ServerContexts(TlsSettings(), resolver(ECDSA, default=OTHER))
    assert fingerprint_shown(made, name) == OTHER.fingerprint


def test_the_socket_tells_what_was_asked_and_shown() -> None:
    client, server = connect(contexts(WILD), "B.example")
    with client, server:
        assert server.server_name == "B.example"
        assert server.shown is not None
        assert (server.shown.why, server.shown.certificates) == ("wildcard", (WILD,))


@pytest.mark.parametrize(
    ("options", "subject"),
    [
        ([], "ecdsa"),
        (RSA_ONLY, "rsa"),
        (["-sigalgs", "ECDSA+SHA256"], "ecdsa"),
        (["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"], "rsa"),
        (["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256"], "ecdsa"),
    ],
)
@pytest.mark.parametrize("order", [[ECDSA, RSA], [RSA, ECDSA]], ids=["ecdsa first", "rsa first"])
def test_the_client_s_abilities_choose_the_kind_of_key(
    options: list[str], subject: str, order: list[Certificate]
) -> None:
    text, _ = ask_openssl(contexts(*order), "-servername", "a.example", *options, "-showcerts")
    assert f"subject=CN = {subject}" in text
    assert " 1 s:CN = middle" in text  # Each has its own chain.


@pytest.mark.parametrize("kind", ["rsa 3072", "ed25519"])
def test_other_kinds_of_keys(kind: str) -> None:
    made = issue("a.example", key=key_of_kind(kind) if kind == "ed25519" else rsa_key(3072)).read()
    assert fingerprint_shown(contexts(made), "a.example") == made.fingerprint


def test_versions() -> None:
    for version, ours, others in (("TLS_V12", "TLSv1.2", "-tls1_3"), ("TLS_V13", "TLSv1.3", "-tls1_2")):
        made = contexts(ECDSA, settings=TlsSettings(versions=(version,)))  # type: ignore[arg-type]
        client, server = connect(made, "a.example")
        with client, server:
            assert server.version() == ours
        text, served = ask_openssl(made, "-servername", "a.example", others)
        assert "alert protocol version" in text
        assert served is None


def test_ciphers_of_tls_1_2_in_the_server_s_order() -> None:
    ciphers = ("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384")
    made = contexts(ECDSA, settings=TlsSettings(ciphers=ciphers))
    theirs = ":".join(reversed(ciphers))
    text, _ = ask_openssl(made, "-servername", "a.example", "-tls1_2", "-cipher", theirs)
    assert f"Cipher is {ciphers[0]}" in text
    text, _ = ask_openssl(made, "-servername", "a.example", "-tls1_2", "-cipher", "ECDHE-ECDSA-CHACHA20-POLY1305")
    assert "alert handshake failure" in text


def test_one_group() -> None:
    made = contexts(ECDSA, settings=TlsSettings(groups=("secp384r1",)))
    text, _ = ask_openssl(made, "-servername", "a.example")
    assert "Server Temp Key: ECDH, secp384r1, 384 bits" in text
    text, _ = ask_openssl(made, "-servername", "a.example", "-groups", "X25519")
    assert "alert handshake failure" in text


def test_alpn() -> None:
    made = contexts(ECDSA)
    text, _ = ask_openssl(made, "-servername", "a.example", "-alpn", "h2,http/1.1")
    assert "ALPN protocol: http/1.1" in text
    for unknown in ("h2", "gopher"):
        text, served = ask_openssl(made, "-servername", "a.example", "-alpn", unknown)
        assert "No ALPN negotiated" in text
        assert served is not None


@pytest.mark.parametrize("tickets", [0, 1, 4])
def test_tickets(tickets: int) -> None:
    made = contexts(ECDSA, settings=TlsSettings(tickets=tickets))

    def end(server: ServerSocket) -> None:
        server.sendall(b"hello")
        server.shutdown(socket.SHUT_WR)

    text, _ = ask_openssl(made, "-servername", "a.example", "-ign_eof", then=end)
    assert text.count("Post-Handshake New Session Ticket arrived") == tickets


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_sessions_are_resumed_over_changes_of_certificates_and_alpn(version: ssl.TLSVersion) -> None:
    made = contexts(ECDSA)
    context = client_context()
    context.maximum_version = version
    client, server = connect(made, "a.example", context=context)
    with client, server:
        server.send(b"hello")
        assert client.recv(100) == b"hello"
        session = client.session
    made.resolver = resolver(WILD)
    made.change(TlsSettings(alpn=()))
    client, server = connect(made, "a.example", context=context, session=session)
    with client, server:
        assert client.session_reused
        assert server.session_reused
    made.change(TlsSettings(tickets=1))
    client, server = connect(made, "a.example", context=context, session=session)
    with client, server:
        assert not server.session_reused


def test_a_cipher_that_was_removed_is_resumed_by_nobody() -> None:
    made = contexts(ECDSA)
    context = client_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    client, server = connect(made, "a.example", context=context)
    with client, server:
        server.send(b"hello")
        assert client.recv(100) == b"hello"
        session, before = client.session, server.cipher()
    ciphers = ("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384")
    kept = next(cipher for cipher in ciphers if before is not None and cipher != before[0])
    made.change(TlsSettings(ciphers=(kept,)))
    client, server = connect(made, "a.example", context=context, session=session)
    with client, server:
        after = server.cipher()
        assert not server.session_reused
        assert after is not None
        assert after[0] == kept


def test_settings_change_for_those_who_come_later() -> None:
    made = contexts(ECDSA)
    assert fingerprint_shown(made, "a.example") == ECDSA.fingerprint
    made.change(TlsSettings(versions=("TLS_V12",), alpn=("x",)))
    client, server = connect(made, "a.example")
    with client, server:
        assert server.version() == "TLSv1.2"


def test_a_new_certificate_is_seen_by_every_new_handshake() -> None:
    made = contexts(ECDSA)
    assert fingerprint_shown(made, "a.example") == ECDSA.fingerprint
    old_client, old_server = connect(made, "a.example")
    renewed = issue("a.example", by=MIDDLE).read()
    made.follow(made.resolver.amended(remove=[ECDSA.fingerprint], add=[renewed]))
    assert fingerprint_shown(made, "a.example") == renewed.fingerprint
    with old_client, old_server:
        old_client.send(b"still here")
        assert old_server.recv(100) == b"still here"


def test_contexts_outlive_a_change_that_is_not_theirs() -> None:
    made = contexts(ECDSA, WILD)
    fingerprint_shown(made, "a.example")
    made.follow(made.resolver.amended(remove=[WILD.fingerprint], add=[OTHER]))
    fingerprint_shown(made, "a.example")
    assert made.made == 1


@pytest.mark.parametrize("as_default", [False, True])
def test_another_chain_under_the_same_leaf_is_shown_at_once(as_default: bool) -> None:
    shorter = replace(ECDSA, chain=ECDSA.chain[: ECDSA.chain.index("-----END") + 26])
    made = ServerContexts(TlsSettings(), resolver(default=ECDSA) if as_default else resolver(ECDSA))
    text, _ = ask_openssl(made, "-servername", "a.example", "-showcerts")
    assert " 1 s:CN = middle" in text
    before = made.resolver.amended(remove=[ECDSA.fingerprint])
    made.follow(before.with_default(shorter) if as_default else before.amended(add=[shorter]))
    text, _ = ask_openssl(made, "-servername", "a.example", "-showcerts")
    assert " 0 s:CN = ecdsa" in text
    assert " 1 s:CN = middle" not in text


def test_a_context_is_made_once_and_the_least_used_is_let_go() -> None:
    made = contexts(ECDSA, WILD, OTHER, most=2)
    for _ in range(3):
        fingerprint_shown(made, "a.example")
    assert made.made == 1
    fingerprint_shown(made, "b.example")
    fingerprint_shown(made, "c.example")
    fingerprint_shown(made, "a.example")
    assert made.made == 2
    fingerprint_shown(made, "other.test")  # lets go of that for *.example
    fingerprint_shown(made, "a.example")
    assert made.made == 3
    fingerprint_shown(made, "b.example")
    assert made.made == 4


def test_what_openssl_does_not_take_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    broken = replace(ECDSA, key=RSA.key)
    made = contexts(broken)
    for _ in range(2):
        text, served = ask_openssl(made, "-servername", "a.example")
        assert "alert internal error" in text
        assert served is None
    assert len(caplog.records) == 1
    assert caplog.records[0].levelno == logging.ERROR
    assert f"OpenSSL does not take the certificate {ECDSA.fingerprint}: " in caplog.text
    assert "PRIVATE" not in caplog.text


def test_a_want_of_descriptors_is_warned_of_once_and_passes(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    made = contexts(ECDSA)
    with monkeypatch.context() as patch:
        patch.setattr(os, "memfd_create", full)
        for _ in range(3):
            with pytest.raises(ssl.SSLError, match="callback failed"):
                connect(made, "a.example")
    assert [(each.levelno, each.exc_info) for each in caplog.records] == [(logging.WARNING, None)]
    assert "Too many open files" in caplog.text
    assert fingerprint_shown(made, "a.example") == ECDSA.fingerprint


def test_a_fault_of_ours_ends_the_handshake_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    made = contexts(ECDSA)
    made.resolver = None  # type: ignore[assignment]
    text, _ = ask_openssl(made, "-servername", "a.example")
    assert "alert internal error" in text
    assert "no certificate could be chosen for 'a.example'" in caplog.text


def test_a_key_with_a_passphrase_is_refused_and_not_asked_for() -> None:
    issued = issue("a.example")
    locked = replace(issued.read(), key=issued.key_in(PrivateFormat.PKCS8, b"secret").decode())
    with pytest.raises(ssl.SSLError):
        certificate_context(TlsSettings(), [locked])


def test_no_descriptor_is_left() -> None:
    before = open_descriptors()
    for _ in range(5):
        certificate_context(TlsSettings(), [ECDSA, RSA])
    assert open_descriptors() == before


def test_a_connection_that_is_gone_before_the_handshake() -> None:
    peer, ours = tcp_pair()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
    peer.close()
    with ours:
        with pytest.raises(OSError, match="not connected"):
            contexts(ECDSA).wrap(ours)
        assert ours.fileno() >= 0
