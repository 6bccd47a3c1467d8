"""Prompts and answers, where an experiment asks for them, reach the processor's store and nobody else."""

from __future__ import annotations

import json

import pytest
from e2e.live import mirrored
from e2e.results import contents, outcomes
from e2e.stage import Stage
from support.resources import until

pytestmark = pytest.mark.e2e

WITHIN = 20.0
PROMPT = "Wie heißt die Hauptstadt der Schweiz?"


def text(messages: str | None) -> str:
    """Return the text of the only message of a list."""
    assert messages is not None
    (message,) = json.loads(messages)
    return "".join(part["content"] for part in message["parts"])


@pytest.mark.parametrize("kind", ["sync", "aio"])
def test_captured_text_comes_by_the_collectors_logs_into_the_store(stage: Stage, kind: str) -> None:
    name = f"captured-{kind}"
    with mirrored(stage, kind, name=name, shadow=str.lower, content="events") as live:
        live.ask(PROMPT)
    assert until(lambda: len(contents(stage.store, name)) == 2, WITHIN), contents(stage.store, name)
    said = {(one.role, one.target): (text(one.input), text(one.output)) for one in contents(stage.store, name)}
    assert said == {("live", ""): (PROMPT, PROMPT.upper()), ("shadow", "candidate"): (PROMPT, PROMPT.lower())}
    # The call, both legs and the comparison.
    assert until(lambda: len(stage.jaeger.search(name)) == 4, WITHIN)
    assert "hauptstadt" not in json.dumps(stage.jaeger.search(name)).casefold()


def test_without_being_asked_for_it_no_text_gets_there(stage: Stage) -> None:
    name = "silent"
    with mirrored(stage, name=name) as live:
        live.ask(PROMPT)
    assert until(lambda: outcomes(stage.store, name) == {"matched": 1}, WITHIN)
    assert contents(stage.store, name) == []
