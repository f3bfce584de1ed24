"""A request that changes something, on one line, for the history and the audit log.

Neither may hold a secret. So a value is shown only where the verb has such an option and it is known what may stand
there; of everything else there is the name.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from sozu_trio.config.secrets import PEM, REDACTED, is_secret
from sozu_trio.config.structure import keys_of
from sozu_trio.config.verbs import BODIES
from sozu_trio.main.bodies import (
    ApplyBody,
    ReloadBody,
    RollbackBody,
    SessionKillBody,
    ShutdownBody,
    StateLoadBody,
    StateSaveBody,
    UpgradeBody,
)
from sozu_trio.telemetry.escape import printable
from sozu_trio.telemetry.plural import count

HIDDEN: Final = "(not shown)"
LONGEST: Final = 300
"""Characters of a summary."""
_NAME: Final = 80
"""Characters of an option's name, or of a verb."""

_TABLES: Mapping[str, type] = {
    **BODIES,
    "apply": ApplyBody,
    "reload": ReloadBody,
    "rollback": RollbackBody,
    "session kill": SessionKillBody,
    "shutdown": ShutdownBody,
    "state load": StateLoadBody,
    "state save": StateSaveBody,
    "upgrade": UpgradeBody,
}
"""Verbs that change something → the table of their body."""
_FILES = (
    *("content", "certificate", "new-certificate", "old-certificate", "client-ca", "tls-ca", "tls-certificate"),
    "answer",
)
"""How options begin that are whole files, with whatever those hold."""
_POSITIONS = ("request", "response", "both")
"""Where a header edit applies."""


def summary(verb: str, body: Mapping[str, Any]) -> str:
    """The change on one line, without secrets: `backend add id=api backend-id=api-1 address=127.0.0.1:9000`."""
    given = {name: value for name, value in body.items() if name not in ("verb", "changes")}
    options = (f"{_name(name)}={_shown(verb, name, value)}" for name, value in given.items())
    return _cut(printable(" ".join([_name(verb), *options])))


def summary_of_all(given: Sequence[Any], file: str | None = None) -> str:
    """The first of a batch on one line, and the file they are from."""
    source = f" from {_word(file)}" if file is not None else ""
    return _cut(f"apply {count(len(given), 'change')}{printable(source)}: {'; '.join(map(_one_of_all, given[:3]))}")


def _one_of_all(change: Any) -> str:
    if not isinstance(change, Mapping):
        return "(no table)"
    verb = change.get("verb")
    return summary(verb if isinstance(verb, str) else "(no verb)", change)


def _shown(verb: str, name: str, value: object) -> str:
    """What stands for the value of an option."""
    if is_secret(name):
        return REDACTED
    if verb not in _TABLES or name not in keys_of(_TABLES[verb]):
        return HIDDEN
    if name.startswith(_FILES):
        return f"({len(value)} characters)" if isinstance(value, str) else HIDDEN
    if name == "header":
        return _json(list(map(_header, value))) if isinstance(value, list | tuple) else HIDDEN
    if isinstance(value, Mapping) and name != "tags":
        return HIDDEN
    return _word(value) if isinstance(value, str) else _json(value)


def _header(edit: object) -> str:
    """`POSITION=NAME=VALUE` without the value, which may be a password."""
    position, _, rest = edit.partition("=") if isinstance(edit, str) else ("", "", "")
    name, equals, _ = rest.partition("=")
    return f"{position}={name}" if position in _POSITIONS and equals else HIDDEN


def _name(text: str) -> str:
    cut = text if len(text) <= _NAME else f"{text[: _NAME - 1]}…"
    return HIDDEN if PEM in text else cut


def _word(text: str) -> str:
    """Text as it is, or as a JSON string where it would not be one word."""
    if len(text) > LONGEST:
        return f"({len(text)} characters)"
    if PEM in text:
        return HIDDEN
    return text if text and " " not in text else _json(text)


def _json(value: object) -> str:
    """Lists of lists and the like are no value of any option."""
    if isinstance(value, Mapping):
        value = {name: _plain(each) for name, each in value.items()}
    elif isinstance(value, list | tuple):
        value = list(map(_plain, value[:LONGEST]))
    text = json.dumps(value, ensure_ascii=False, default=lambda _: HIDDEN)
    return HIDDEN if PEM in text else text


def _plain(value: object) -> object:
    return HIDDEN if isinstance(value, Mapping | list | tuple) else value


def _cut(line: str) -> str:
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"
