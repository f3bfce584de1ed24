"""New code shows that it can take over from a main that runs: it is a child of that one, and only looks.

    from sozu_trio.cli.preflight import main; main(QUESTION, CODE)

Main's question is in a memfd, and so is the answer then (`main/preflight.py`). Whoever changes what is
asked or answered remembers that the other side is of another version. Everything that main and workers consist of is
imported here.
"""

import json
from pathlib import Path
from typing import Any

from sozu_trio import __version__, app, worker_process
from sozu_trio.cli import serve
from sozu_trio.cli.checking import checked_config
from sozu_trio.config.load import Config
from sozu_trio.config.values import show
from sozu_trio.control.codec import converter
from sozu_trio.control.journal_read import read_journal
from sozu_trio.control.messages import PROTOCOL
from sozu_trio.errors import OperatorError
from sozu_trio.main.handoff import FORMAT
from sozu_trio.main.staying import STAYING, journal_path
from sozu_trio.nursery.kept_code import zipped_code
from sozu_trio.routing.compile import compile_table

USED = app, serve, worker_process


def main(descriptor: int, code: int) -> None:
    """Answer the question in `descriptor` and write this very code into `code`, or end with exit code 1 and what is
    wrong on standard error.
    """
    try:
        with open(descriptor, "r+b", closefd=False) as paper:
            paper.seek(0)
            answer = _answer(json.loads(paper.read()))
            paper.seek(0)
            paper.truncate()
            paper.write(json.dumps(answer).encode())
        with open(code, "wb", closefd=False) as kept:
            kept.write(zipped_code())
    except OperatorError as error:
        raise SystemExit(str(error)) from None


def _answer(question: dict[str, Any]) -> dict[str, Any]:
    """Raises OperatorError for whatever keeps this code from taking over."""
    if question["format"] != FORMAT or question["protocol"] != PROTOCOL:
        raise OperatorError(
            f"version {__version__} cannot talk to what runs now (it speaks {PROTOCOL} with workers and {FORMAT} with "
            f"main, which speak {question['protocol']} and {question['format']}); want a stop and a start"
        )
    config = checked_config(Path(question["config"]))
    _refuse_moves(config, question)
    history = read_journal(Path(question["journal"])).history
    compile_table(history.state_at(history.generation), history.generation)
    return {"ready": __version__, "read": converter.unstructure(config.program)}


def _refuse_moves(config: Config, question: dict[str, Any]) -> None:
    """What main and workers find one another by cannot change while they do."""
    program = converter.unstructure(config.program)
    here = {key: program[key] for key in STAYING}
    there = {key: question["program"][key] for key in here}
    here["journal"], there["journal"] = str(journal_path(config.program)), question["journal"]
    moved = [
        f"{config.source}: {key}: found {show(here[key])}; want {show(there[key])}, which is in force: only a stop and "
        "a start can change that"
        for key in here
        if here[key] != there[key]
    ]
    if moved:
        raise OperatorError("\n".join(moved))
