"""Which evidence answers for which candidate, and what all of them come to together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from support.verdicts import judgement, key, verdict

from shadowmesh.errors import UnknownNameError
from shadowmesh.verdict.coverage import SampleRatio
from shadowmesh.verdict.judgement import Folds, Judgement
from shadowmesh.verdict.judgement import judgement as judged
from shadowmesh.verdict.ledger import Ledger
from shadowmesh.verdict.plan import Plan
from shadowmesh.verdict.records import Answer, EvidenceKey, Reason, Result
from shadowmesh.verdict.settings import CoverageSettings, CriteriaSettings

LENIENT = CriteriaSettings(coverage=CoverageSettings(pairs=1))


class Book:
    """Empty evidence about some keys, the newest last."""

    def __init__(self, *known: EvidenceKey, attempt: int = 0, versions: int = 0, folds: Folds | None = None) -> None:
        self._known = list(known)
        self._attempt = attempt
        self._versions = versions
        self._folds = folds or Folds()
        self.drawn: dict[EvidenceKey, SampleRatio] = {}

    def keys(self) -> list[EvidenceKey]:
        return self._known

    def latest(self, experiment: str | None, target: str | None) -> list[EvidenceKey]:
        newest = {(one.experiment, one.target): one for one in self._known}
        return [one for one in newest.values() if experiment in (None, one.experiment) and target in (None, one.target)]

    def ledgers(self, key: EvidenceKey) -> dict[str, Ledger]:
        assert key in self._known
        return {"/a.B/C": Ledger()}

    def control(self, key: EvidenceKey) -> dict[str, Ledger] | None:
        assert key in self._known
        return None

    def attempt(self, key: EvidenceKey) -> int:
        return self._attempt if key in self._known else 0

    def other_versions(self, key: EvidenceKey) -> int:
        return self._versions if key in self._known else 0

    def sampling(self, key: EvidenceKey) -> SampleRatio | None:
        return self.drawn.get(key)

    def folds(self) -> Folds:
        return self._folds


def plan(*targets: str, experiment: str = "summaries", digest: str = "c" * 12) -> Plan:
    candidates = dict.fromkeys(targets or ("candidate",), "a" * 12)
    return Plan(experiment=experiment, criteria=LENIENT, config_digest=digest, candidates=candidates)


def about(found: Judgement) -> list[EvidenceKey]:
    return [one.key for one in found.verdicts]


@pytest.mark.parametrize(
    ("answers", "worst"),
    [
        ((), Answer.NOT_YET),
        ((Answer.GO,), Answer.GO),
        ((Answer.GO, Answer.NOT_YET), Answer.NOT_YET),
        ((Answer.NOT_YET, Answer.NO_GO, Answer.GO), Answer.NO_GO),
    ],
)
def test_the_answer_is_the_worst_of_all(answers: Sequence[Answer], worst: Answer) -> None:
    assert judgement(*map(verdict, answers)).answer is worst


def test_the_reason_is_that_of_the_first_verdict_that_decides() -> None:
    two = judgement(verdict(Answer.GO, reason="fine"), verdict(Answer.NO_GO, target="other", reason="bad"))
    assert two.reason == "summaries/other: bad"
    assert judgement(verdict(reason="bad")).reason == "bad"


def test_others_that_decide_alike_are_named_in_the_reason() -> None:
    bad = [verdict(Answer.NO_GO, target=f"t{number}", reason="bad") for number in range(12)]
    assert judgement(*bad[:3]).reason == "summaries/t0: bad; likewise summaries/t1, summaries/t2"
    assert judgement(*bad, verdict()).reason.endswith("summaries/t8 and 3 more")


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (("nope", None), "there is no experiment nope, only other, summaries"),
        (("nope", "a"), "there is no experiment nope, only other, summaries"),
        ((None, "nope"), "there is no candidate nope, only b, a"),
        (("summaries", "b"), "there is no candidate b in summaries, only a"),
        (("a\x1b[2J", None), "there is no experiment a\N{REPLACEMENT CHARACTER}[2J, only other, summaries"),
    ],
)
def test_a_name_that_nobody_has_is_refused_where_there_are_others(
    names: tuple[str | None, str | None], says: str
) -> None:
    book = Book(key("b", experiment="other"))
    experiment, target = names
    with pytest.raises(UnknownNameError) as refused:
        judged(book, [plan("a")], now_ns=1, experiment=experiment, target=target)
    assert str(refused.value) == says
    assert about(judged(Book(), now_ns=1, experiment=experiment, target=target)) == []


@pytest.mark.parametrize(
    ("versions", "says"), [(1, "1 earlier version of this target was"), (3, "3 earlier versions of this target were")]
)
def test_earlier_versions_of_a_target_are_a_warning(versions: int, says: str) -> None:
    (one,) = judged(Book(key(), versions=versions), now_ns=1).verdicts
    assert any(warning.startswith(f"{says} judged: ") for warning in one.warnings)
    (first,) = judged(Book(key()), now_ns=1).verdicts
    assert not any("earlier version" in warning for warning in first.warnings)


def test_without_a_file_every_candidate_is_judged_by_the_defaults_which_is_said() -> None:
    book = Book(key("a"), key("b", experiment="other"))
    found = judged(book, now_ns=1)
    assert about(found) == book.keys()
    assert {one.criteria_digest for one in found.verdicts} == {CriteriaSettings().digest}
    assert all("default criteria" in one.warnings[-1] for one in found.verdicts)
    assert about(judged(book, now_ns=1, experiment="other")) == [key("b", experiment="other")]
    assert about(judged(book, now_ns=1, target="a")) == [key("a")]


def test_with_a_file_its_candidates_are_judged_by_its_criteria_whether_there_is_evidence_or_not() -> None:
    book = Book(key("a"), key("gone"))
    found = judged(book, [plan("a", "new")], now_ns=1)
    assert about(found) == [key("a"), key("new")]
    assert {one.criteria_digest for one in found.verdicts} == {LENIENT.digest}
    assert [one.warnings for one in found.verdicts] == [(), ()]
    assert found.answer is Answer.NOT_YET


def test_what_the_file_does_not_have_can_be_asked_for_by_name() -> None:
    book = Book(key("a"), key("b", experiment="other"), key("gone"))
    (other,) = judged(book, [plan("a")], now_ns=1, experiment="other").verdicts
    assert (other.key.target, other.criteria_digest) == ("b", CriteriaSettings().digest)
    (gone,) = judged(book, [plan("a")], now_ns=1, target="gone").verdicts
    assert (gone.key.target, gone.criteria_digest) == ("gone", LENIENT.digest)


def test_evidence_of_the_files_own_configuration_answers_though_there_is_newer_one() -> None:
    newer = key("a", config_digest="e" * 12)
    (found,) = judged(Book(key("a"), newer), [plan("a")], now_ns=1).verdicts
    assert found.key == key("a")


def test_evidence_of_another_configuration_is_not_yet_and_names_both() -> None:
    newer = key("a", config_digest="e" * 12)
    (found,) = judged(Book(newer), [plan("a")], now_ns=1).verdicts
    assert (found.answer, found.key, found.eta_pairs) == (Answer.NOT_YET, newer, None)
    assert found.findings[0].reason is Reason.OTHER_CONFIG
    assert found.reason == f"other_config: the evidence is of configuration {'e' * 12}, asked for is {'c' * 12}"


def test_even_a_rejection_of_another_configuration_decides_nothing() -> None:
    rejected = judgement(verdict(Answer.NO_GO), verdict(Answer.GO, target="b"))
    assert rejected.held_to("c" * 12) == rejected
    assert [one.answer for one in rejected.held_to("e" * 12).verdicts] == [Answer.NOT_YET, Answer.NOT_YET]
    without = replace(verdict(Answer.GO), key=key(config_digest=""))
    assert "configuration unknown" in judgement(without).held_to("e" * 12).reason


def test_attempts_are_those_of_the_evidence() -> None:
    (found,) = judged(Book(key(), attempt=2), [plan()], now_ns=1, since_ns=5).verdicts
    assert (found.attempt, found.alpha) == (2, LENIENT.alpha / 4)


def test_pairs_that_came_late_and_costs_that_were_left_out_are_said_of_every_verdict() -> None:
    keys = key(), key("other")
    odd = judged(Book(*keys, folds=Folds(late=1200, mixed_currencies=3)), [plan("candidate", "other")], now_ns=1)
    for one in odd.verdicts:
        assert [warning.split(" ")[3] for warning in one.warnings] == ["1,200", "3"]
    assert all(not one.warnings for one in judged(Book(*keys), [plan("candidate", "other")], now_ns=1).verdicts)


def test_how_calls_were_drawn_is_asked_of_the_evidence_that_is_judged() -> None:
    book = Book(key())
    assert not any(one.name == "sample_ratio" for one in judged(book, now_ns=1).verdicts[0].findings)
    book.drawn[key()] = SampleRatio(eligible=1000, sampled=200, expected=500.0)
    (verdict,) = judged(book, now_ns=1).verdicts
    (finding,) = (one for one in verdict.findings if one.name == "sample_ratio")
    assert (finding.reason, finding.result) == (Reason.SAMPLE_RATIO, Result.NOT_YET)


def test_evidence_of_another_version_of_the_target_is_not_yet_and_names_both() -> None:
    other = key("a", target_digest="f" * 12)
    (found,) = judged(Book(other), [plan("a")], now_ns=1).verdicts
    assert (found.answer, found.key) == (Answer.NOT_YET, other)
    assert found.findings[0].reason is Reason.OTHER_CONFIG
    said = f"the evidence is of version {'f' * 12} of the target, asked for is {'a' * 12}"
    assert found.reason == f"other_config: {said}"
    (unsaid,) = judged(Book(key("a", target_digest="")), [plan("a")], now_ns=1).verdicts
    assert "other_config" not in unsaid.reason, "of shadows that never came no version is known"


def test_where_texts_are_captured_their_absence_is_asked_about() -> None:
    for captured, result in ((frozenset({"numbers"}), Result.NOT_YET), (frozenset[str](), Result.OFF)):
        (found,) = judged(Book(key()), [replace(plan(), captured=captured)], now_ns=1).verdicts
        (similarity,) = (one for one in found.findings if one.name == "similarity")
        assert similarity.result is result
