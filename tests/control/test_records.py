"""Records as people read them, and what nobody reads."""

import hashlib
import json
import re
from dataclasses import fields

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given, settings
from hypothesis import strategies as st

from sozu_trio.config import schema
from sozu_trio.config.addresses import Address
from sozu_trio.config.backend_tls import BackendTls
from sozu_trio.config.clusters import Backend, Cluster, HttpFrontend, TcpFrontend
from sozu_trio.config.listeners import HttpListener, HttpsListener, TcpListener, Timeouts
from sozu_trio.config.program import Settings
from sozu_trio.config.tls_settings import TlsSettings
from sozu_trio.control.records import Origin, Record, document_of, origin_of, redacted, shortened, without_pem
from sozu_trio.routing.state import EMPTY, declare, with_declared
from tests.control.states import BACKENDS, CLUSTERS, HTTP_FRONTENDS, HTTP_LISTENERS, SETTINGS, TCP_LISTENERS
from tests.tls.parts import authorities, issue

WEB, MAIL = Address("127.0.0.1", 80), Address("::1", 25)


def test_a_listener_in_full() -> None:
    assert document_of(HttpListener(address=WEB, timeouts=Timeouts(front=5), trusted_proxies=("10.0.0.0/8",))) == {
        "protocol": "http",
        "address": "127.0.0.1:80",
        "public_address": None,
        "expect_proxy": False,
        "front_timeout": 5,
        "back_timeout": 30,
        "connect_timeout": 3,
        "request_timeout": 10,
        "max_head_size": 65536,
        "max_request_line": 8192,
        "max_fields": 100,
        "sozu_id_header": "Sozu-Id",
        "elide_x_real_ip": False,
        "send_x_real_ip": False,
        "trusted_proxies": ["10.0.0.0/8"],
        "upgrade_protocols": ["websocket"],
        "via": "",
        "active": True,
    }


@settings(max_examples=60, deadline=None)
@given(HTTP_LISTENERS | TCP_LISTENERS | CLUSTERS | HTTP_FRONTENDS | BACKENDS | SETTINGS)
def test_every_document_is_json(record: Record | Settings) -> None:
    document = document_of(record)
    assert json.loads(json.dumps(document)) == document


def test_of_tls_people_see_no_pem_and_dumps_no_key() -> None:
    issued = issue("proxy.example")
    tls = BackendTls(server_name="a.example", ca=issued.pem.decode(), certificate=issued.read())
    document = document_of(Cluster(cluster_id="api", tls=tls))
    assert document["tls"]["key"] == issued.key_pem.decode()
    assert redacted(document)["tls"] == {**document["tls"], "key": "(redacted)"}
    assert without_pem(document)["tls"] == {
        "server_name": "a.example",
        "ca": f"1 authority ({hashlib.sha256(issued.pem).hexdigest()[:12]})",
        "certificate": issued.certificate.fingerprint(SHA256()).hex(),
        "verify": True,
        "tls_versions": ["TLS_V12", "TLS_V13"],
    }
    assert without_pem(document_of(Cluster(cluster_id="api"))) == document_of(Cluster(cluster_id="api"))


OURS = {"cluster_id", "active"}
"""Members that are no keys: the name of a table in the file, and what `activate_listeners` says there."""


@pytest.mark.parametrize(
    ("record", "table"),
    [
        (HttpListener(address=WEB), schema.ListenerTable),
        (HttpsListener(address=WEB), schema.ListenerTable),
        (TcpListener(address=MAIL), schema.ListenerTable),
        (Cluster(cluster_id="api"), schema.ClusterTable),
        (HttpFrontend(address=WEB, hostname="*"), schema.FrontendTable),
        (TcpFrontend(address=MAIL, cluster_id="api"), schema.FrontendTable),
        (Backend(cluster_id="api", backend_id="1", address=WEB), schema.BackendTable),
        (Settings(), schema.FileTable),
    ],
)
def test_members_are_the_keys_of_the_file(record: Record | Settings, table: type) -> None:
    assert document_of(record).keys() - OURS <= {each.name for each in fields(table)}


def test_authorities_are_counted_and_told_apart() -> None:
    one, two = (each.pem.decode() for each in authorities("one", "two"))

    def shown(text: str) -> str:
        document = document_of(HttpsListener(address=WEB, tls=TlsSettings(client_auth="required", client_ca=text)))
        assert document["client_ca"] == text
        short: str = shortened(document)["client_ca"]
        return short

    assert re.fullmatch(r"1 authority \([0-9a-f]{12}\)", shown(one))
    assert re.fullmatch(r"2 authorities \([0-9a-f]{12}\)", shown(one + two))
    assert len({shown(one), shown(two), shown(one + two)}) == 3
    assert shown("") == ""


def test_authorities_of_backends_are_counted_as_well() -> None:
    text = "".join(each.pem.decode() for each in authorities("one", "two"))
    tls = {"server_name": "a.example", "verify": True, "tls_versions": ["TLS_V12", "TLS_V13"]}
    document = document_of(Cluster(cluster_id="api", tls=BackendTls(server_name="a.example", ca=text)))
    assert document["tls"] == {**tls, "ca": text}
    short = shortened(document)["tls"]
    assert re.fullmatch(r"2 authorities \([0-9a-f]{12}\)", short.pop("ca"))
    assert short == tls


def test_a_document_belongs_to_who_asked_for_it() -> None:
    frontend = TcpFrontend(address=WEB, cluster_id="api", tags={"a": "b"})
    document_of(frontend)["tags"]["a"] = "c"
    assert frontend.tags == {"a": "b"}


LISTENER, CLUSTER = HttpListener(address=WEB), Cluster(cluster_id="api")
RULE = HttpFrontend(address=WEB, hostname="example.com")
TCP, BACKEND = TcpFrontend(address=MAIL, cluster_id="api"), Backend(cluster_id="api", backend_id="1", address=WEB)
DECLARED = declare([LISTENER], [CLUSTER], [RULE], [TCP], [BACKEND])


@pytest.mark.parametrize("record", [LISTENER, CLUSTER, RULE, TCP, BACKEND], ids=lambda record: type(record).__name__)
def test_origin(record: Record) -> None:
    def origin(declared: bool) -> Origin:
        return origin_of(record, with_declared(DECLARED, DECLARED if declared else EMPTY))

    assert (origin(True), origin(False)) == ("file", "socket")


def test_origin_goes_by_key() -> None:
    state = with_declared(EMPTY, DECLARED)
    assert origin_of(HttpFrontend(address=WEB, hostname="EXAMPLE.com.", cluster_id="api"), state) == "file"
    assert origin_of(TcpListener(address=WEB), state) == "file"
    assert origin_of(Backend(cluster_id="other", backend_id="1", address=WEB), state) == "socket"


def test_secrets_are_redacted_at_any_depth() -> None:
    body = {
        "id": "api",
        "authorized-hash": ["user:1"],
        "changes": [{"key": "PEM", "address": "a"}, ("b", {"password": "c"})],
        "nested": {"new_key": {"deep": 1}},
        "tags": {"key": "mine", "password": "no secret, it stands in every access log"},
    }
    assert redacted(body) == {
        "id": "api",
        "authorized-hash": "(redacted)",
        "changes": [{"key": "(redacted)", "address": "a"}, ["b", {"password": "(redacted)"}]],
        "nested": {"new_key": "(redacted)"},
        "tags": body["tags"],
    }


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["id", "address", "weight"]), st.integers() | st.text() | st.none()))
def test_what_is_no_secret_stays(body: dict[str, object]) -> None:
    assert redacted(body) == body
