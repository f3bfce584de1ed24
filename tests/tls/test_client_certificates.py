"""Certificates of clients, as a listener asks for them: nobody gets round it, by no name and by no session."""

import contextlib
import ssl
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from sozu_trio.config.tls_settings import TlsSettings
from sozu_trio.config.values import ClientAuth
from sozu_trio.errors import HandshakeFailed
from sozu_trio.routing.resolver import NO_CERTIFICATES, Resolver
from sozu_trio.tls.authorities import read_authorities
from sozu_trio.tls.contexts import ServerContexts, ServerSocket
from sozu_trio.tls.failures import handshake_failed
from sozu_trio.tls.identity import client_identity
from tests.tls.parts import Issued, issue
from tests.tls.peers import client_context, client_with, connect

DAY = 86400
VERSIONS = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)
NAMES = {"exact": "a.example", "wildcard": "b.wild.example", "unknown": "unknown.test", "none": None}


def issued(common_name: str, **how: Any) -> Issued:
    """OpenSSL goes by the real clock."""
    times = {"begin": time.time() - DAY, "end": time.time() + DAY, **how}
    return issue(common_name=common_name, **times)


AUTHORITY = issued("clients", authority=True)
MIDDLE = issued("middle", authority=True, by=AUTHORITY)
STRANGER = issued("strangers", authority=True)
GOOD = issued("good", by=AUTHORITY)
EXPIRED = issued("expired", by=AUTHORITY, end=time.time() - 10)
EARLY = issued("early", by=AUTHORITY, begin=time.time() + 1000)
WRONG = issued("wrong", by=STRANGER)
HERSELF = issued("herself")
SERVER = issued("server", by=AUTHORITY, extensions=[x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])])
BAD = {
    "expired": (EXPIRED, "certificate has expired"),
    "early": (EARLY, "certificate is not yet valid"),
    "wrong": (WRONG, "unable to get local issuer certificate"),
    "by itself": (HERSELF, "self-signed certificate"),
    "a server's": (SERVER, "unsuitable certificate purpose"),
}


def shown_to_all() -> Resolver:
    whole = NO_CERTIFICATES.amended(add=[issue("a.example").read(), issue("*.wild.example").read()])
    return whole.with_default(issue("default.example").read())


RESOLVER = shown_to_all()


def asking(client_auth: ClientAuth, *authorities: Issued) -> TlsSettings:
    text = b"".join(each.pem for each in authorities or [AUTHORITY])
    return TlsSettings(client_auth=client_auth, client_ca=read_authorities(text))


def contexts(client_auth: ClientAuth, *authorities: Issued) -> ServerContexts:
    return ServerContexts(asking(client_auth, *authorities), RESOLVER)


@contextlib.contextmanager
def served(
    made: ServerContexts, context: ssl.SSLContext, name: str | None = "a.example", session: ssl.SSLSession | None = None
) -> Iterator[tuple[ssl.SSLSocket, ServerSocket]]:
    """Both ends after a handshake. Raises HandshakeFailed, as it is logged, where it fails."""
    try:
        client, server = connect(made, name, context=context, session=session)
    except OSError as error:
        raise handshake_failed(error) from error
    with client, server:
        yield client, server


def subject_served(made: ServerContexts, context: ssl.SSLContext, name: str | None = "a.example") -> str | None:
    required = made.settings.client_auth == "required"
    with served(made, context, name) as (_, server):
        identity = client_identity(server, required=required, now=time.time())
        return None if identity is None else identity.subject


def nobody(version: ssl.TLSVersion) -> ssl.SSLContext:
    context = client_context()
    context.minimum_version = context.maximum_version = version
    return context


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_no_name_gets_round_it(name: str | None, version: ssl.TLSVersion) -> None:
    made = contexts("required")
    assert subject_served(made, client_with(GOOD, version), name) == "CN=good"
    with pytest.raises(HandshakeFailed, match="the other side has shown no certificate"):
        subject_served(made, nobody(version), name)
    with pytest.raises(HandshakeFailed, match="unable to get local issuer certificate"):
        subject_served(made, client_with(WRONG, version), name)
    made = contexts("optional")
    assert subject_served(made, client_with(GOOD, version), name) == "CN=good"
    assert subject_served(made, nobody(version), name) is None
    with pytest.raises(HandshakeFailed, match="unable to get local issuer certificate"):
        subject_served(made, client_with(WRONG, version), name)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("client_auth", ["optional", "required"])
@pytest.mark.parametrize(("bad", "why"), BAD.values(), ids=BAD)
def test_a_bad_one_is_refused_and_the_log_says_why(
    bad: Issued, why: str, client_auth: ClientAuth, version: ssl.TLSVersion
) -> None:
    with pytest.raises(HandshakeFailed) as caught:
        subject_served(contexts(client_auth), client_with(bad, version))
    assert caught.value.kind == "invalid_certificate"
    assert str(caught.value) == f"TLS handshake: the certificate of the other side is not good ({why})"


