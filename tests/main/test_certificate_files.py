"""Certificates in the files that a configuration names: what is read, and everything that is wrong with any of them."""

import logging
import time
from pathlib import Path

import pytest

from sozu_trio.config.load import Config, load_config
from sozu_trio.errors import ConfigError
from sozu_trio.main.certificate_files import read_certificate_files
from tests.tls.parts import Issued, authorities, issue

NOW = time.time()
HTTPS = """
activate_listeners = false
[[listeners]]
protocol = "https"
address = "127.0.0.1:443"
certificate = "default.pem"
key = "default.key"
[clusters.web]
protocol = "http"
frontends = [
    { address = "127.0.0.1:443", hostname = "a.example", certificate = "a.pem", key = "a.key" },
    { address = "127.0.0.1:444", hostname = "a.example", certificate = "a.pem", key = "a.key" },
]
"""


def valid(name: str, **more: object) -> Issued:
    return issue(name, begin=NOW - 1000, end=NOW + 86400, **more)  # type: ignore[arg-type]


def put(directory: Path, name: str, issued: Issued) -> None:
    directory.joinpath(f"{name}.pem").write_bytes(issued.pem)
    directory.joinpath(f"{name}.key").write_bytes(issued.key_pem)


def config(directory: Path, text: str = HTTPS) -> Config:
    file = directory / "proxy.toml"
    file.write_text(text)
    return load_config(file)


def problems(made: Config) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read_certificate_files(made, ())
    return [str(each).replace(str(Path(made.source).parent), "") for each in caught.value.problems]


def test_of_listeners_and_frontends(tmp_path: Path) -> None:
    default, other = valid("*.example"), valid("a.example")
    put(tmp_path, "default", default)
    put(tmp_path, "a", other)
    found = read_certificate_files(config(tmp_path), ()).records
    assert [(str(each.address), each.certificate.names, each.default) for each in found] == [
        ("127.0.0.1:443", ("*.example",), True),
        ("127.0.0.1:443", ("a.example",), False),
        ("127.0.0.1:444", ("a.example",), False),
    ]


def test_the_default_may_be_a_frontends_too(tmp_path: Path) -> None:
    one = valid("a.example")
    put(tmp_path, "default", one)
    put(tmp_path, "a", one)
    assert [each.default for each in read_certificate_files(config(tmp_path), ()).records] == [True, False]


def test_a_chain_in_a_file_of_its_own(tmp_path: Path) -> None:
    root, middle = authorities("root", "middle")
    put(tmp_path, "a", valid("a.example", by=middle))
    tmp_path.joinpath("chain").write_bytes(root.pem + middle.pem)
    text = HTTPS.replace('certificate = "default.pem"\nkey = "default.key"', "").replace(
        'key = "a.key"', 'key = "a.key", certificate_chain = "chain"'
    )
    (first, _) = read_certificate_files(config(tmp_path, text), ()).records
    assert first.certificate.chain.count("BEGIN CERTIFICATE") == 3


def test_every_fault_is_told_once(tmp_path: Path) -> None:
    put(tmp_path, "a", valid("a.example"))
    tmp_path.joinpath("a.key").write_bytes(valid("b.example").key_pem)
    tmp_path.joinpath("default.key").mkdir()
    assert problems(config(tmp_path)) == [
        "listeners[0].certificate: cannot read /default.pem: No such file or directory",
        "listeners[0].key: cannot read /default.key: Is a directory",
        "clusters.web.frontends[0].certificate: /a.pem: the private key does not fit the certificate of ``",
    ]


def test_one_that_is_not_valid(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(tmp_path, "default", issue("old.example", begin=NOW - 9000, end=NOW - 10))
    put(tmp_path, "a", issue("new.example", begin=NOW + 9000, end=NOW + 10000))
    made = config(tmp_path)
    assert problems(made) == [
        "listeners[0].certificate: /default.pem has expired; want one that is valid now",
        "clusters.web.frontends[0].certificate: /a.pem is not valid yet; want one that is valid now",
        "clusters.web.frontends[1].certificate: /a.pem is not valid yet; want one that is valid now",
    ]
    with caplog.at_level(logging.WARNING):
        at_start = read_certificate_files(made, None).records
    assert len(at_start) == len(caplog.records) == 3
    known = {(each.address, each.certificate.fingerprint) for each in at_start}
    assert read_certificate_files(made, known).records == at_start, "those in force stay"


def test_no_problem_quotes_a_key(tmp_path: Path) -> None:
    put(tmp_path, "default", valid("a.example"))
    put(tmp_path, "a", valid("a.example"))
    key = tmp_path.joinpath("a.key").read_text()
    tmp_path.joinpath("a.key").write_text(key.replace("\n", "?\n", 2))
    told = "\n".join(problems(config(tmp_path)))
    assert "a.pem" in told
    assert key.splitlines()[1][:20] not in told
