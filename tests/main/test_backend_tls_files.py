"""What the `tls` tables of clusters name in files: what is read, and everything that is wrong with any of them."""

import logging
import time
from pathlib import Path

import pytest

from sozu_trio.config.load import Config, load_config
from sozu_trio.errors import ConfigError
from sozu_trio.main import backend_tls_files as module
from sozu_trio.main.backend_tls_files import with_backend_tls_read
from tests.tls.parts import Issued, issue

NOW = time.time()
DAY = 86400
ROOT = issue(common_name="root", authority=True)
TWO = """
[clusters.web]
protocol = "http"
tls = { ca = "ca.pem", certificate = "ours.pem", key = "ours.key" }
[clusters.db]
protocol = "tcp"
tls = { ca = "ca.pem" }
[clusters.plain]
protocol = "http"
"""


def config(directory: Path, text: str = TWO, *, ours: Issued | None = None) -> Config:
    issued = ours or issue("proxy.example", begin=NOW - DAY, end=NOW + DAY)
    directory.joinpath("ca.pem").write_bytes(ROOT.pem)
    directory.joinpath("ours.pem").write_bytes(issued.pem)
    directory.joinpath("ours.key").write_bytes(issued.key_pem)
    file = directory / "proxy.toml"
    file.write_text(text)
    return load_config(file)


def problems(made: Config) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        with_backend_tls_read(made)
    return [str(each).replace(str(Path(made.source).parent), "") for each in caught.value.problems]


def test_what_is_read(tmp_path: Path) -> None:
    web, db, plain = with_backend_tls_read(config(tmp_path)).clusters
    assert web.tls is not None
    assert db.tls is not None
    assert (web.tls.ca, db.tls.ca, plain.tls) == (ROOT.pem.decode(), ROOT.pem.decode(), None)
    assert web.tls.certificate is not None
    assert web.tls.certificate.names == ("proxy.example",)
    assert db.tls.certificate is None


def test_what_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    made = config(tmp_path)
    tmp_path.joinpath("ca.pem").unlink()
    tmp_path.joinpath("ours.key").write_bytes(ROOT.key_pem)
    text = TWO + "[clusters.other]\nprotocol = 'http'\ntls = { certificate = 'ours.pem', key = 'ours.key' }\n"
    tmp_path.joinpath("proxy.toml").write_text(text)
    made = load_config(tmp_path / "proxy.toml")
    missing, damaged = problems(made)
    assert missing == "clusters.web.tls.ca: cannot read /ca.pem: No such file or directory"
    assert damaged.startswith("clusters.other.tls.certificate: /ours.pem: the private key does not fit the certificate")


def test_a_key_is_no_authority(tmp_path: Path) -> None:
    made = config(tmp_path)
    tmp_path.joinpath("ca.pem").write_bytes(ROOT.key_pem)
    assert problems(made)[0].startswith(
        "clusters.web.tls.ca: /ca.pem: no certificate in PEM form: this is a private key"
    )


def test_a_system_without_authorities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "read_system_trusted", lambda: "")
    table = "[clusters.{0}]\nprotocol = 'http'\ntls = {1}\n"
    pinned = table.format("pinned", f"{{ fingerprint = '{'ab' * 32}' }}")
    text = table.format("web", "{}") + pinned + table.format("blind", "{ verify = false }")
    assert problems(config(tmp_path, text)) == [
        "clusters.web.tls.ca: missing; want the path of a PEM file: this system has no authorities of its own that"
        " could be read"
    ]


def test_a_certificate_that_is_not_valid_now_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for begin, end, fault in ((-2, -1, "has expired"), (1, 2, "is not valid yet")):
        made = config(tmp_path, ours=issue("proxy.example", begin=NOW + begin * DAY, end=NOW + end * DAY))
        with caplog.at_level(logging.WARNING):
            with_backend_tls_read(made)
        assert caplog.messages == [f"clusters.web.tls.certificate: {tmp_path}/ours.pem {fault}"]
        caplog.clear()
