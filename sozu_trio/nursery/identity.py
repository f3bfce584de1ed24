"""Who workers are to be where main is root: names of the configuration → numbers, looked up once, by main."""

import grp
import os
import pwd
from dataclasses import dataclass

from sozu_trio.config.values import show
from sozu_trio.errors import ConfigError, Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A user and a group, by number."""

    uid: int
    gid: int


def identity_of(user: str | None, group: str | None, source: str) -> Identity | None:
    """As `identity_named`, and for this process to have workers run as. Raises ConfigError also where that cannot be
    had.
    """
    identity = identity_named(user, group, source)
    if identity is not None and os.geteuid() != 0:
        what = (
            f"found {show(user)}, but main runs as uid {os.geteuid()}, and only root can have workers run as somebody "
            "else; want main started as root, or this key left out"
        )
        raise ConfigError(source, (Problem("user", what),))
    return identity


def identity_named(user: str | None, group: str | None, source: str) -> Identity | None:
    """None where no user is asked for. `source`: the file that asks, for messages. Raises ConfigError for one that is
    not there, or that has rights.
    """
    if user is None and group is None:
        return None
    if user is None:
        raise ConfigError(source, (Problem("group", f"found {show(group)} without user; want both, or neither"),))
    entry = _user(user, source)
    uid, gid = entry.pw_uid, entry.pw_gid if group is None else _group(group, source)
    if uid == 0 or gid == 0:
        what = f"found {show(user)}, whose uid is {uid} and gid {gid}; want somebody without rights"
        raise ConfigError(source, (Problem("user", what),))
    return Identity(uid=uid, gid=gid)


def _user(name: str, source: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        what = f"found {show(name)}, whom this machine does not know; want one of its users"
        raise ConfigError(source, (Problem("user", what),)) from None


def _group(name: str, source: str) -> int:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        what = f"found {show(name)}, which this machine does not know; want one of its groups"
        raise ConfigError(source, (Problem("group", what),)) from None
