"""Fields that were given, and those that were not."""

from sozu_trio.config.bodies import ClusterBody, given


def test_what_was_given_may_well_be_nothing() -> None:
    body = ClusterBody(id="api", send_proxy=False, idle_timeout=0)
    assert given(body, ("send_proxy", "idle_timeout", "protocol")) == {"send_proxy": False, "idle_timeout": 0}
