"""The fields that nobody but the proxy may say."""

from dataclasses import replace

from sozu_trio.config.addresses import Address
from sozu_trio.config.listeners import HttpListener, HttpsListener, Listener, TcpListener
from sozu_trio.config.tls_settings import TlsSettings
from sozu_trio.routing.client_fields import client_fields
from sozu_trio.routing.compile import compile_table
from sozu_trio.routing.state import declare

HERE, THERE = Address("127.0.0.1", 1), Address("127.0.0.1", 2)
SILENT = HttpsListener(address=HERE)
ASKING = replace(SILENT, tls=TlsSettings(client_auth="optional", client_ca="PEM"))
DEFAULT = {b"x-client-subject", b"x-client-san", b"x-client-fingerprint"}


def test_those_of_listeners_that_ask_for_certificates() -> None:
    others: list[Listener] = [HttpListener(address=HERE), TcpListener(address=HERE), SILENT]
    assert client_fields(others) == frozenset()
    assert client_fields([*others, ASKING]) == DEFAULT


def test_names_as_others_may_write_them() -> None:
    one = replace(ASKING, client_subject_header="X.WHO", client_san_header="")
    assert client_fields([one]) == {b"x-who", b"x-client-fingerprint"}
    assert client_fields([one, ASKING]) == DEFAULT | {b"x-who"}


def test_a_table_has_those_of_all_its_listeners() -> None:
    plain = HttpListener(address=THERE)
    assert compile_table(declare([plain, SILENT], [], [], [], []), 1).client_fields == frozenset()
    assert compile_table(declare([plain, ASKING], [], [], [], []), 1).client_fields == DEFAULT
