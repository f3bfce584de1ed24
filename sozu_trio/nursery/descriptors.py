"""How many descriptors a worker may have: all there are but some, which are main's (`config/descriptors.py`)."""

import resource

from sozu_trio.config.descriptors import descriptors_of_worker


def limit_descriptors() -> None:
    """Have this process have as many as a worker may, and never more."""
    most = descriptors_of_worker()
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
