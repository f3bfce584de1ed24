"""TLS to backends in the file: what is asked for, and what makes no sense."""

from pathlib import Path
from typing import Any

import pytest

from sozu_trio.config.backend_tls import BackendTls, BackendTlsFiles
from sozu_trio.config.load import Config, parse_config
from sozu_trio.errors import ConfigError

HERE = Path("/etc/proxy")
PIN = "ab" * 32


def load(tls: str, protocol: str = "http") -> Config:
    return parse_config(f"[clusters.api]\nprotocol = '{protocol}'\n{tls}\n", "test", HERE)


def record(tls: str, protocol: str = "http") -> BackendTls | None:
    (cluster,) = load(tls, protocol).clusters
    return cluster.tls


@pytest.mark.parametrize(
    ("table", "members"),
    [
        ("tls = {}", {}),
        ("tls = { server_name = 'Api.Internal' }", {"server_name": "api.internal"}),
        ("tls = { server_name = '::ffff:10.0.0.1' }", {"server_name": "10.0.0.1"}),
        (f"tls = {{ fingerprint = '{PIN.upper()}' }}", {"fingerprint": PIN}),
        ("tls = { verify = false }", {"verify": False}),
        ("tls = { tls_versions = ['TLS_V13', 'TLS_V13'] }", {"versions": ("TLS_V13",)}),
    ],
)
def test_a_table(table: str, members: dict[str, Any]) -> None:
    for protocol in ("http", "tcp"):
        assert record(table, protocol) == BackendTls(**members)


def test_without_a_table_there_is_no_tls() -> None:
    config = load("")
    assert (config.clusters[0].tls, config.backend_tls) == (None, ())


def test_where_its_files_are() -> None:
    (files,) = load("tls = { ca = 'ca.pem', certificate = '/c.pem', key = 'c.key' }").backend_tls
    assert files == BackendTlsFiles(
        where="clusters.api.tls",
        cluster_id="api",
        ca=HERE / "ca.pem",
        certificate=Path("/c.pem"),
        key=HERE / "c.key",
    )


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ("{ certificate = 'c.pem' }", "key: missing; want the private key of certificate, in PEM"),
        ("{ key = 'c.key' }", "certificate: missing; want the certificate that key belongs to, in PEM"),
        ("{ verify = false, ca = 'ca.pem' }", "ca: found it and verify = false; want only one of both"),
        (f"{{ verify = false, fingerprint = '{PIN}' }}",
         "fingerprint: found it and verify = false; want only one of both"),
        ("{ server_name = 'not a name' }",
         "server_name: found 'not a name'; want a host name or an IP address, such as api.internal"),
        ("{ server_name = '*.example' }",
         "server_name: found '*.example'; want a host name or an IP address, such as api.internal"),
        ("{ tls_versions = [] }", "tls_versions: no version; want TLS_V12, TLS_V13 or both"),
        ("{ tls_versions = ['TLS_V11'] }", "tls_versions[0]: found 'TLS_V11'; want 'TLS_V12' or 'TLS_V13'"),
        ("{ fingerprint = 'abcd' }",
         "fingerprint: found 'abcd'; want a fingerprint: the 64 hexadecimal digits of a SHA-256, as"
         " `certificate list` shows it"),
        ("{ ca_file = 'ca.pem' }", "ca_file: unknown key; known are"),
    ],
)  # fmt: skip
def test_what_makes_no_sense(table: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(f"tls = {table}")
    (found,) = map(str, caught.value.problems)
    if "unknown" not in problem:
        assert found == f"clusters.api.tls.{problem}"
    assert found.startswith(f"clusters.api.tls.{problem.partition(':')[0]}: ")


def test_no_verification_is_said_aloud() -> None:
    (notice,) = load("tls = { verify = false }").notices
    assert (notice.level, notice.where) == ("warning", "clusters.api.tls.verify")
    assert "whoever answers at a backend's address is believed" in notice.what
    assert load("tls = {}").notices == ()


@pytest.mark.parametrize(
    ("members", "asks"),
    [
        ({}, True),
        ({"ca": "pem"}, True),
        ({"fingerprint": PIN}, False),
        ({"fingerprint": PIN, "ca": "pem"}, True),
        ({"verify": False}, False),
    ],
)
def test_who_asks_authorities(members: dict[str, Any], asks: bool) -> None:
    assert BackendTls(**members).asks_authorities is asks
