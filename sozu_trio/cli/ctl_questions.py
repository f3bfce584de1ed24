"""The verbs that ask, and those about the proxy as a whole: its state, its file, its end."""

import os

from sozu_trio.cli.ctl_files import changes_or_file, content_or_file, read_changes, read_saved_state
from sozu_trio.cli.ctl_options import Option, flag, integer, names, number, option, pair
from sozu_trio.cli.ctl_verbs import Verb


def _absolute(path: str) -> str:
    """Main opens it, from another directory."""
    return os.path.abspath(path)


FILE = option("-f", "--file", metavar="FILE", load=_absolute, help="TOML file (default: the one given to serve)")
PRUNE = flag("--prune", help="remove what came over the socket, too")

SHELLS = ("bash", "zsh", "fish", "tcsh")

LISTS = (
    Verb(
        words="cluster list",
        help="clusters with their frontends and backends",
        example="cluster list\ncluster list --domain api.example/v1",
        one_of=(
            (
                option("-i", "--id", metavar="CLUSTER", help="only this one"),
                option("-d", "--domain", metavar="HOST[/PATH]", help="only those that serve it"),
            ),
        ),
    ),
    Verb(
        words="backend list",
        help="backends, and what each worker knows of them",
        example="backend list --id api",
        options=(option("-i", "--id", metavar="CLUSTER", help="only those of this cluster"),),
    ),
    Verb(
        words="frontend list",
        help="rules of every listener",
        example="frontend list --http --domain api.example",
        options=(
            flag("--http", help="those of http listeners"),
            flag("--https", help="those of https listeners"),
            flag("--tcp", help="those of tcp listeners"),
            option("-d", "--domain", metavar="HOST[/PATH]", help="only those that serve it"),
        ),
    ),
    Verb(
        words="listener list",
        help="listeners, and how many sessions each has",
        example="listener list --tcp",
        options=(
            flag("--http", help="http listeners"),
            flag("--https", help="https listeners"),
            flag("--tcp", help="tcp listeners"),
        ),
    ),
    Verb(
        words="certificate list",
        help="certificates: fingerprint, names and validity",
        example="certificate list --domain api.example",
        one_of=(
            (
                option("-f", "--fingerprint", metavar="SHA256HEX", help="only the one with this fingerprint"),
                option("-d", "--domain", metavar="HOST", help="only those valid for it"),
            ),
        ),
        options=(option("--address", metavar="IP:PORT", help="only those of this listener"),),
    ),
    Verb(
        words="certificate query",
        help="which certificate a client is shown, and why",
        example="certificate query --domain api.example",
        options=(
            option("-d", "--domain", metavar="HOST", help="what it asks for (default: it names no host)"),
            option("-a", "--address", metavar="IP:PORT", help="of this listener alone"),
        ),
    ),
    Verb(
        words="cluster health-check list",
        help="health checks of clusters",
        example="cluster health-check list",
        options=(option("-i", "--id", metavar="CLUSTER", help="only that of this cluster"),),
    ),
    Verb(
        words="connection-limit show",
        help="the limit in force, and clusters with one of their own",
        example="connection-limit show",
    ),
)

LOOKS = (
    Verb(words="status", help="main and its workers: pid, state, generation, sessions", example="--json status"),
    Verb(
        words="explain",
        help="which listener, rule and cluster would take a request, what it is shown over TLS, and why",
        example="explain http://api.example/v1 --method POST --header 'Host=api.example'\n"
        "explain https://api.example/\n"
        "explain http://api.example:8080/ --from 192.0.2.7 --listener 127.0.0.1:8080",
        options=(
            Option(flags=("URL",), key="url", help="as a client would write it"),
            option("-m", "--method", metavar="METHOD", help="the request's method (default: GET)"),
            option("--header", metavar="NAME=VALUE", read=pair, repeated=True, help="a field of it; may be repeated"),
            option("--from", metavar="IP", help="the client's address"),
            option("--listener", metavar="ADDRESS", help="the listener, where the URL does not tell"),
        ),
    ),
    Verb(words="tree", help="what lives in the proxy now, with ages and counts", example="tree"),
    Verb(
        words="session list",
        help="client connections, oldest first",
        example="session list --limit 20",
        options=(option("--limit", read=integer, metavar="N", help="at most so many (default: 1000)"),),
    ),
    Verb(
        words="session kill",
        help="cut one client connection",
        example="session kill 01KA4Z3V9W2M5X8R6T1Q7Y0B3C",
        options=(Option(flags=("SESSION",), key="session", help="an id that session list shows"),),
        trace="session list",
    ),
    Verb(
        words="metrics get",
        help="counters of main and the workers, and their sum",
        example="metrics get --names http.,client.connections",
        options=(
            option(
                "-n",
                "--names",
                metavar="NAME,…",
                read=names,
                repeated=True,
                help="only those that begin so; may be repeated",
            ),
        ),
    ),
    Verb(words="metrics enable", help="collect metrics", example="metrics enable", trace="status"),
    Verb(words="metrics disable", help="stop collecting metrics", example="metrics disable", trace="status"),
    Verb(words="metrics clear", help="set metrics back", example="metrics clear", trace="status"),
    Verb(
        words="events",
        help="print what happens as it happens, until interrupted",
        example="events\n--json events",
        patient=True,
    ),
)

