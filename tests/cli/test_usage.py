"""Wrong usage is told in our words: what was found, what would be right, what may have been meant."""

import pytest

from sozu_trio.cli import main
from sozu_trio.cli.usage import explained

Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["serv"], "COMMAND: found 'serv' (did you mean 'serve'?); want one of serve, ctl"),
        (["ctl", "backend", "ad"], "VERB: found 'ad' (did you mean 'add'?); want one of list, add, update, remove"),
        (["ctl", "completion", "x"], "SHELL: found 'x'; want one of bash, zsh, fish, tcsh"),
        (["ctl", "rollback", "x"], "argument GENERATION: found 'x'; want an integer"),
        (["ctl", "shutdown", "--drain-timeout", "nan"], "argument --drain-timeout: found 'nan'; want a number"),
        (["ctl", "--timeout", "-1", "status"], "argument --timeout: found '-1'; want a number of seconds, 0 = none"),
    ],
)
def test_what_is_said_of_a_word(words: list[str], said: str, capfd: Capture) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(words)
    assert capfd.readouterr().err.endswith(f"error: {said}\n")


def test_lists_of_any_python() -> None:
    for known in ("'one', 'two'", "one, two"):
        message = f"argument VERB: invalid choice: 'on' (choose from {known})"
        assert explained(message) == "VERB: found 'on' (did you mean 'one'?); want one of one, two"
    assert explained("argument -x: expected one argument") == "argument -x: expected one argument"
