"""What nobody saw never speaks for a candidate: cut texts, empty answers, clients that left, skipped exchanges."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from support.columns import drawn, ledger_of

from shadowmesh.verdict.facts import Floats, Mask, PairColumns, State
from shadowmesh.verdict.ledger import MINUTE_NS
from shadowmesh.verdict.records import Answer, EvidenceKey, Finding, Reason, Result, Verdict
from shadowmesh.verdict.settings import CriteriaSettings, LatencySettings, SimilaritySettings
from shadowmesh.verdict.verdict import judge

KEY = EvidenceKey(experiment="x", target="candidate", target_digest="t", config_digest="c")
PAIRS = 12_000


def judged(*batches: PairColumns, criteria: CriteriaSettings | None = None) -> Verdict:
    ledgers = {str(number): ledger_of(batch) for number, batch in enumerate(batches)}
    return judge(KEY, ledgers, criteria or CriteriaSettings(), now_ns=max(one.last_ns for one in ledgers.values()))


def finding(verdict: Verdict, name: str) -> Finding:
    return next(one for one in verdict.findings if one.name == name and not one.stratum)


def without(values: Floats, where: Mask) -> Floats:
    return np.where(where, np.nan, values)


def with_texts(*, control: bool) -> PairColumns:
    if control:
        return drawn(PAIRS, similarity=0.7, floor=0.7, control_ratio=1.0)
    return drawn(PAIRS, similarity=0.97)


@pytest.mark.parametrize("control", [False, True])
def test_texts_that_were_cut_could_have_been_the_bad_ones(control: bool) -> None:
    columns = with_texts(control=control)
    criteria = CriteriaSettings(similarity=SimilaritySettings(mode="vs_floor" if control else "absolute"))
    assert finding(judged(columns, criteria=criteria), "similarity").result is Result.PASS
    assert columns.texts is not None
    cut = np.arange(PAIRS) % 10 == 0
    similarity = without(columns.texts.similarity, cut)
    verdict = judged(replace(columns, texts=replace(columns.texts, similarity=similarity)), criteria=criteria)
    found = finding(verdict, "similarity")
    assert (verdict.answer, found.result, found.reason) == (Answer.NOT_YET, Result.NOT_YET, Reason.TEXT_MISSING)
    assert found.missing == pytest.approx(0.1, abs=0.02)
    assert found.interval is not None
    assert found.interval[0] < (found.limit or 0.0) < found.interval[1]


def test_texts_of_one_minute_show_nothing_of_the_others() -> None:
    columns = drawn(PAIRS, similarity=0.97)
    texts = columns.texts
    assert texts is not None
    first = columns.dispatched_ns < columns.dispatched_ns[0] + MINUTE_NS
    flags = np.where(first, 1.0, np.nan), np.where(first, 0.0, np.nan)
    verdict = judged(replace(columns, texts=replace(texts, guards={"numbers": flags})))
    found = finding(verdict, "guard.numbers")
    assert (found.result, found.reason, found.blocks) == (Result.NOT_YET, Reason.MORE_BLOCKS, found.blocks)
    assert found.blocks <= 2
    assert verdict.answer is not Answer.NO_GO


def test_an_answer_of_no_chunk_is_not_a_quick_one() -> None:
    columns = drawn(PAIRS, live_errors=0, shadow_errors=0, ratio=1.6)
    slower = columns.shadow.duration > np.median(columns.shadow.duration)
    empty = replace(
        columns.shadow,
        duration=np.where(slower, 0.01, columns.shadow.duration),
        first_chunk=without(columns.shadow.first_chunk, slower),
        per_token=without(columns.shadow.per_token, slower),
    )
    criteria = CriteriaSettings(latency=(LatencySettings(), LatencySettings(measure="first_chunk")))
    verdict = judged(replace(columns, shadow=empty), criteria=criteria)
    assert verdict.answer is Answer.NOT_YET
    assert finding(verdict, "latency.first_chunk.p95").result is not Result.PASS


@pytest.mark.parametrize(("ratio", "answer"), [(1.0, Answer.GO), (1.5, Answer.NO_GO)])
def test_clients_that_leave_keep_no_verdict_open_and_are_said(ratio: float, answer: Answer) -> None:
    columns = drawn(PAIRS, ratio=ratio)
    # Whoever waits longest for the live answer leaves first.
    random = np.random.default_rng(3)
    left = random.random(PAIRS) < 0.08 * (columns.live.duration / columns.live.duration.max()) ** 0.5
    shadow_first = columns.shadow.duration < columns.live.duration * 0.5
    live = replace(columns.live, state=np.where(left, State.STOPPED, columns.live.state).astype(np.uint8))
    stopped = np.where(left & ~shadow_first, State.STOPPED, columns.shadow.state).astype(np.uint8)
    verdict = judged(replace(columns, live=live, shadow=replace(columns.shadow, state=stopped)))
    assert verdict.answer is answer
    assert any("the client left" in warning for warning in verdict.warnings)


def test_exchanges_that_no_shadow_was_meant_to_get_are_said() -> None:
    columns = drawn(PAIRS)
    skipped = np.where(np.arange(PAIRS) % 20 == 0, State.SKIPPED, columns.shadow.state).astype(np.uint8)
    warnings = judged(replace(columns, shadow=replace(columns.shadow, state=skipped))).warnings
    assert [warning for warning in warnings if warning.startswith("5.0% of the sampled exchanges went to no shadow")]
    assert judged(columns).warnings == ()


def test_the_methods_asked_alone_are_those_with_most_pairs() -> None:
    criteria = CriteriaSettings()
    small = [drawn(600, seed=seed) for seed in range(1, 9)]
    broken = drawn(8000, seed=99, ratio=2.0)
    large = drawn(60_000, seed=100)
    verdicts = [judged(*batches, criteria=criteria) for batches in ([*small, broken, large], [broken, large, *small])]
    assert [verdict.answer for verdict in verdicts] == [Answer.NO_GO] * 2
    assert len({verdict.reason.partition(" of ")[2].partition(":")[2] for verdict in verdicts}) == 1


@pytest.mark.parametrize(("longest", "said"), [(True, True), (False, False)])
def test_shedding_that_has_to_do_with_the_length_of_the_answer_is_said(longest: bool, said: bool) -> None:
    columns = drawn(PAIRS)
    random = np.random.default_rng(5)
    tokens = np.ceil(np.exp(random.normal(4, 1, PAIRS)))
    chance = random.random(PAIRS) < (0.04 * (tokens > 200) if longest else 0.01)
    state = np.where(chance, State.SHED, columns.shadow.state).astype(np.uint8)
    live = replace(columns.live, output_tokens=tokens)
    warnings = judged(replace(columns, live=live, shadow=replace(columns.shadow, state=state))).warnings
    assert any("has to do with length" in warning for warning in warnings) is said
