"""Contexts for TLS to backends: shared by those who say the same, made in slices, gone with the last one."""

import gc
import ssl

import pytest

from sozu_trio.config.backend_tls import BackendTls
from sozu_trio.config.tls_settings import TlsSettings
from sozu_trio.errors import HandshakeFailed
from sozu_trio.routing.resolver import NO_CERTIFICATES
from sozu_trio.routing.slices import finish
from sozu_trio.tls.client_contexts import AT_ONCE, ClientContexts, ClientTls, Session
from sozu_trio.tls.client_failures import WORDS
from sozu_trio.tls.contexts import ServerContexts
from tests.nursery.parts import tcp_pair
from tests.tls.parts import Issued, issue
from tests.tls.peers import shake_hands

ROOT = issue(common_name="root", authority=True, begin=0, end=4e9)
CA = ROOT.pem.decode()


def issued(*names: str) -> Issued:
    return issue(*names, by=ROOT, begin=0, end=4e9)


def server(*names: str) -> ServerContexts:
    return ServerContexts(TlsSettings(), NO_CERTIFICATES.with_default(issued(*names).read()))


def tls_of(contexts: ClientContexts, settings: BackendTls, *, http: bool = True) -> ClientTls:
    made = ClientTls(settings, contexts)
    finish(made.prepare(http=http))
    return made


def connect(
    tls: ClientTls, backend: ServerContexts, *, http: bool = True, session: Session | None = None
) -> ssl.SSLSocket:
    """Our end after the handshake; the other one has said a word, so that tickets have come, and gone."""
    theirs, ours = tcp_pair()
    theirs.setblocking(False)
    ours.setblocking(False)
    client = tls.wrap(ours, "127.0.0.1", http=http, session=session)
    peer = backend.wrap(theirs)
    with peer:
        try:
            shake_hands(client, peer)
        except BaseException:
            client.close()
            raise
        peer.send(b"x")
        assert client.recv(1) == b"x"
    return client


def test_those_that_say_the_same_share_one() -> None:
    contexts = ClientContexts(CA)
    first = tls_of(contexts, BackendTls(server_name="a.example"))
    for settings, same in (
        (BackendTls(), True),
        (BackendTls(fingerprint="ab" * 32), False),
        (BackendTls(ca=CA), False),
        (BackendTls(verify=False), False),
        (BackendTls(versions=("TLS_V13",)), False),
        (BackendTls(certificate=issued("ours").read()), False),
    ):
        assert (tls_of(contexts, settings)._made[True] is first._made[True]) is same


def test_it_goes_with_the_last_one_who_has_it() -> None:
    contexts = ClientContexts(CA)
    first, second = tls_of(contexts, BackendTls()), tls_of(contexts, BackendTls())
    assert len(contexts._contexts) == 1
    del first
    gc.collect()
    assert len(contexts._contexts) == 1
    del second
    gc.collect()
    assert len(contexts._contexts) == 0


def test_many_authorities_are_read_in_slices() -> None:
    many = "".join(issue(common_name=f"root {n}", authority=True).pem.decode() for n in range(2 * AT_ONCE + 1))
    tls = ClientTls(BackendTls(ca=many), ClientContexts())
    assert len(list(tls.prepare(http=True))) == 3
    assert len(tls._made[True].get_ca_certs()) == 2 * AT_ONCE + 1
    assert list(tls.prepare(http=True)) == []


@pytest.mark.parametrize("settings", [BackendTls(), BackendTls(ca=CA, server_name="a.example")])
def test_a_backend_that_is_good(settings: BackendTls) -> None:
    tls = tls_of(ClientContexts(CA), settings)
    with connect(tls, server("127.0.0.1", "a.example")) as client:
        tls.check(client)
        assert client.selected_alpn_protocol() == "http/1.1"


def test_who_names_a_certificate_trusts_it() -> None:
    """Be it that of the backend itself, which is no authority."""
    backend = issued("127.0.0.1")
    contexts = ServerContexts(TlsSettings(), NO_CERTIFICATES.with_default(backend.read()))
    connect(tls_of(ClientContexts(), BackendTls(ca=backend.pem.decode())), contexts).close()


def test_without_authorities_nobody_is_trusted() -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        connect(tls_of(ClientContexts(""), BackendTls()), server("127.0.0.1"))


def test_a_session_is_resumed_within_its_context_alone() -> None:
    contexts = ClientContexts(CA)
    backend, tls = server("127.0.0.1"), tls_of(contexts, BackendTls())
    with connect(tls, backend) as client:
        assert not client.session_reused
        assert client.session is not None
        session = Session(client.context, client.session)
    with connect(tls, backend, session=session) as client:
        assert client.session_reused
    finish(tls.prepare(http=False))
    with connect(tls, backend, http=False, session=session) as client:
        assert not client.session_reused
        assert client.selected_alpn_protocol() is None


def test_a_fingerprint_is_checked_also_where_a_session_is_resumed() -> None:
    backend, contexts = server("b.example"), ClientContexts()
    (pinned,) = backend.resolver.default
    good = tls_of(contexts, BackendTls(fingerprint=pinned.fingerprint))
    bad = tls_of(contexts, BackendTls(fingerprint="ab" * 32))
    with connect(good, backend) as client:
        good.check(client)
        assert client.session is not None
        session = Session(client.context, client.session)
    with connect(bad, backend, session=session) as client:
        assert client.session_reused
        with pytest.raises(HandshakeFailed) as failed:
            bad.check(client)
    assert (failed.value.kind, str(failed.value)) == (
        "fingerprint",
        f"{WORDS['fingerprint']}: {pinned.fingerprint}",
    )
