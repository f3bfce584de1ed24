"""What a file is checked for, by whomever."""

import os
from pathlib import Path

import pytest

from sozu_trio.cli.checking import checked_config
from sozu_trio.errors import OperatorError


def test_a_user_is_looked_up_and_nobody_need_be_root_for_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    file = tmp_path / "config.toml"
    file.write_text('user = "nobody"')
    assert checked_config(file).program.user == "nobody"
    file.write_text('user = "nobody-of-that-name"')
    with pytest.raises(OperatorError, match="whom this machine does not know"):
        checked_config(file)
