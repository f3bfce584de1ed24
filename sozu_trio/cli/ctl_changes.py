"""The verbs that change what the proxy does. Their options are made from the tables of their bodies, so that ctl can
say all that the proxy understands, and nothing else.
"""

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, fields
from typing import Any

from sozu_trio.cli.ctl_files import read_text_file
from sozu_trio.cli.ctl_helps import help_of
from sozu_trio.cli.ctl_kinds import kind_of
from sozu_trio.cli.ctl_options import PREFIX, Option, flag, integer, names, number, one_pair, option, pairs
from sozu_trio.cli.ctl_verbs import Verb
from sozu_trio.config.structure import hyphened
from sozu_trio.config.verbs import BODIES

LINES: Mapping[str, tuple[str, str]] = {
    "cluster add": (
        "add a cluster, or replace it: what is not said gets its default",
        "cluster add --id api --load-balancing-policy least_loaded\n"
        "cluster add --id api --tls-server-name api.internal --tls-ca authority.pem",
    ),
    "cluster update": (
        "change what is said of a cluster, keep the rest",
        "cluster update --id api --max-idle-connections 16",
    ),
    "cluster remove": (
        "remove a cluster; what frontends send there is answered 503",
        "cluster remove --id api\ncluster remove --id api --drain --drain-timeout 60",
    ),
    "cluster h2 enable": ("speak HTTP/2 to its backends", "cluster h2 enable --id api"),
    "cluster h2 disable": ("speak HTTP/1.1 to its backends", "cluster h2 disable --id api"),
    "cluster health-check set": (
        "ask its backends how they are",
        "cluster health-check set --id api --uri /health --interval 5",
    ),
    "cluster health-check remove": ("ask them no more", "cluster health-check remove --id api"),
    "backend add": (
        "add a backend, or replace the one of this name",
        "backend add --id api --backend-id api-1 --address 127.0.0.1:9000 --weight 50",
    ),
    "backend update": (
        "change what is said of a backend, keep the rest",
        "backend update --id api --backend-id api-1 --weight 10",
    ),
    "backend remove": (
        "remove a backend: its sessions finish",
        "backend remove --id api --backend-id api-1\nbackend remove --id api --backend-id api-1 --deadline 30\n"
        "backend remove --id api --backend-id api-1 --drain",
    ),
    "frontend http add": (
        "add a rule: it leads to a cluster, or denies",
        "frontend http add --address 127.0.0.1:8080 --hostname api.example --path-prefix /v1 id api\n"
        "frontend http add --address 127.0.0.1:8080 --hostname api.example --path-prefix /v1/admin deny",
    ),
    "frontend http remove": (
        "remove a rule",
        "frontend http remove --address 127.0.0.1:8080 --hostname api.example --path-prefix /v1 id api",
    ),
    "frontend https add": (
        "add a rule: it leads to a cluster, or denies",
        "frontend https add --address 127.0.0.1:8443 --hostname api.example id api",
    ),
    "frontend https remove": (
        "remove a rule",
        "frontend https remove --address 127.0.0.1:8443 --hostname api.example id api",
    ),
    "frontend tcp add": (
        "send the sessions of a tcp listener to a cluster",
        "frontend tcp add --id redis --address 127.0.0.1:6380",
    ),
    "frontend tcp remove": (
        "close new sessions of a tcp listener at once",
        "frontend tcp remove --id redis --address 127.0.0.1:6380",
    ),
    "frontend udp add": (
        "send the flows of a udp listener to a cluster",
        "frontend udp add --id dns --address 127.0.0.1:5353",
    ),
    "frontend udp remove": (
        "drop new flows of a udp listener",
        "frontend udp remove --id dns --address 127.0.0.1:5353",
    ),
    "listener http add": (
        "add a listener; nobody gets in before it is activated",
        "listener http add --address 127.0.0.1:8081 --front-timeout 30",
    ),
    "listener https add": (
        "add a listener; nobody gets in before it is activated",
        "listener https add --address 127.0.0.1:8443",
    ),
    "listener tcp add": (
        "add a listener; nobody gets in before it is activated",
        "listener tcp add --address 127.0.0.1:6380 --expect-proxy",
    ),
    "listener udp add": (
        "add a listener; nobody gets in before it is activated",
        "listener udp add --address 127.0.0.1:5353",
    ),
    **{
        f"listener{protocol} {verb}": (line, f"listener{protocol} {verb} --address 127.0.0.1:{port}{more}")
        for protocol, port in ((" http", 8081), (" https", 8443), (" tcp", 6380), (" udp", 5353), ("", 8081))
        for verb, line, more in (
            ("update", "change what is said of a listener, keep the rest", " --front-timeout 30"),
            ("activate", "begin to accept connections", ""),
            ("deactivate", "accept no more connections; those there are finish", " --drain --drain-timeout 60"),
            ("remove", "remove a listener: its sessions finish", ""),
        )
    },
    "certificate add": (
        "add a certificate to an https listener",
        "certificate add --address 127.0.0.1:8443 --certificate api.pem --key api.key",
    ),
    "certificate remove": (
        "remove a certificate from an https listener",
        f"certificate remove --address 127.0.0.1:8443 --fingerprint {'0123456789abcdef' * 4}",
    ),
    "certificate replace": (
        "put a new certificate in the place of an old one",
        "certificate replace --address 127.0.0.1:8443 --new-certificate new.pem --new-key new.key "
        f"--fingerprint {'0123456789abcdef' * 4}",
    ),
    "connection-limit set": ("limit the connections of one client address in each cluster", "connection-limit set 100"),
    "connection-limit remove": ("lift that limit", "connection-limit remove"),
    "logging": ("change what the log says, now", "logging info,sozu_trio.proxy=debug"),
}
"""Verb → its help and an example of it."""

