"""Verbs and the keys of their bodies."""

import pytest

from sozu_trio.config import schema, unbuilt
from sozu_trio.config.bodies import HttpListenerBody
from sozu_trio.config.structure import hyphened, keys_of
from sozu_trio.config.verbs import BODIES


def test_every_verb_that_is_not_built_has_a_body_all_the_same() -> None:
    assert unbuilt.VERBS.keys() < BODIES.keys()


def test_verbs_are_words_of_ctl() -> None:
    assert all(verb == " ".join(verb.lower().split()) for verb in BODIES)


@pytest.mark.parametrize("verb", ["listener http add", "listener http update"])
def test_an_http_listener_has_the_keys_of_the_file_but_those_of_other_protocols(verb: str) -> None:
    idle = {*unbuilt.IDLE_ON_LISTENER["http"]} - {*schema.H2_KNOBS}
    wanted = {*keys_of(schema.ListenerTable)} - idle - {"protocol", "hsts", "client_auth", "client_ca"}
    assert {*keys_of(BODIES[verb])} == {hyphened(key) for key in wanted}
    assert issubclass(BODIES[verb], HttpListenerBody)


@pytest.mark.parametrize("verb", ["listener https add", "listener https update", "listener update"])
def test_an_https_listener_has_the_keys_of_the_file_but_those_of_its_certificate(verb: str) -> None:
    """HSTS is an option for each key of its table, `cipher_list` is called as in Sōzu."""
    idle = {"max_rx_datagram_size", "max_flows", "certificate", "certificate_chain", "key", "cipher_suites"}
    wanted = {hyphened(key) for key in {*keys_of(schema.ListenerTable)} - idle - {"protocol", "hsts", "cipher_list"}}
    hsts = {f"hsts-{hyphened(key)}" for key in keys_of(schema.HstsTable) if key != "enabled"}
    assert {*keys_of(BODIES[verb])} == wanted | hsts | {"tls-cipher-list", "hsts-disabled", "reset-alpn"}


@pytest.mark.parametrize("verb", ["cluster add", "cluster update"])
def test_a_cluster_has_the_keys_of_the_file_some_under_other_names(verb: str) -> None:
    renamed = {"load_balancing": "load-balancing-policy", "authorized_hashes": "authorized-hash", "answers": "answer"}
    elsewhere = {"frontends", "backends", "health_check", "udp", "answer_503", "tls"}
    wanted = {renamed.get(key, hyphened(key)) for key in keys_of(schema.ClusterTable) if key not in elsewhere}
    tls = {"tls", *(f"tls-{hyphened(key).removeprefix('tls-')}" for key in keys_of(schema.BackendTlsTable))}
    assert {*keys_of(BODIES[verb])} == {*wanted, *tls, "id", "expect-proxy"}
