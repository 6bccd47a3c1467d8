"""The JSON of a judgement: what it says is what can be read back, and nothing else is taken for one."""

from __future__ import annotations

import json
from math import inf
from typing import Any

import pytest
from support.legs import T0
from support.verdicts import FINDINGS, finding, judgement, verdict

from shadowmesh.verdict.document import SCHEMA, from_document, to_document
from shadowmesh.verdict.records import Answer


def written(*verdicts: Any, **changes: Any) -> Any:
    """Return the document as somebody reads it who has nothing but its text."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(json.dumps(to_document(judgement(*verdicts, **changes))), parse_constant=refuse)


@pytest.mark.parametrize(
    "asked",
    [
        judgement(),
        judgement(verdict(), since_ns=T0),
        judgement(verdict(Answer.GO, warnings=("careful",)), verdict(Answer.NO_GO, target="other")),
        judgement(verdict(pairs=0, first_ns=0, last_ns=0, findings=())),
        judgement(verdict(findings=[*FINDINGS, finding("x", evidence=inf, interval=(-inf, 2.0))], eta_seconds=None)),
    ],
)
def test_a_judgement_is_read_back_as_it_was(asked: Any) -> None:
    again = from_document(json.loads(json.dumps(to_document(asked))))
    assert to_document(again) == to_document(asked)
    assert (again.answer, again.reason, len(again.verdicts)) == (asked.answer, asked.reason, len(asked.verdicts))


def test_it_says_first_what_a_script_wants() -> None:
    said = written(verdict(Answer.GO), verdict(Answer.NO_GO, target="other", reason="errors: shown"))
    assert list(said) == ["schema", "answer", "reason", "at", "since", "verdicts"]
    assert (said["schema"], said["answer"], said["reason"]) == (SCHEMA, "NO_GO", "summaries/other: errors: shown")
    assert (said["at"], said["since"]) == ("2023-11-15T01:13:20Z", None)


def test_a_verdict_names_what_it_is_about_and_when_it_was_dispatched() -> None:
    (said,) = written(verdict())["verdicts"]
    assert (said["experiment"], said["target"]) == ("summaries", "candidate")
    assert (said["target_digest"], said["config_digest"]) == ("a" * 12, "c" * 12)
    assert (said["first"], said["last"]) == ("2023-11-14T22:13:20Z", "2023-11-15T00:23:20Z")
    (empty,) = written(verdict(first_ns=0, last_ns=0))["verdicts"]
    assert (empty["first"], empty["last"]) == (None, None)


def test_what_has_no_bound_is_a_text_and_what_nobody_knows_is_null() -> None:
    unknown = finding("x", interval=(-inf, inf), estimate=float("nan"), limit=None)
    ((said,),) = [one["findings"] for one in written(verdict(findings=(unknown,)))["verdicts"]]
    assert said["interval"] == ["-Infinity", "Infinity"]
    assert (said["estimate"], said["limit"]) == (None, None)


def test_keys_of_a_later_version_are_not_in_the_way() -> None:
    said = written(verdict())
    said["more"] = said["verdicts"][0]["more"] = said["verdicts"][0]["findings"][0]["more"] = {}
    assert from_document(said) == judgement(verdict())


@pytest.mark.parametrize(
    "wrong",
    [
        None,
        [],
        {},
        {"schema": "shadowmesh.verdict/2", "at": "2023-11-15T01:13:20Z", "since": None, "verdicts": []},
        {"schema": SCHEMA},
        {"schema": SCHEMA, "at": "yesterday", "since": None, "verdicts": []},
        {"schema": SCHEMA, "at": 5, "since": None, "verdicts": []},
        {"schema": SCHEMA, "at": "2023-11-15T01:13:20", "since": None, "verdicts": []},
        {"schema": SCHEMA, "at": "2023-11-15T01:13:20Z", "since": None, "verdicts": 5},
        {"schema": SCHEMA, "at": "2023-11-15T01:13:20Z", "since": None, "verdicts": [{}]},
    ],
)
def test_what_is_no_judgement_is_refused_with_a_value_error(wrong: object) -> None:
    with pytest.raises(ValueError, match="not of the shape"):
        from_document(wrong)


@pytest.mark.parametrize(("key", "value"), [("answer", "PERHAPS"), ("pairs", "many"), ("findings", [{"name": "x"}])])
def test_a_verdict_with_a_wrong_value_is_refused(key: str, value: object) -> None:
    said = written(verdict())
    said["verdicts"][0][key] = value
    with pytest.raises(ValueError, match="not of the shape"):
        from_document(said)
