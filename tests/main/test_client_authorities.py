"""Authorities of clients in the files that a configuration names: what is read, and all that is wrong with any."""

from pathlib import Path

import pytest

from sozu_trio.config.listeners import HttpsListener
from sozu_trio.config.load import Config, load_config
from sozu_trio.errors import ConfigError
from sozu_trio.main.client_authorities import with_authorities
from tests.tls.parts import authorities, issue

ROOT, MIDDLE = authorities("root", "middle")
TEXT = """
[[listeners]]
protocol = "https"
address = "127.0.0.1:443"
client_auth = "required"
client_ca = "one.pem"
[[listeners]]
protocol = "https"
address = "127.0.0.1:444"
client_auth = "optional"
client_ca = "two.pem"
[[listeners]]
protocol = "https"
address = "127.0.0.1:445"
[[listeners]]
protocol = "http"
address = "127.0.0.1:80"
"""


def config(directory: Path) -> Config:
    file = directory / "proxy.toml"
    file.write_text(TEXT)
    return load_config(file)


def test_each_listener_gets_its_own(tmp_path: Path) -> None:
    tmp_path.joinpath("one.pem").write_bytes(b"text before\n" + ROOT.pem)
    tmp_path.joinpath("two.pem").write_bytes(ROOT.pem + MIDDLE.pem)
    made = config(tmp_path)
    read = with_authorities(made).listeners
    found = {each.address.port: each.tls.client_ca for each in read if isinstance(each, HttpsListener)}
    assert found == {443: ROOT.pem.decode(), 444: (ROOT.pem + MIDDLE.pem).decode(), 445: ""}
    assert read[2:] == made.listeners[2:]


def test_every_fault_is_told(tmp_path: Path) -> None:
    tmp_path.joinpath("two.pem").write_bytes(ROOT.pem + issue(common_name="leaf").pem)
    with pytest.raises(ConfigError) as caught:
        with_authorities(config(tmp_path))
    assert [str(each).replace(str(tmp_path), "") for each in caught.value.problems] == [
        "listeners[0].client_ca: cannot read /one.pem: No such file or directory",
        "listeners[1].client_ca: /two.pem: `CN=leaf` is no authority: want certificates whose basic constraints say CA,"
        " not those of clients",
    ]
