"""What tests of main share."""

from collections.abc import Iterator

import pytest

from tests.nursery.parts import listening


@pytest.fixture
def silent() -> Iterator[str]:
    """A backend that lets in and says nothing."""
    with listening() as sock:
        yield "{}:{}".format(*sock.getsockname())
