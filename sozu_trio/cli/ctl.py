"""`ctl`: one request to a running proxy, its answer, an exit code.

What only a local verb needs is imported there: ctl is called often, and by scripts.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio

from sozu_trio.cli.asking import Asking
from sozu_trio.cli.ctl_options import PREFIX, body_of
from sozu_trio.cli.ctl_parser import VERBS
from sozu_trio.cli.ctl_target import find_target
from sozu_trio.cli.ctl_verbs import Verb
from sozu_trio.cli.drawing import event
from sozu_trio.cli.output import Output
from sozu_trio.cli.words import lines
from sozu_trio.control.protocol import IN_MESSAGE, Reply
from sozu_trio.errors import OperatorError, Problem, RequestFailed

DONE, FAILED, USAGE, DIFFERENCE, INTERRUPTED = 0, 1, 2, 3, 130


class _ReaderGone(Exception):
    """Nobody reads the events any more."""


def ctl(options: argparse.Namespace) -> int:
    """Carry out the command in `options`; returns its exit code. Everything that goes wrong is said here."""
    output = Output(as_json=options.json)
    try:
        return _carry_out(options, VERBS[options.verb], output)
    except OperatorError as error:
        if options.verb == "events":
            output.as_json = False  # standard output is a stream of events, and this is none
        output.problem(_text_about(options, error), _problems(error))
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED


def _text_about(options: argparse.Namespace, error: OperatorError) -> str:
    """`_text`, each problem of a saved state with the name of its file, which the proxy may not know."""
    text = _text(error)
    if options.verb != "state load" or "problems" not in _said(error):
        return text
    file = vars(options)[f"{PREFIX}file"]
    return "\n".join(f"{file}: {line}" for line in text.splitlines())


def _text(error: OperatorError) -> str:
    """What a person reads of a failure: its message, or all its problems where the message names but the first."""
    told = _said(error).get("problems")
    if not isinstance(told, list) or len(told) <= IN_MESSAGE or not all(isinstance(each, dict) for each in told):
        return str(error)
    return "\n".join(str(Problem(str(each.get("where", "")), str(each.get("what", "")))) for each in told)


def _said(error: OperatorError) -> Mapping[str, Any]:
    """The content of the proxy's answer."""
    return error.content if isinstance(error, RequestFailed) and isinstance(error.content, dict) else {}


def _problems(error: OperatorError) -> Any:
    """What a program reads of a failure: the proxy's content, else the problems by their places."""
    said = _said(error)
    problems = getattr(error, "problems", ()) or (Problem("", str(error)),)
    return {"problems": [{"where": each.where, "what": each.what} for each in problems], **said}


def _carry_out(options: argparse.Namespace, verb: Verb, output: Output) -> int:
    body = body_of(vars(options), verb.all_options)
    match verb.words:
        case "config check":
            return _check(options.config_file, output)
        case "completion":
            from sozu_trio.cli.completion import completion

            output.write(completion(body["shell"]))
            return DONE
    if options.config_file and options.socket:
        return _wrong_usage("-c and --socket exclude one another")
    target = find_target(options.config_file, options.socket, options.timeout, patient=verb.is_patient(body))
    prepared = body if verb.prepare is None else verb.prepare(body)
    return _ask(Asking(target.socket, target.timeout, verb), verb, prepared, output)


def _wrong_usage(what: str) -> int:
    print(f"sozu_trio ctl: error: {what}", file=sys.stderr)
    return USAGE


def _check(file: Path | None, output: Output) -> int:
    from sozu_trio.cli.checking import checked_config, counts, notice_lines, summary

    if file is None:
        return _wrong_usage("config check needs a file: ctl -c FILE config check")
    config = checked_config(file)
    if output.as_json:
        output.document({"file": str(file), **counts(config), "notices": list(map(str, config.notices))})
    else:
        output.write("\n".join([*notice_lines(config), summary(config)]))
    return DONE


def _ask(asking: Asking, verb: Verb, body: Mapping[str, Any], output: Output) -> int:
    try:
        reply: Reply = anyio.run(asking.ask, body, _listener(verb, output), backend="trio")
    except _ReaderGone:
        return DONE
    except (KeyboardInterrupt, BaseExceptionGroup) as error:
        if not _is_interrupt(error):
            raise
        if doubt := asking.doubt():
            print(f"interrupted{doubt}", file=sys.stderr)
        return INTERRUPTED
    if verb.words == "events":
        return DONE  # the proxy has stopped; what it says last is no event
    output.answer(verb.words, reply.message, reply.content)
    different = verb.words == "plan" and isinstance(reply.content, dict) and reply.content.get("difference")
    return DIFFERENCE if different else DONE


def _is_interrupt(error: BaseException) -> bool:
    """Ctrl-C may find Trio in a nursery, whose errors come in groups."""
    return not isinstance(error, BaseExceptionGroup) or error.split(KeyboardInterrupt)[1] is None


def _listener(verb: Verb, output: Output) -> Any:
    """What is done with replies before the last: events are the answer, of others people see the message."""

    def hear_event(reply: Reply) -> None:
        if output.as_json:
            output.json_line(reply.content)
        else:
            output.write(event(reply.content) if isinstance(reply.content, dict) else lines(reply.message))
        if output.gone:
            raise _ReaderGone

    def hear_progress(reply: Reply) -> None:
        if not output.as_json:
            output.write(lines(reply.message))

    return hear_event if verb.words == "events" else hear_progress
