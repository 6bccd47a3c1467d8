"""Similar outputs: the evidence is that of the pairs one by one, however many ledgers they are in."""

from __future__ import annotations

from dataclasses import replace
from math import ceil, floor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.columns import START_NS, drawn, ledger_of

from shadowmesh.evidence import MeanEvidence
from shadowmesh.verdict import grid
from shadowmesh.verdict.deciding import Levels, Question
from shadowmesh.verdict.facts import PairColumns
from shadowmesh.verdict.ledger import MINUTE_NS, Ledger
from shadowmesh.verdict.records import Answer, EvidenceKey, Reason, Result, Verdict
from shadowmesh.verdict.settings import CriteriaSettings, SimilaritySettings
from shadowmesh.verdict.similarity import Texts, similarity
from shadowmesh.verdict.verdict import judge

LEVELS = Levels(passing=0.05, failing=0.05, min_blocks=0, min_blocks_against=20, pace=1.0)
STEPS = grid.STEPS


def asked(ledgers: list[Ledger], settings: SimilaritySettings, levels: Levels = LEVELS) -> Question:
    whole = Ledger()
    for ledger in ledgers:
        whole.merge(ledger)
    return similarity(ledgers, whole, levels, texts=Texts(settings))


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_similarity_lies_between_its_step_and_the_one_above(one: float, other: float) -> None:
    steps = grid.steps(np.array([one, other]))
    for share, step in zip((one, other), steps, strict=True):
        assert step / grid.STEPS <= share + 1e-9
        assert share <= grid.above(np.array([step]))[0] / grid.STEPS + 1e-9


@pytest.mark.parametrize("limit", [0.95, 0.9, 0.637])
@pytest.mark.parametrize("missing", [0, 3])
def test_evidence_against_the_floor_is_that_of_the_pairs_one_by_one(limit: float, missing: int) -> None:
    columns = some_without_a_floor(drawn(700, similarity=0.7, floor=0.72, control_ratio=1.0, live_errors=0,
                                         shadow_errors=0))  # fmt: skip
    assert columns.texts is not None
    columns.texts.similarity[:missing] = np.nan
    floors = columns.texts.floor
    floors[:missing] = 0.7
    known = ~np.isnan(columns.texts.similarity) & ~np.isnan(floors)
    ours, theirs = (grid.steps(each[known]).tolist() for each in (columns.texts.similarity, floors))
    lost = int(ledger_of(columns).tally("texts").dense(2)[1])
    worst = [0] * (2 * STEPS + 1)
    best = list(worst)
    for shadow, live in zip(ours, theirs, strict=True):
        worst[floor(shadow - limit * min(live + 1, STEPS)) + STEPS] += 1
        best[ceil(min(shadow + 1, STEPS) - limit * live) + STEPS] += 1
    worst[floor(-limit * STEPS) + STEPS] += lost
    best[-1] += lost
    values = [step / STEPS for step in range(-STEPS, STEPS + 1)]
    question = asked([ledger_of(columns)], SimilaritySettings(limit=limit))
    assert question.passing.log == pytest.approx(MeanEvidence(values, 0.0, side=1).log_evidence(worst), abs=1e-9)
    assert question.failing.log == pytest.approx(MeanEvidence(values, 0.0, side=-1).log_evidence(best), abs=1e-9)
    assert question.estimate == pytest.approx(np.mean(ours) / STEPS, abs=1e-12)
    assert question.floor == pytest.approx(np.mean(theirs) / STEPS, abs=1e-12)
    assert question.pairs == len(ours) + lost


def test_absolute_evidence_is_that_of_the_pairs_one_by_one() -> None:
    columns = some_without_a_floor(drawn(700, similarity=0.93, floor=0.97, live_errors=0, shadow_errors=0))
    assert columns.texts is not None
    columns.texts.similarity[:5] = np.nan
    ours = grid.steps(columns.texts.similarity[5:])
    low = np.bincount(ours, minlength=STEPS + 1)
    high = np.bincount(np.minimum(ours + 1, STEPS), minlength=STEPS + 1)
    low[0] += 5
    high[-1] += 5
    values = [step / STEPS for step in range(STEPS + 1)]
    question = asked([ledger_of(columns)], SimilaritySettings(mode="absolute"))
    passing = MeanEvidence(values, 0.95, side=1).log_evidence(low.tolist())
    failing = MeanEvidence(values, 0.95, side=-1).log_evidence(high.tolist())
    assert (question.passing.log, question.failing.log) == pytest.approx((passing, failing), abs=1e-9)
    assert question.floor == pytest.approx(grid.steps(columns.texts.floor[100:]).mean() / STEPS, abs=1e-12)
    assert (question.pairs, question.missing) == (700, 5 / 700)


