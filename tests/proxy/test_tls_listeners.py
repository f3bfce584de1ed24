"""Contexts of https listeners over the swaps of Tables."""

from sozu_trio.config.addresses import Address
from sozu_trio.config.certificates import ListenerCertificate
from sozu_trio.config.listeners import HttpListener, HttpsListener, Listener
from sozu_trio.config.tls_settings import TlsSettings
from sozu_trio.proxy.tls_listeners import TlsListeners
from sozu_trio.routing.compile import compile_table
from sozu_trio.routing.state import EMPTY, State, certificate_key, listener_key
from sozu_trio.routing.table import Table
from tests.tls.parts import Issued, issue
from tests.tls.peers import connect, fingerprint_shown

HERE = Address("127.0.0.1", 443)
LISTENER = HttpsListener(address=HERE)
FIRST, SECOND = issue("a.example"), issue("a.example")


def table(listener: Listener | None, *certificates: Issued) -> Table:
    records = [ListenerCertificate(address=HERE, certificate=each.read()) for each in certificates]
    state = State(
        {} if listener is None else {listener_key(listener): listener},
        EMPTY.clusters,
        EMPTY.http_frontends,
        EMPTY.tcp_frontends,
        EMPTY.backends,
        {certificate_key(each): each for each in records},
        EMPTY.settings,
        None,
    )
    return compile_table(state, 1)


def test_they_are_kept_and_show_what_is_in_force() -> None:
    listeners = TlsListeners()
    made = listeners.contexts(LISTENER, table(LISTENER, FIRST))
    assert fingerprint_shown(made, "a.example") == FIRST.read().fingerprint
    after = table(LISTENER, SECOND)
    listeners.follow(after)
    assert listeners.contexts(LISTENER, after) is made
    assert fingerprint_shown(made, "a.example") == SECOND.read().fingerprint


def test_settings_that_change_are_followed() -> None:
    listeners = TlsListeners()
    made = listeners.contexts(LISTENER, table(LISTENER, FIRST))
    other = HttpsListener(address=HERE, tls=TlsSettings(versions=("TLS_V12",)))
    listeners.follow(table(other, FIRST))
    client, server = connect(made, "a.example")
    with client, server:
        assert server.version() == "TLSv1.2"


def test_a_listener_that_is_gone_or_speaks_no_tls_any_more_is_forgotten() -> None:
    for after in (None, HttpListener(address=HERE)):
        listeners = TlsListeners()
        before = table(LISTENER, FIRST)
        made = listeners.contexts(LISTENER, before)
        listeners.follow(table(after))
        listeners.follow(before)
        assert listeners.contexts(LISTENER, before) is not made


def test_of_a_listener_that_was_removed_before_its_first_client_spoke_nothing_is_kept() -> None:
    listeners = TlsListeners()
    late = listeners.contexts(LISTENER, table(None))
    assert listeners.contexts(LISTENER, table(LISTENER, FIRST)) is not late
