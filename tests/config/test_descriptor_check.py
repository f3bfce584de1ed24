"""A configuration, and the descriptors there are."""

from pathlib import Path

import pytest

from sozu_trio.config.descriptor_check import refuse_misfit, warned
from sozu_trio.config.load import Config, parse_config
from sozu_trio.config.report import Notice
from sozu_trio.errors import ConfigError

MANY = 1_000_000


def configured(text: str) -> Config:
    return parse_config(text, "proxy.toml", Path("/"))


def test_what_fits_is_not_remarked_on() -> None:
    for config in (configured(""), configured("max_connections = 100")):
        assert warned(config, MANY) is config
        refuse_misfit(config, MANY)


def test_what_is_unset_is_lowered_and_never_refused() -> None:
    config = configured("")
    refuse_misfit(config, 64)
    (notice,) = warned(config, 1000).notices
    assert notice == Notice("warning", "max_connections", notice.what)
    assert notice.what.startswith("not set: 340 instead of 10000")


def test_what_does_not_fit_is_refused_and_before_that_warned_of() -> None:
    config = configured("max_connections = 400")
    with pytest.raises(ConfigError) as caught:
        refuse_misfit(config, 1000)
    (problem,) = caught.value.problems
    assert problem.where == "max_connections"
    assert problem.what.startswith("found 400, which takes 1120 descriptors of a process that may have 1000;")
    (notice,) = warned(config, 1000).notices
    assert notice.what == problem.what
