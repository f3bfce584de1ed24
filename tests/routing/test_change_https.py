"""Patching what only https listeners have, in the light of what they have already."""

from typing import Any

import pytest

from sozu_trio.config.addresses import Address
from sozu_trio.config.hsts import Hsts
from sozu_trio.config.listeners import HttpsListener
from sozu_trio.config.tls_settings import TlsSettings
from sozu_trio.routing.changes import apply_all
from sozu_trio.routing.state import EMPTY, State
from tests.routing.asked import attempt, carried_out, read

AT = {"address": "127.0.0.1:3"}
STATE = carried_out(
    EMPTY,
    [
        ("listener https add", {**AT, "tls-versions": ["TLS_V13"], "hsts-max-age": 5, "front-timeout": 7}),
        ("listener http add", {"address": "127.0.0.1:1"}),
        ("listener tcp add", {"address": "127.0.0.1:2"}),
    ],
)


def listener(state: State) -> HttpsListener:
    found = state.listeners["tcp", Address("127.0.0.1", 3)]
    assert isinstance(found, HttpsListener)
    return found


def updated(verb: str = "listener https update", **body: Any) -> HttpsListener:
    named = {name.replace("_", "-"): value for name, value in body.items()}
    return listener(apply_all(STATE, read((verb, {**AT, **named}))))


def test_a_new_one_is_inactive_and_has_what_was_said() -> None:
    found = listener(STATE)
    assert (found.active, found.timeouts.front, found.hsts) == (False, 7, Hsts(max_age=5))
    assert found.tls == TlsSettings(versions=("TLS_V13",))


@pytest.mark.parametrize("verb", ["listener https update", "listener update"])
def test_what_is_not_said_stays(verb: str) -> None:
    assert updated(verb) == listener(STATE)
    assert updated(verb, send_tls13_tickets=0).tls == TlsSettings(versions=("TLS_V13",), tickets=0)
    assert updated(verb, hsts_preload=True).hsts == Hsts(preload=True)
    assert updated(verb, strict_sni_binding=False).strict_sni_binding is False
    assert updated(verb, max_fields=7).limits.fields == 7
    assert updated(verb, tls_versions=["TLS_V12", "TLS_V13"], groups_list=["P-256"]).tls == TlsSettings(
        groups=("prime256v1",)
    )
    assert updated(verb, alpn_protocols=[]).tls.alpn == ()
    assert updated(verb, reset_alpn=True).tls.alpn == ("http/1.1",)


def test_what_does_not_go_with_what_it_has() -> None:
    """Its suites were chosen for TLS 1.3 alone."""
    only = apply_all(STATE, read(("listener https update", {**AT, "tls-cipher-list": []})))
    refused = attempt(only, read(("listener https update", {**AT, "tls-versions": ["TLS_V12"]})))
    assert isinstance(refused, list)
    assert str(refused[0]).startswith("changes[0].tls-cipher-list: no suite for TLS 1.2 is left")


def test_a_fault_within_an_array_is_told_where_it_is() -> None:
    refused = attempt(STATE, read(("listener https update", {**AT, "tls-cipher-list": ["AES"]})))
    assert isinstance(refused, list)
    assert str(refused[0]).startswith("changes[0].tls-cipher-list[0]: unknown cipher suite 'AES'")


def test_certificates_of_clients_are_asked_for_and_no_more() -> None:
    asking = {"client-auth": "required", "client-ca": "one"}
    state = apply_all(STATE, read(("listener https update", {**AT, **asking, "client-san-header": ""})))
    assert (listener(state).tls.client_auth, listener(state).tls.client_ca) == ("required", "one read")
    assert listener(state).client_san_header == ""
    for body, found in (
        ({"client-auth": "optional"}, ("optional", "one read")),
        ({"client-ca": "two"}, ("required", "two read")),
        ({"send-tls13-tickets": 0}, ("required", "one read")),
        ({"client-auth": "none"}, ("none", "")),
    ):
        tls = listener(apply_all(state, read(("listener update", {**AT, **body})))).tls
        assert (tls.client_auth, tls.client_ca) == found


@pytest.mark.parametrize("verb", ["listener https update", "listener update"])
@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({"client-auth": "optional"},
         "changes[0].client-ca: missing; want a PEM file of the authorities that sign certificates of clients, as "
         "client-auth is 'optional'"),
        ({"client-ca": "one"},
         "changes[0].client-ca: found authorities, which do nothing alone; want client-auth 'optional' or 'required'"),
        ({"client-auth": "required", "client-ca": "one", "client-san-header": "X-CLIENT-SUBJECT"},
         "changes[0].client-san-header: found 'X-CLIENT-SUBJECT', which is client-subject-header as well; want another "
         "name"),
        ({"client-auth": "required", "client-ca": "one", "sozu-id-header": "X-Client-San"},
         "changes[0].client-san-header: found 'X-Client-San', which is sozu-id-header as well; want another name"),
    ],
)  # fmt: skip
def test_certificates_of_clients_that_do_not_fit(verb: str, body: dict[str, Any], problem: str) -> None:
    refused = attempt(STATE, read((verb, {**AT, **body})))
    assert isinstance(refused, list)
    assert list(map(str, refused)) == [problem]


@pytest.mark.parametrize(
    ("verb", "body", "problem"),
    [
        ("listener update", {"address": "127.0.0.1:1", "hsts-max-age": 1, "reset-alpn": True},
         "changes[0].reset-alpn: 127.0.0.1:1 is an http listener, which has no reset-alpn and no hsts-max-age"),
        ("listener update", {"address": "127.0.0.1:2", "strict-sni-binding": True, "via": "x"},
         "changes[0].via: 127.0.0.1:2 is a tcp listener, which has no via and no strict-sni-binding"),
        ("listener update", {"address": "127.0.0.1:1", "client-auth": "optional", "client-ca": "one"},
         "changes[0].client-auth: 127.0.0.1:1 is an http listener, which has no client-auth and no client-ca"),
        ("listener https update", {"address": "127.0.0.1:1"},
         "changes[0].address: found '127.0.0.1:1', an http listener; want an https listener"),
        ("listener http update", AT,
         "changes[0].address: found '127.0.0.1:3', an https listener; want an http listener"),
        ("listener tcp update", AT,
         "changes[0].address: found '127.0.0.1:3', an https listener; want a tcp listener"),
        ("listener https add", AT,
         "changes[0].address: exists: an https listener at 127.0.0.1:3; update it, or remove it first"),
    ],
)  # fmt: skip
def test_refused(verb: str, body: dict[str, Any], problem: str) -> None:
    refused = attempt(STATE, read((verb, body)))
    assert isinstance(refused, list)
    assert list(map(str, refused)) == [problem]
