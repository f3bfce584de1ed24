"""Decisions are shared by all requests they answer, so they cannot be changed."""

import dataclasses

import pytest

from sozu_trio.routing.decisions import NOT_FOUND, Outcome


def test_not_found_leads_nowhere() -> None:
    assert (NOT_FOUND.outcome, NOT_FOUND.cluster, NOT_FOUND.frontend) == (Outcome.NOT_FOUND, None, None)
    assert dict(NOT_FOUND.tags) == {}


def test_a_decision_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        NOT_FOUND.outcome = Outcome.FORWARD  # type: ignore[misc]
