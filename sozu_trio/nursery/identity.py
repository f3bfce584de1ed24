"""Who workers are to be where main is root: names of the configuration → numbers, looked up once, by main."""

import grp
import os
import pwd
from dataclasses import dataclass

from sozu_trio.config.values import show
from sozu_trio.errors import OperatorError


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A user and a group, by number."""

    uid: int
    gid: int


def identity_of(user: str | None, group: str | None) -> Identity | None:
    """As `identity_named`, and for this process to have workers run as. Raises OperatorError also where that cannot be
    had.
    """
    identity = identity_named(user, group)
    if identity is not None and os.geteuid() != 0:
        raise OperatorError(
            f"user: found {show(user)}, but main runs as uid {os.geteuid()}, and only root can have workers run as "
            "somebody else; want main started as root, or this key left out"
        )
    return identity


def identity_named(user: str | None, group: str | None) -> Identity | None:
    """None where no user is asked for. Raises OperatorError for one that is not there, or that has rights."""
    if user is None:
        if group is not None:
            raise OperatorError(f"group: found {show(group)} without user; want both, or neither")
        return None
    entry = _user(user)
    uid, gid = entry.pw_uid, entry.pw_gid if group is None else _group(group)
    if uid == 0 or gid == 0:
        raise OperatorError(f"user: found {show(user)}, whose uid is {uid} and gid {gid}; want somebody without rights")
    return Identity(uid=uid, gid=gid)


def _user(name: str) -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        raise OperatorError(
            f"user: found {show(name)}, whom this machine does not know; want one of its users"
        ) from None


def _group(name: str) -> int:
    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise OperatorError(
            f"group: found {show(name)}, which this machine does not know; want one of its groups"
        ) from None
