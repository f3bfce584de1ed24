"""Lines of the audit log: complete, on one line, and not to be forged by a value."""

import json

from hypothesis import given
from hypothesis import strategies as st

from sozu_trio.main.actors import Actor
from sozu_trio.main.audit import LONGEST, Audit, Deed, document_of, line_of

ACTOR = Actor(uid=1000, pid=7, process="ctl")
DEED = Deed(
    verb="backend add",
    what="backend add id=api",
    actor=ACTOR,
    result="refused",
    generation=4,
    elapsed=1.26,
    client=3,
    reason='id: found "x"',
)


def test_a_line_says_who_what_and_what_came_of_it() -> None:
    assert line_of(DEED) == (
        'result="refused" verb="backend add" what="backend add id=api" uid=1000 pid=7 process="ctl" client=3'
        ' generation=4 elapsed_ms=1.3 reason="id: found \\"x\\""'
    )


def test_a_document_has_the_same() -> None:
    assert json.loads(document_of(DEED, 1.5)) == {
        "time": "1970-01-01T00:00:01.500000Z",
        "verb": "backend add",
        "what": "backend add id=api",
        "actor": {"uid": 1000, "pid": 7, "process": "ctl"},
        "result": "refused",
        "generation": 4,
        "elapsed_ms": 1.3,
        "client": 3,
        "reason": 'id: found "x"',
    }


@given(st.text(), st.text())
def test_no_value_makes_a_second_line_or_another_member(process: str, reason: str) -> None:
    actor = Actor(uid=0, pid=1, process=process)
    deed = Deed(verb="v", what="w", actor=actor, result="ok", generation=1, elapsed=0, reason=reason)
    line = line_of(deed)
    assert line.isprintable()
    assert line.startswith('result="ok" verb="v" what="w" uid=0 pid=1 process="')
    assert document_of(deed, 0).isprintable()


def test_a_value_of_any_length_is_cut() -> None:
    deed = Deed(verb="v", what="w", actor=ACTOR, result="failed", generation=1, elapsed=0, reason="x" * 10 * LONGEST)
    assert len(line_of(deed)) < LONGEST + 200


def test_targets_take_their_lines() -> None:
    lines: list[str] = []
    documents: list[str] = []
    Audit(lines.append, documents.append, clock=lambda: 0.0).record(DEED)
    assert lines[0].startswith("1970-01-01T00:00:00.000000Z ")
    assert lines[0].endswith(f" AUDIT MAIN\t{line_of(DEED)}")
    assert documents == [document_of(DEED, 0)]
