"""Names of the configuration → numbers, with a clear answer to what cannot be."""

import grp
import os
import pwd

import pytest

from sozu_trio.errors import ConfigError
from sozu_trio.nursery.identity import Identity, identity_named, identity_of

SOURCE = "proxy.toml"


@pytest.fixture
def _root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)


def test_nobody_is_asked_for() -> None:
    assert identity_of(None, None, SOURCE) is None


@pytest.mark.usefixtures("_root")
def test_a_user_with_its_group_or_another_one() -> None:
    nobody = pwd.getpwnam("nobody")
    assert identity_of("nobody", None, SOURCE) == Identity(uid=nobody.pw_uid, gid=nobody.pw_gid)
    assert identity_of("nobody", "daemon", SOURCE) == Identity(uid=nobody.pw_uid, gid=grp.getgrnam("daemon").gr_gid)


@pytest.mark.usefixtures("_root")
@pytest.mark.parametrize(
    ("user", "group", "message"),
    [
        ("no-such-user", None, "proxy.toml: user: found 'no-such-user', whom this machine does not know"),
        ("nobody", "no-such-group", "group: found 'no-such-group', which this machine does not know"),
        (None, "daemon", "proxy.toml: group: found 'daemon' without user; want both, or neither"),
        ("root", None, "user: found 'root', whose uid is 0 and gid 0; want somebody without rights"),
        ("nobody", "root", "user: found 'nobody', whose uid is .* and gid 0"),
    ],
)
def test_what_cannot_be(user: str | None, group: str | None, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        identity_of(user, group, SOURCE)


def test_only_root_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ConfigError, match="user: found 'nobody', but main runs as uid 1000, and only root can"):
        identity_of("nobody", None, SOURCE)
    assert identity_named("nobody", None, SOURCE) == Identity(
        uid=pwd.getpwnam("nobody").pw_uid, gid=pwd.getpwnam("nobody").pw_gid
    )
