"""A configuration is text; what comes of it is either problems, one line each, or a Config."""

from collections.abc import Callable
from pathlib import Path

import pytest

from sozu_trio.config.load import Config, parse_config
from sozu_trio.errors import ConfigError

Problems = Callable[[str], list[str]]
Load = Callable[[str], Config]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Parse a text that is right, as a file in `tmp_path`."""
    return lambda text: parse_config(text, "x.toml", tmp_path)


@pytest.fixture
def problems(tmp_path: Path) -> Problems:
    """Parse a text that is wrong; its problems without the file's name."""

    def parse(text: str) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            parse_config(text, "x.toml", tmp_path)
        return [str(problem) for problem in caught.value.problems]

    return parse