WHOLE = (
    Verb(
        words="apply",
        help="carry out a batch of changes as one transaction: all or none",
        example="apply -f changes.json\napply -f -",
        options=(
            option(
                "-f",
                "--file",
                metavar="FILE",
                required=True,
                help="JSON or TOML: an array `changes` of objects, each a verb with its options; - is standard input",
            ),
        ),
        trace="history",
        prepare=read_changes,
        fit=changes_or_file,
    ),
    Verb(
        words="reload",
        help="make the proxy equal to its file: what the file no longer says goes, what came over the socket stays",
        example="reload\nreload -f new.toml --prune",
        options=(FILE, PRUNE),
        trace="history",
    ),
    Verb(
        words="plan",
        help="what reload would do; changes nothing. Exit code 3 if there is a difference",
        example="plan -f new.toml",
        options=(FILE, PRUNE),
    ),
    Verb(
        words="history",
        help="the last generations: when, who, what",
        example="history --limit 10",
        options=(option("--limit", read=integer, metavar="N", help="at most so many (default: 100)"),),
    ),
    Verb(
        words="rollback",
        help="make the proxy what it was at an earlier generation, as one more transaction",
        example="rollback 41",
        options=(Option(flags=("GENERATION",), key="generation", read=integer, help="one that history lists"),),
        trace="history",
    ),
    Verb(
        words="state save",
        help="write everything configured to a file, which main opens",
        example="state save -f backup.json",
        options=(option("-f", "--file", metavar="FILE", load=_absolute, help="default: saved_state of the file"),),
        trace="status",
    ),
    Verb(
        words="state load",
        help="take in a saved state, ours or Sōzu's",
        example="state load -f backup.json\nstate load -f sozu.state --skip-unknown",
        options=(
            option("-f", "--file", metavar="FILE", required=True, help="- is standard input"),
            flag("--skip-unknown", help="load the rest where something is not understood"),
        ),
        trace="history",
        prepare=read_saved_state,
        fit=content_or_file,
    ),
    Verb(
        words="state dump",
        help="print everything configured as JSON",
        example="state dump",
        options=(flag("--with-secrets", help="private keys and passwords in clear; for the proxy's own user"),),
    ),
    Verb(words="state stats", help="how many records there are of each kind", example="state stats"),
    Verb(
        words="shutdown",
        help="stop: let sessions finish, telling how many are left",
        example="shutdown --drain-timeout 60\nshutdown --hard",
        one_of=(
            (
                flag("--hard", help="cut every session now"),
                option(
                    "--drain-timeout",
                    metavar="S",
                    read=number,
                    help="seconds sessions get, 0 = as long as they need (default: shutdown_timeout)",
                ),
            ),
        ),
        trace="status",
        patient=True,
    ),
    Verb(
        words="upgrade",
        help="run the program that is on disk now, without losing a connection",
        example="upgrade\nupgrade --python /opt/sozu-trio-2/bin/python\nupgrade --worker 0",
        options=(
            option("--worker", metavar="ID", read=integer, help="only this worker"),
            option(
                "--python",
                metavar="PATH",
                load=_absolute,
                help="the interpreter to go on with, which says where the program is (default: the one main runs with)",
            ),
        ),
        trace="status",
        patient=True,
    ),
)

LOCAL = (
    Verb(
        words="config check",
        help="say what is wrong with a file, or nothing; asks no proxy",
        example="-c proxy.toml config check",
    ),
    Verb(
        words="completion",
        help="print a script with which the shell completes sozu-trio",
        example="completion bash > ~/.local/share/bash-completion/completions/sozu-trio\ncompletion zsh",
        options=(Option(flags=("SHELL",), key="shell", choices=SHELLS, help=", ".join(SHELLS)),),
    ),
)
"""Verbs that need no proxy."""

QUESTIONS = (*LISTS, *LOOKS, *WHOLE)
