"""Whether a configuration fits into the descriptors there are (`config/descriptors.py`): refused, or remarked on."""

import dataclasses

from sozu_trio.config.descriptors import lowered, misfit
from sozu_trio.config.load import Config
from sozu_trio.config.report import Notice
from sozu_trio.errors import ConfigError, Problem


def warned(config: Config, descriptors: int) -> Config:
    """With a notice of whatever is wrong or lowered."""
    settings = config.program.settings
    what = misfit(settings, descriptors) or lowered(settings, descriptors)
    if what is None:
        return config
    return dataclasses.replace(config, notices=(*config.notices, Notice("warning", "max_connections", what)))


def refuse_misfit(config: Config, descriptors: int) -> None:
    """Raises ConfigError for an explicit `max_connections` that does not fit."""
    if (what := misfit(config.program.settings, descriptors)) is not None:
        raise ConfigError(config.source, (Problem("max_connections", what),))
