"""What a file is checked for, by whomever."""

import os
from pathlib import Path

import pytest

from sozu_trio.cli.checking import checked_config
from sozu_trio.errors import ConfigError


def test_a_user_is_looked_up_and_nobody_need_be_root_for_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    file = tmp_path / "config.toml"
    file.write_text('user = "nobody"')
    assert checked_config(file).program.user == "nobody"
    file.write_text('user = "nobody-of-that-name"')
    with pytest.raises(ConfigError, match=r"config\.toml: user: found .*, whom this machine does not know"):
        checked_config(file)


def test_what_is_wrong_with_what_the_file_names_is_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(
        """
        user = "nobody-of-that-name"
        [[listeners]]
        protocol = "https"
        address = "127.0.0.1:8443"
        certificate = "none.pem"
        key = "none.key"
        client_auth = "required"
        client_ca = "none.ca"
        """
    )
    with pytest.raises(ConfigError) as caught:
        checked_config(file)
    wheres = [each.where for each in caught.value.problems]
    assert wheres[0].startswith("listeners[0].")
    assert wheres[-2:] == ["listeners[0].client_ca", "user"]