def test_who_asks_for_none_is_shown_none() -> None:
    made = ServerContexts(TlsSettings(), RESOLVER)
    for context in (client_with(WRONG), client_context()):
        assert subject_served(made, context) is None


def test_authorities_are_trusted_each_by_itself() -> None:
    under = issued("under", by=MIDDLE)
    for trusted in (AUTHORITY, MIDDLE):
        assert subject_served(contexts("required", trusted), client_with(under)) == "CN=under"
    with pytest.raises(HandshakeFailed):
        subject_served(contexts("required", MIDDLE), client_with(GOOD))
    both = contexts("required", STRANGER, AUTHORITY)
    assert [subject_served(both, client_with(each)) for each in (GOOD, WRONG)] == ["CN=good", "CN=wrong"]


def session_of(made: ServerContexts, context: ssl.SSLContext) -> ssl.SSLSession:
    with served(made, context) as (client, server):
        server.send(b"hello")
        assert client.recv(100) == b"hello"
        assert client.session is not None
        return client.session


@pytest.mark.parametrize("version", VERSIONS)
def test_who_resumes_a_session_is_still_known(version: ssl.TLSVersion) -> None:
    made, context = contexts("required"), client_with(GOOD, version)
    session = session_of(made, context)
    for name in ("a.example", "b.wild.example", "unknown.test"):
        with served(made, context, name, session) as (_, server):
            identity = client_identity(server, required=True, now=time.time())
            assert identity is not None
            assert identity.subject == "CN=good"
            resumed = server.session_reused
        if name == "a.example":
            assert resumed


@pytest.mark.parametrize("version", VERSIONS)
def test_a_session_is_not_resumed_once_its_certificate_has_expired(version: ssl.TLSVersion) -> None:
    made, context = contexts("optional"), client_with(GOOD, version)
    with served(made, context, session=session_of(made, context)) as (_, server):
        assert server.session_reused
        with pytest.raises(HandshakeFailed, match="it has expired since its session began"):
            client_identity(server, required=False, now=time.time() + 2 * DAY)


@pytest.mark.parametrize("version", VERSIONS)
def test_sessions_are_void_once_a_certificate_of_one_of_them_has_expired(version: ssl.TLSVersion) -> None:
    made, context, now = contexts("required"), client_with(GOOD, version), time.time()

    def is_resumed(session: ssl.SSLSession) -> bool:
        with served(made, context, session=session) as (_, server):
            return bool(server.session_reused)

    session = session_of(made, context)
    for not_after in (now + 20, now + 10, now + 30):
        made.remember(not_after)
    made.forget_expired(now + 9)
    assert is_resumed(session)
    made.forget_expired(now + 11)
    assert not is_resumed(session)
    made.remember(now + 11.1)
    session = session_of(made, context)
    made.forget_expired(now + 11.5)  # Too soon after the last time.
    assert is_resumed(session)
    made.forget_expired(now + 12)
    assert not is_resumed(session)
    session = session_of(made, context)
    made.forget_expired(now + 1000)
    assert is_resumed(session)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    "after", [asking("required", STRANGER), asking("optional", STRANGER), asking("required", AUTHORITY, STRANGER)]
)
def test_no_session_is_resumed_past_other_authorities(after: TlsSettings, version: ssl.TLSVersion) -> None:
    made, context = contexts("required"), client_with(GOOD, version)
    session = session_of(made, context)
    made.change(after)
    if after == asking("required", AUTHORITY, STRANGER):
        with served(made, context, session=session) as (_, server):
            assert not server.session_reused
        return
    with (
        pytest.raises(HandshakeFailed, match="unable to get local issuer certificate"),
        served(made, context, session=session),
    ):
        pass


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("before", ["none", "optional"])
def test_no_session_without_a_certificate_is_resumed_where_one_is_required(
    before: ClientAuth, version: ssl.TLSVersion
) -> None:
    made, context = ServerContexts(TlsSettings(), RESOLVER), nobody(version)
    if before == "optional":
        made = contexts("optional")
    session = session_of(made, context)
    made.change(asking("required"))
    with pytest.raises(HandshakeFailed) as caught, served(made, context, session=session):
        pass
    assert caught.value.kind == "no_certificate"


def test_a_listener_whose_authorities_are_not_read_yet_lets_nobody_in() -> None:
    made = ServerContexts(replace(asking("required"), client_ca=""), RESOLVER)
    with pytest.raises(HandshakeFailed):
        subject_served(made, client_with(GOOD))
