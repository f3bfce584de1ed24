"""The command line: what may not be said together, and what failures become."""

import pytest

from benchmarks.upgrade_drill.run import command_line


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--url", "http://a/"], "takes both"),
        (["--socket", "sock"], "takes both"),
        (["--url", "https://a/", "--socket", "sock"], "is no URL of the form"),
        (["--url", "http://a/", "--socket", "sock", "--paired"], "a proxy of its own"),
        (["--workers-only", "--no-upgrade"], "not allowed with"),
        (["--upgrades", "0"], "no whole number above 0"),
        (["--rate", "-1"], "no whole number above 0"),
    ],
)
def test_wrong_usage(words: list[str], why: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command_line(words)
    assert ended.value.code == 2
    assert why in capsys.readouterr().err


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command_line(["--help"])
    assert ended.value.code == 0
    assert "scripts/upgrade-drill --paired" in capsys.readouterr().out
