"""Files of listeners and of clusters: all are read, and what is wrong with any is told at once."""

from pathlib import Path

import pytest

from sozu_trio.config.listeners import HttpsListener
from sozu_trio.config.load import Config, load_config
from sozu_trio.errors import ConfigError
from sozu_trio.main.named_files import with_files_read
from tests.tls.parts import issue

CLIENTS, BACKENDS = (issue(common_name=name, authority=True) for name in ("clients", "backends"))
TEXT = """
[[listeners]]
protocol = "https"
address = "127.0.0.1:443"
client_auth = "required"
client_ca = "clients.pem"
[clusters.web]
protocol = "http"
tls = { ca = "backends.pem" }
"""


def config(directory: Path) -> Config:
    file = directory / "proxy.toml"
    file.write_text(TEXT)
    return load_config(file)


def test_both_kinds_are_read(tmp_path: Path) -> None:
    tmp_path.joinpath("clients.pem").write_bytes(CLIENTS.pem)
    tmp_path.joinpath("backends.pem").write_bytes(BACKENDS.pem)
    read = with_files_read(config(tmp_path))
    (listener,), (cluster,) = read.listeners, read.clusters
    assert isinstance(listener, HttpsListener)
    assert listener.tls.client_ca == CLIENTS.pem.decode()
    assert cluster.tls is not None
    assert cluster.tls.ca == BACKENDS.pem.decode()


def test_what_is_wrong_with_both_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        with_files_read(config(tmp_path))
    assert [str(each).replace(str(tmp_path), "") for each in caught.value.problems] == [
        "listeners[0].client_ca: cannot read /clients.pem: No such file or directory",
        "clusters.web.tls.ca: cannot read /backends.pem: No such file or directory",
    ]