def some_without_a_floor(columns: PairColumns) -> PairColumns:
    assert columns.texts is not None
    columns.texts.floor[:100] = np.nan
    return columns


@pytest.mark.parametrize("mode", ["vs_floor", "absolute"])
def test_ledgers_that_are_asked_together_are_as_one(mode: str) -> None:
    columns = drawn(3000, similarity=0.7, floor=0.7)
    place = np.arange(3000)
    parts = [ledger_of(columns.where(place % 3 == part)) for part in range(3)]
    settings = SimilaritySettings.model_validate({"mode": mode})
    one, other = asked(parts, settings), asked([ledger_of(columns)], settings)
    assert one.factor == pytest.approx(other.factor, abs=1e-9)
    assert replace(one, factor=1.0) == replace(other, factor=1.0)


def test_alone_it_is_only_asked_whether_it_fails() -> None:
    ledger, settings = ledger_of(drawn(5000, similarity=0.6, floor=0.7)), SimilaritySettings()
    alone = asked([ledger], settings, replace(LEVELS, only_failing=True))
    assert alone.failing == asked([ledger], settings).failing
    assert alone.interval is None


def test_a_perfect_similarity_is_perfect() -> None:
    columns = drawn(2000, similarity=0.9)
    assert columns.texts is not None
    columns.texts.similarity[:] = 1.0
    question = asked([ledger_of(columns)], SimilaritySettings(mode="absolute"))
    assert question.estimate == 1.0
    assert question.interval is not None
    assert question.interval[1] == 1.0


@pytest.mark.parametrize(
    ("similarity", "passes", "fails"), [(0.7, True, False), (0.665, False, False), (0.6, False, True)]
)
def test_similarity_is_held_against_its_share_of_the_floor(similarity: float, passes: bool, fails: bool) -> None:
    ledger = ledger_of(drawn(5000, similarity=similarity, floor=0.7))
    question = asked([ledger], SimilaritySettings())
    assert (question.passing.log > 3) is passes
    assert (question.failing.log > 3) is fails
    assert question.interval is not None
    assert question.interval[0] < similarity < question.interval[1]


def test_the_mean_of_outputs_varies_between_minutes_as_they_do() -> None:
    columns = drawn(12_000, similarity=0.7, floor=0.7)
    assert columns.texts is not None
    even = asked([ledger_of(columns)], SimilaritySettings())
    minute = columns.dispatched_ns // 60_000_000_000
    columns.texts.similarity[minute % 7 == 0] = 0.4
    uneven = asked([ledger_of(columns)], SimilaritySettings())
    assert even.factor < 2
    assert uneven.factor > 10


@pytest.mark.parametrize("mode", ["vs_floor", "absolute"])
def test_where_texts_are_captured_and_none_came_it_stays_open(mode: str) -> None:
    criteria = CriteriaSettings(similarity=SimilaritySettings.model_validate({"mode": mode}))
    ledgers = {"/s/Generate": ledger_of(drawn(12_000, control_ratio=1.0))}
    key = EvidenceKey(experiment="summaries", target="candidate", target_digest="aaa", config_digest="bbb")

    def judged(*, captured: bool, of: dict[str, Ledger]) -> Verdict:
        guards = frozenset({"numbers"} if captured else ())
        return judge(key, of, criteria, now_ns=START_NS + 121 * MINUTE_NS, captured=guards)

    assert judged(captured=False, of=ledgers).answer is Answer.GO
    verdict = judged(captured=True, of=ledgers)
    (open_one,) = (one for one in verdict.findings if one.result is Result.NOT_YET)
    assert (verdict.answer, open_one.name, open_one.reason) == (Answer.NOT_YET, "similarity", Reason.TEXT_MISSING)
    (none,) = (one for one in judged(captured=True, of={}).findings if one.name == "similarity")
    assert none.reason is Reason.NO_EVIDENCE
