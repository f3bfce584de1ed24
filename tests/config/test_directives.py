"""Log directives: the most specific module wins, a typo is an error."""

import itertools
import logging

import pytest

from sozu_trio.config.directives import OFF, TRACE, Directives, directives_from, effective_level, parse_directives
from sozu_trio.errors import OperatorError


@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("off", OFF),
        ("error", logging.ERROR),
        ("warn", logging.WARNING),
        ("warning", logging.WARNING),
        ("info", logging.INFO),
        ("debug", logging.DEBUG),
        ("trace", TRACE),
        ("INFO", logging.INFO),
        (" debug ", logging.DEBUG),
        ("debug/some filter, ignored", logging.DEBUG),
    ],
)
def test_a_bare_level_is_the_default(text: str, level: int) -> None:
    assert parse_directives(text) == Directives(level)


def test_without_a_bare_level_the_default_is_info() -> None:
    assert parse_directives("trio=debug") == Directives(logging.INFO, (("trio", logging.DEBUG),))


def test_the_most_specific_module_wins_whatever_the_order() -> None:
    parts = ["warn", "sozu_trio=info", "sozu_trio.wire=debug", "sozu_trio.wire.request = trace"]
    parsed = {parse_directives(",".join(order)) for order in itertools.permutations(parts)}
    assert len(parsed) == 1
    (directives,) = parsed
    levels = {
        "sozu_trio.wire.request": TRACE,
        "sozu_trio.wire.chunked": logging.DEBUG,
        "sozu_trio.wire": logging.DEBUG,
        "sozu_trio.wireless": logging.INFO,
        "sozu_trio": logging.INFO,
        "trio.serve_listeners": logging.WARNING,
    }
    assert {name: effective_level(directives, name) for name in levels} == levels


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "inof",
            "'inof' is not a level (did you mean 'info'?); levels are off, error, warn, warning, info, debug, trace",
        ),
        ("sozu_trio.wire=dbug", "'dbug' is not a level (did you mean 'debug'?)"),
        ("zzz", "'zzz' is not a level; levels are off"),
        ("sozu_trio.wire", "'sozu_trio.wire' is not a level; for a module write sozu_trio.wire=debug"),
        ("", "'' is not a level"),
        ("info,", "'' is not a level"),
        ("sozu_trio.wire=", "'' is not a level"),
        ("=debug", "'' is not a module"),
        ("sozu_trio..wire=debug", "'sozu_trio..wire' is not a module"),
        ("sozu_trio=wire=debug", "'sozu_trio=wire' is not a module"),
        ("sozu_lib::mux=debug", "'sozu_lib::mux' is not a module"),
        ("sozu_tiro.wire=debug", "nothing is logged by 'sozu_tiro' (did you mean 'sozu_trio'?)"),
        ("http=debug", "nothing is logged by 'http'; want a module of sozu_trio or trio"),
        ("info,debug", "'debug' is one level too many"),
        ("trio=info,trio=debug", "'trio' is one level too many"),
    ],
)
def test_what_cannot_be_understood_is_an_error_that_names_it(text: str, message: str) -> None:
    with pytest.raises(OperatorError) as caught:
        parse_directives(text)
    assert message in str(caught.value)


def test_the_environment_wins_over_the_configuration() -> None:
    assert directives_from({"SOZU_LOG": "trace"}, "error") == Directives(TRACE)
    assert directives_from({"SOZU_LOG": ""}, "error") == Directives(logging.ERROR)
    assert directives_from({}, "error") == Directives(logging.ERROR)


def test_an_error_says_which_of_the_two_is_wrong() -> None:
    with pytest.raises(OperatorError, match=r"^SOZU_LOG: .*'inof'"):
        directives_from({"SOZU_LOG": "inof"}, "error")
    with pytest.raises(OperatorError, match=r"^log_level: .*'eror'"):
        directives_from({}, "eror")
