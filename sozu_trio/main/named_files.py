"""What listeners and clusters name in files, read at a start and at every reload, before anything is declared.

A listener whose authorities were not read would refuse every client, and a cluster would trust others than it names.
The certificates of listeners are records of their own (`certificate_files.py`).
"""

from sozu_trio.config.load import Config
from sozu_trio.errors import ConfigError, Problem
from sozu_trio.main.backend_tls_files import with_backend_tls_read
from sozu_trio.main.client_authorities import with_authorities


def with_files_read(config: Config) -> Config:
    """`config` with listeners and clusters that hold what is in their files. Blocks. Raises ConfigError with everything
    that is wrong with any of them.
    """
    problems: list[Problem] = []
    for read in (with_authorities, with_backend_tls_read):
        try:
            config = read(config)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(config.source, tuple(problems))
    return config