PEM = {
    *("certificate", "key", "certificate-chain"),
    *("new-certificate", "new-key", "new-certificate-chain", "old-certificate"),
    *("client-ca", "tls-ca", "tls-certificate", "tls-key"),
}
"""Keys whose option is a file, and their member its text."""
WORDS = {"filter": "FILTER", "limit": "N"}
"""Keys that are typed as a word at its place, without an option."""
ONE_EACH = {"answer", "authorized-hash", "header"}
"""Keys of arrays whose option is one item, which may hold commas."""
ROUTE = {"cluster", "deny"}
"""Keys that are typed as `id CLUSTER` or `deny`."""
OPPOSITES = {"disable-http11": "--enable-http11"}
"""Flags that are not undone by `--no-`, as in Sōzu."""
ONE_OF = (
    ("path-prefix", "path-regex", "path-equals"),
    ("now", "deadline", "drain"),
    ("certificate", "fingerprint"),
    ("old-certificate", "fingerprint"),
)
"""Keys of which at most one is given."""


class _Route(argparse.Action):
    """`id CLUSTER` or `deny`, as the members `cluster` and `deny`."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        match values:
            case ["id", cluster]:
                setattr(namespace, f"{PREFIX}cluster", cluster)
            case ["deny"]:
                setattr(namespace, f"{PREFIX}deny", True)
            case []:
                pass
            case _:
                raise argparse.ArgumentError(self, f"found {' '.join(values)!r}; want `id CLUSTER` or `deny`")


def options_of(verb: str, body: type) -> Iterator[Option]:
    """The options with which ctl says what `body` may hold."""
    keys = {hyphened(each.name): each for each in fields(body)}
    for key, each in keys.items():
        if key not in ROUTE:
            yield from _options(verb, key, each)
    if keys.keys() >= ROUTE:
        words = "*" if verb.endswith("remove") else "+"
        text = "where the rule leads" if words == "+" else "where it is believed to lead"
        yield Option(flags=("ROUTE",), key="route", words=words, action=_Route, help=f"id CLUSTER, or deny: {text}")


def _options(verb: str, key: str, each: "Field[Any]") -> Iterator[Option]:
    known, kind = help_of(verb, key), kind_of(each)
    flags = (known.short, f"--{key}") if known.short else (f"--{key}",)
    if kind is bool:
        yield flag(*flags, help=known.text)
        if each.default is None:
            opposite = OPPOSITES.get(key, f"--no-{key}")
            yield option(opposite, key=key, constant=False, help=f"the opposite of --{key}")
        return
    yield option(
        *((WORDS[key],) if key in WORDS else flags),
        key=key,
        help=known.text,
        metavar=known.metavar or None,
        required=each.default is MISSING,
        read=_reader(key, kind),
        repeated=kind in (tuple, Mapping),
        load=read_text_file if key in PEM else None,
    )


def _reader(key: str, kind: type) -> Any:
    """How the word of an option becomes JSON."""
    if kind is tuple:
        return str if key in ONE_EACH else names
    if kind is Mapping:
        return pairs if key == "tags" else one_pair
    return {int: integer, float: number}.get(kind, str)


def _verb(words: str, body: type) -> Verb:
    line, example = LINES[words]
    options = list(options_of(words, body))
    groups = [tuple(each for each in options if each.key in keys) for keys in ONE_OF]
    exclusive = tuple(group for group in groups if len(group) > 1)
    rest = tuple(each for each in options if not any(each in group for group in exclusive))
    return Verb(
        words=words,
        help=line,
        example=example,
        options=rest,
        one_of=exclusive,
        trace="history",
        patient_with="drain",
    )


CHANGES = tuple(_verb(words, BODIES[words]) for words in LINES)
"""Every verb that changes State."""
