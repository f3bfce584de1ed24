"""Certificates of clients in the configuration: two keys that need each other, and names of fields that clash."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sozu_trio.config.addresses import Address
from sozu_trio.config.client_auth import AuthorityFile
from sozu_trio.config.listeners import HttpsListener
from sozu_trio.config.load import Config
from sozu_trio.config.tls_settings import TlsSettings

Problems = Callable[[str], list[str]]
Load = Callable[[str], Config]

HTTPS = "[[listeners]]\nprotocol = 'https'\naddress = '127.0.0.1:443'\n"
REQUIRED = HTTPS + "client_auth = 'required'\nclient_ca = 'ca.pem'\n"
ALONE = "which do nothing alone; want client_auth 'optional' or 'required'"
MISSING = "missing; want a PEM file of the authorities that sign certificates of clients, as client_auth is"
RESERVED = "which has a meaning of its own; want another name, such as X-Client-Subject"


def test_a_listener_that_asks_for_certificates(load: Load, tmp_path: Path) -> None:
    config = load(REQUIRED + "client_subject_header = 'X-Who'\nclient_san_header = ''\n")
    (listener,) = config.listeners
    assert isinstance(listener, HttpsListener)
    assert listener.tls == TlsSettings(client_auth="required"), "main reads the file"
    names = (listener.client_subject_header, listener.client_san_header, listener.client_fingerprint_header)
    assert names == ("X-Who", "", "X-Client-Fingerprint")
    where = "listeners[0].client_ca"
    assert config.authorities == (
        AuthorityFile(where=where, address=Address("127.0.0.1", 443), path=tmp_path / "ca.pem"),
    )


def test_what_says_no_more_than_the_default(load: Load) -> None:
    config = load(HTTPS + "client_auth = 'none'")
    assert config.authorities == ()
    assert config.listeners == load(HTTPS).listeners


def test_names_of_fields_that_nobody_sets(load: Load) -> None:
    (notice,) = [
        str(each) for each in load(HTTPS + "client_san_header = 'X-San'").notices if "client" in str(each.where)
    ]
    assert notice == "listeners[0].client_san_header: has no effect without client_auth"


def listener(protocol: str, more: str) -> str:
    return f"[[listeners]]\nprotocol = '{protocol}'\naddress = '127.0.0.1:80'\n{more}\n"


def frontend(protocol: str, more: str) -> str:
    host = "hostname = '*', " if protocol == "http" else ""
    return f"[clusters.a]\nprotocol = '{protocol}'\nfrontends = [{{ address = '127.0.0.1:80', {host}{more} }}]\n"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (HTTPS + "client_auth = 'required'", f"listeners[0].client_ca: {MISSING} 'required'"),
        (HTTPS + "client_auth = 'optional'", f"listeners[0].client_ca: {MISSING} 'optional'"),
        (HTTPS + "client_ca = 'a'", f"listeners[0].client_ca: found authorities, {ALONE}"),
        (HTTPS + "client_auth = 'yes'",
         "listeners[0].client_auth: found 'yes'; want 'none', 'optional' or 'required'"),
        (listener("http", "client_auth = 'optional'"),
         "listeners[0].client_auth: found 'optional'; want this key left out, or protocol = 'https': an http listener "
         "is shown no certificates"),
        (listener("tcp", "client_ca = 'a'"),
         "listeners[0].client_ca: found 'a'; want this key left out, or protocol = 'https': a tcp listener is shown no "
         "certificates"),
        (REQUIRED + "client_subject_header = 'a b'",
         "listeners[0].client_subject_header: found 'a b'; want the name of a header field, such as X-Client-Subject, "
         "or an empty string for none"),
        (REQUIRED + "client_subject_header = 'HOST'",
         f"listeners[0].client_subject_header: found 'HOST', {RESERVED}"),
        (REQUIRED + "client_san_header = 'X_Forwarded_For'",
         f"listeners[0].client_san_header: found 'X_Forwarded_For', {RESERVED}"),
        (REQUIRED + "client_san_header = 'x_client_subject'",
         "listeners[0].client_san_header: found 'x_client_subject', which is client_subject_header as well; want "
         "another name"),
        (REQUIRED + "sozu_id_header = 'X-Client-Fingerprint'",
         "listeners[0].client_fingerprint_header: found 'X-Client-Fingerprint', which is sozu_id_header as well; want "
         "another name"),
        (frontend("http", "client_auth = 'required'"),
         "clusters.a.frontends[0].client_auth: found 'required'; want client_auth and client_ca of the listener; "
         "Python's ssl decides whom it asks for a certificate before it knows which name a client asks for"),
        (frontend("http", "client_ca = 'x'"),
         "clusters.a.frontends[0].client_ca: found 'x'; want client_auth and client_ca of the listener; "
         "Python's ssl decides whom it asks for a certificate before it knows which name a client asks for"),
        (frontend("tcp", "client_auth = 'required'"),
         "clusters.a.frontends[0].client_auth: found 'required'; want none: a tcp frontend sends all of its listener "
         "to one cluster"),
    ],
)  # fmt: skip
def test_refused(problems: Problems, text: str, problem: str) -> None:
    assert problems(text) == [problem]


def test_two_fields_may_both_be_none(load: Load) -> None:
    assert load(REQUIRED + "client_subject_header = ''\nclient_san_header = ''\n").listeners
