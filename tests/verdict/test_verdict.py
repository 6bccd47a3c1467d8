"""GO, NO_GO or NOT_YET: of services that are equal, slower, or fail, and of what is too little to say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from support.columns import START_NS, drawn, ledger_of

from shadowmesh.evidence import log_threshold
from shadowmesh.verdict.coverage import SampleRatio
from shadowmesh.verdict.facts import LegColumns, PairColumns, State, TextColumns
from shadowmesh.verdict.ledger import MINUTE_NS, Ledger
from shadowmesh.verdict.records import Answer, EvidenceKey, Finding, Gate, Reason, Result, Verdict
from shadowmesh.verdict.settings import CoverageSettings, CriteriaSettings, GuardSettings, LatencySettings
from shadowmesh.verdict.verdict import judge

KEY = EvidenceKey(experiment="summaries", target="candidate", target_digest="aaa", config_digest="bbb")
NOW = START_NS + 121 * MINUTE_NS
DEFAULTS = CriteriaSettings()


def judged(
    columns: PairColumns | dict[str, PairColumns], criteria: CriteriaSettings = DEFAULTS, **others: Any
) -> Verdict:
    strata = columns if isinstance(columns, dict) else {"/s/Generate": columns}
    ledgers = {name: ledger_of(each) for name, each in strata.items()}
    return judge(KEY, ledgers, criteria, **{"now_ns": NOW, **others})


def found(verdict: Verdict, name: str, stratum: str = "") -> Finding:
    (finding,) = (one for one in verdict.findings if (one.name, one.stratum) == (name, stratum))
    return finding


def with_states(columns: PairColumns, side: str, state: State, share: float, seed: int = 7) -> PairColumns:
    leg: LegColumns = getattr(columns, side)
    hit = np.random.default_rng(seed).random(len(columns)) < share
    changed = replace(leg, state=np.where(hit, state, leg.state).astype(np.uint8))
    return replace(columns, live=changed) if side == "live" else replace(columns, shadow=changed)


@pytest.mark.parametrize("seed", range(5))
def test_a_model_against_itself_reaches_go_at_the_defaults(seed: int) -> None:
    verdict = judged(drawn(12_000, seed=seed))
    assert verdict.answer is Answer.GO
    assert (verdict.comparable, verdict.blocks, verdict.eta_pairs) == (12_000, 120, None)
    assert {one.result for one in verdict.findings} == {Result.PASS, Result.OFF}


def test_a_model_that_samples_reaches_go_with_text_against_its_floor() -> None:
    verdict = judged(drawn(12_000, similarity=0.7, floor=0.7, control_ratio=1.0))
    assert verdict.answer is Answer.GO
    similarity = found(verdict, "similarity")
    assert (similarity.result, similarity.mode) == (Result.PASS, "vs_floor")
    assert similarity.interval is not None
    assert similarity.limit is not None
    assert similarity.interval[0] > similarity.limit == pytest.approx(0.95 * 0.7, abs=0.01)


@pytest.mark.parametrize("changes", [{"ratio": 1.4}, {"shadow_errors": 0.05}])
def test_what_is_slower_or_fails_is_no_go(changes: dict[str, float]) -> None:
    verdict = judged(drawn(12_000, **changes))  # type: ignore[arg-type]  # only floats are given
    assert verdict.answer is Answer.NO_GO
    name = "latency.duration.p95" if "ratio" in changes else "errors"
    finding = found(verdict, name)
    assert (finding.result, finding.reason) == (Result.FAIL, Reason.SHOWN)
    assert name in verdict.reason
    assert finding.evidence_against is not None
    assert finding.evidence_against > log_threshold(0.05 / 2) == finding.threshold_against


def test_no_data_is_not_yet() -> None:
    for verdict in (judged({}), judged(drawn(0)), judged(with_states(drawn(500), "shadow", State.SKIPPED, 2))):
        assert verdict.answer is Answer.NOT_YET
        assert {one.reason for one in verdict.findings if one.result is Result.NOT_YET} == {Reason.NO_EVIDENCE}


def test_what_is_on_its_way_says_how_long_it_still_takes() -> None:
    verdict = judged(drawn(3000))
    assert verdict.answer is Answer.NOT_YET
    errors, coverage = found(verdict, "errors"), found(verdict, "coverage")
    assert errors.reason is Reason.MORE_PAIRS
    assert 0 < (errors.eta_pairs or 0) < 5000
    assert coverage.eta_pairs == 7001
    assert verdict.eta_pairs == 7001
    assert verdict.eta_seconds == pytest.approx(7001 / verdict.pairs_per_second)
    assert verdict.pairs_per_second == pytest.approx(3000 / 7200, rel=0.2)


@pytest.mark.parametrize(("pairs", "foreseen"), [(30, False), (150, True)])
def test_of_a_few_pairs_nobody_can_tell_how_many_more_it_takes(pairs: int, foreseen: bool) -> None:
    verdict = judged(drawn(pairs, ratio=10.0, minutes=5), now_ns=START_NS + 6 * MINUTE_NS)
    latency, coverage = found(verdict, "latency.duration.p95"), found(verdict, "coverage")
    assert latency.result is Result.NOT_YET
    assert (latency.eta_pairs is not None) == foreseen
    assert coverage.eta_pairs == 10_001 - pairs


def test_the_pace_of_a_service_that_went_quiet_is_unknown() -> None:
    verdict = judged(drawn(3000), now_ns=NOW + 600 * MINUTE_NS)
    assert (verdict.pairs_per_second, verdict.eta_seconds) == (0.0, None)
    assert verdict.eta_pairs == 7001


def test_few_minutes_are_not_enough_however_many_pairs_they_hold() -> None:
    verdict = judged(drawn(12_000, minutes=19), now_ns=START_NS + 20 * MINUTE_NS)
    assert verdict.answer is Answer.NOT_YET
    assert found(verdict, "errors").reason is Reason.MORE_BLOCKS
    assert found(verdict, "errors").eta_seconds == pytest.approx(81 * 60)
    slow = judged(drawn(12_000, minutes=19, ratio=1.5))
    assert slow.answer is Answer.NOT_YET
    assert found(slow, "latency.duration.p95").reason is Reason.MORE_BLOCKS


def test_how_many_minutes_a_fail_takes_is_a_setting() -> None:
    slow, minutes = drawn(12_000, minutes=5, ratio=1.5), CoverageSettings(min_blocks_against=6)
    found_open = found(judged(slow, CriteriaSettings(coverage=minutes)), "latency.duration.p95")
    assert (found_open.reason, found_open.detail) == (Reason.MORE_BLOCKS, "5 of 6 dispatch minutes seen")
    fewer = minutes.model_copy(update={"min_blocks_against": 5})
    assert judged(slow, CriteriaSettings(coverage=fewer)).answer is Answer.NO_GO


def test_what_lies_at_its_limit_with_few_pairs_may_do_so_by_luck() -> None:
    strict = CriteriaSettings.model_validate({"errors": {"mode": "strict"}})
    few = found(judged(drawn(999, live_errors=0, shadow_errors=0), strict), "errors")
    assert (few.reason, few.detail) == (Reason.MORE_PAIRS, "the evidence points neither way yet")
    many = found(judged(drawn(1000, live_errors=0, shadow_errors=0), strict), "errors")
    assert many.reason is Reason.UNDECIDABLE


def test_large_numbers_can_be_read() -> None:
    assert found(judged(drawn(3000)), "coverage").detail == "3,000 of more than 10,000 compared exchanges"


def test_failures_in_bursts_are_no_evidence_yet() -> None:
    columns = drawn(12_000, live_errors=0, shadow_errors=0)
    minute = (columns.dispatched_ns - START_NS) // MINUTE_NS
    state = np.where((minute >= 50) & (minute < 54), State.FAILED, State.OK).astype(np.uint8)
    errors = found(judged(replace(columns, shadow=replace(columns.shadow, state=state))), "errors")
    assert (errors.result, errors.reason) == (Result.NOT_YET, Reason.BURSTS)
    assert errors.variance_factor > 20


def test_at_the_limit_it_is_said_that_nothing_will_come_of_it() -> None:
    columns = drawn(12_000, live_errors=0, shadow_errors=0)
    same = replace(columns, shadow=replace(columns.shadow, duration=columns.live.duration * 1.2))
    latency = found(judged(same), "latency.duration.p95")
    assert (latency.result, latency.reason) == (Result.NOT_YET, Reason.UNDECIDABLE)
    assert latency.eta_pairs is None


def test_a_slow_method_is_not_hidden_by_a_good_mean() -> None:
    methods = {"/s/Chat": drawn(40_000), "/s/Embed": drawn(1500, seed=1, ratio=2.0)}
    verdict = judged(methods)
    assert verdict.answer is Answer.NO_GO
    assert found(verdict, "latency.duration.p95").result is not Result.FAIL
    assert found(verdict, "latency.duration.p95", "/s/Embed").result is Result.FAIL
    assert "/s/Embed" in verdict.reason
    alone = CriteriaSettings(strata=False)
    assert judged(methods, alone).answer is Answer.GO


def test_methods_that_are_equal_do_not_fail_alone() -> None:
    verdict = judged({f"/s/{name}": drawn(4000, seed=name) for name in range(4)})
    assert verdict.answer is Answer.GO
    assert not [one for one in verdict.findings if one.stratum]


def test_a_slow_shadow_path_is_taken_out_by_judging_against_the_control() -> None:
    columns = drawn(12_000, ratio=1.5, control_ratio=1.5, live_errors=0, shadow_errors=0)
    assert columns.control is not None
    control = {"/s/Generate": ledger_of(replace(columns, shadow=columns.control, control=None))}
    assert judged(columns).answer is Answer.NO_GO
    verdict = judged(columns, control=control)
    assert verdict.answer is Answer.GO
    assert found(verdict, "latency.duration.p95").mode == "control"
    assert "control_bias" in verdict.warnings[0]


def test_what_is_held_against_the_control_says_how_long_it_still_takes() -> None:
    columns = drawn(2000, ratio=1.65, control_ratio=1.5, live_errors=0, shadow_errors=0)
    assert columns.control is not None
    control = {"/s/Generate": ledger_of(replace(columns, shadow=columns.control, control=None))}
    latency = found(judged(columns, control=control), "latency.duration.p95")
    assert (latency.mode, latency.result, latency.reason) == ("control", Result.NOT_YET, Reason.MORE_PAIRS)
    assert latency.eta_pairs
    without = found(judged(replace(columns, control=None), control=control), "latency.duration.p95")
    assert (without.mode, without.result, without.reason) == ("control", Result.NOT_YET, Reason.CONTROL_BIAS)
    assert "no exchange was answered by the control" in without.detail


def test_a_control_that_shows_no_bias_changes_nothing() -> None:
    columns = drawn(12_000, control_ratio=1.0)
    assert columns.control is not None
    control = {"/s/Generate": ledger_of(replace(columns, shadow=columns.control, control=None))}
    verdict = judged(columns, control=control)
    assert (verdict.answer, verdict.warnings) == (Answer.GO, ())
    assert found(verdict, "latency.duration.p95").mode == ""


def test_clients_that_leave_are_said_and_from_a_share_on_nothing_is_decided_by_the_others() -> None:
    few = judged(with_states(drawn(12_000), "live", State.STOPPED, 0.03))
    assert few.answer is Answer.GO
    assert "the client left" in few.warnings[0]
    many = judged(with_states(drawn(12_000), "live", State.STOPPED, 0.08))
    assert (many.answer, found(many, "coverage").reason) == (Answer.NOT_YET, Reason.TOO_MANY_STOPPED)
    known = CriteriaSettings(coverage=CoverageSettings(stopped=0.1))
    assert judged(with_states(drawn(12_000), "live", State.STOPPED, 0.08), known).answer is Answer.GO


def test_the_part_of_alpha_does_not_become_smaller_when_more_is_asked() -> None:
    before = judged(drawn(500), captured=frozenset({"numbers", "refusal"}))
    after = judged(drawn(500, similarity=0.7, floor=0.7), captured=frozenset({"numbers", "refusal"}))
    expected = pytest.approx(log_threshold(0.05 / 5))
    assert found(before, "errors").threshold_against == found(after, "errors").threshold_against == expected


def test_every_attempt_halves_alpha() -> None:
    first, third = judged(drawn(3000)), judged(drawn(3000), attempt=2)
    assert (first.alpha, third.alpha) == (0.05, 0.0125)
    assert found(third, "errors").threshold == pytest.approx(log_threshold(0.0125))


def test_stages_divide_the_alpha_of_no_go_only() -> None:
    errors = found(judged(drawn(3000), CriteriaSettings(stages=7)), "errors")
    assert errors.threshold == pytest.approx(log_threshold(0.05))
    assert errors.threshold_against == pytest.approx(log_threshold(0.05 / 14))


def test_shedding_much_stops_it_and_shedding_little_warns() -> None:
    much = judged(with_states(drawn(12_000), "shadow", State.SHED, 0.08))
    assert found(much, "coverage").reason is Reason.TOO_MUCH_SHED or much.comparable <= 12_000
    assert much.answer is Answer.NOT_YET
    assert found(much, "errors").reason is Reason.TOO_MUCH_SHED
    assert "held back" in much.warnings[0]
    little = judged(with_states(drawn(12_000), "shadow", State.SHED, 0.002))
    assert (little.answer, little.warnings) == (Answer.GO, ())


def test_shadows_that_are_ended_too_early_are_told_from_slow_ones() -> None:
    columns = drawn(12_000, live_errors=0, shadow_errors=0)
    late = columns.shadow.duration > np.quantile(columns.shadow.duration, 0.94)
    ended = replace(
        columns.shadow,
        state=np.where(late, State.TIMED_OUT, State.OK).astype(np.uint8),
        duration=np.where(late, np.quantile(columns.shadow.duration, 0.94), columns.shadow.duration),
    )
    latency = found(judged(replace(columns, shadow=ended)), "latency.duration.p95")
    assert (latency.result, latency.reason) == (Result.NOT_YET, Reason.DEADLINE_SHORT)


def test_failures_are_told_from_what_was_held_back_where_they_keep_latency_open() -> None:
    verdict = judged(drawn(12_000, live_errors=0.04, shadow_errors=0.04))
    latency = found(verdict, "latency.duration.p95")
    assert (latency.result, latency.reason) == (Result.NOT_YET, Reason.TOO_MANY_FAILED)
    assert latency.missing == pytest.approx(0.08, abs=0.01)
    assert latency.estimate == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize("side", ["live", "shadow"])
def test_a_slow_candidate_is_found_although_one_call_in_a_hundred_fails(side: str) -> None:
    columns = with_states(drawn(12_000, ratio=1.4, live_errors=0, shadow_errors=0), side, State.FAILED, 0.01)
    latency = found(judged(columns), "latency.duration.p95")
    assert latency.result is Result.FAIL
    assert latency.interval is not None
    assert latency.estimate is not None
    assert 1.2 < latency.interval[0] < latency.estimate == pytest.approx(1.4, abs=0.1)


def test_legs_that_stopped_with_their_client_are_equal_and_show_nothing_wrong() -> None:
    columns = drawn(12_000, live_errors=0, shadow_errors=0)
    stopped = with_states(with_states(columns, "live", State.STOPPED, 0.005), "shadow", State.STOPPED, 0.005)
    verdict = judged(stopped)
    assert verdict.answer is Answer.GO
    assert found(verdict, "errors").estimate == 0.0


def test_a_shifted_sampling_rate_keeps_it_open() -> None:
    verdict = judged(drawn(12_000), sampling=SampleRatio(eligible=100_000, sampled=12_000, expected=10_000.0))
    assert verdict.answer is Answer.NOT_YET
    assert found(verdict, "sample_ratio").reason is Reason.SAMPLE_RATIO
    kept = judged(drawn(12_000), sampling=SampleRatio(eligible=120_000, sampled=12_050, expected=12_000.0))
    assert kept.answer is Answer.GO


def test_a_judge_that_was_asked_for_is_waited_for() -> None:
    criteria = CriteriaSettings.model_validate({"judge": {"enabled": True}})
    assert judged(drawn(12_000), criteria).answer is Answer.NOT_YET
    assert judged(drawn(12_000), criteria, wins=(2000, 1000, 2000)).answer is Answer.GO
    assert judged(drawn(12_000), criteria, wins=(1000, 1000, 3000)).answer is Answer.NO_GO
    superior = CriteriaSettings.model_validate({"judge": {"enabled": True, "mode": "superior"}})
    assert judged(drawn(12_000), superior, wins=(2000, 1000, 2000)).answer is Answer.NOT_YET


def test_similarity_without_a_control_has_no_floor() -> None:
    verdict = judged(drawn(12_000, similarity=0.99))
    assert verdict.answer is Answer.NOT_YET
    assert found(verdict, "similarity").reason is Reason.NO_CONTROL


def test_an_absolute_limit_that_live_does_not_reach_itself_fails_nobody() -> None:
    criteria = CriteriaSettings.model_validate({"similarity": {"mode": "absolute"}})
    fixed = judged(drawn(12_000, similarity=0.7, floor=0.7), criteria)
    assert fixed.answer is Answer.NOT_YET
    assert found(fixed, "similarity").reason is Reason.UNREACHABLE
    assert judged(drawn(12_000, similarity=0.7), criteria).answer is Answer.NO_GO
    assert judged(drawn(12_000, similarity=0.98), criteria).answer is Answer.GO


def test_outputs_that_drift_from_the_floor_are_no_go() -> None:
    assert judged(drawn(12_000, similarity=0.6, floor=0.8)).answer is Answer.NO_GO


def flagged(columns: PairColumns, shadow: float, other: float) -> PairColumns:
    random = np.random.default_rng(5)
    flags = tuple((random.random(len(columns)) < share).astype(np.float64) for share in (shadow, other))
    nothing = np.full(len(columns), np.nan)
    guards = {"numbers": (flags[0], flags[1])}
    return replace(columns, texts=TextColumns(similarity=nothing, floor=nothing, guards=guards))


def test_a_guard_only_ever_fails() -> None:
    assert judged(flagged(drawn(12_000), 0.15, 0.05)).answer is Answer.NO_GO
    equal = judged(flagged(drawn(12_000), 0.05, 0.05))
    assert equal.answer is Answer.GO
    assert found(equal, "guard.numbers").gate is Gate.GUARD
    open_guard = judged(flagged(drawn(12_000), 0.07, 0.05))
    assert found(open_guard, "guard.numbers").result is Result.NOT_YET
    assert open_guard.answer is Answer.GO


def test_a_guard_that_is_off_is_reported_and_fails_nobody() -> None:
    criteria = CriteriaSettings(guards=GuardSettings(off=("numbers",)))
    verdict = judged(flagged(drawn(12_000), 0.15, 0.05), criteria)
    assert verdict.answer is Answer.GO
    assert found(verdict, "guard.numbers").gate is Gate.REPORT
    assert found(verdict, "errors").threshold_against == pytest.approx(log_threshold(0.025))


def test_equal_outputs_are_reported_against_the_floor_and_decide_nothing() -> None:
    columns = replace(drawn(12_000), exact=np.zeros(12_000))
    control = {"": ledger_of(replace(drawn(100), exact=np.ones(100)))}
    verdict = judged(columns, control=control)
    exact = found(verdict, "exact")
    assert verdict.answer is Answer.GO
    assert (exact.gate, exact.estimate, exact.floor) == (Gate.REPORT, 0.0, 1.0)


def test_every_latency_may_be_asked_and_each_alone_decides() -> None:
    criteria = CriteriaSettings(
        latency=(LatencySettings(), LatencySettings(measure="first_chunk", quantile=0.5, ratio=1.1))
    )
    columns = drawn(12_000)
    slow = replace(columns, shadow=replace(columns.shadow, first_chunk=columns.shadow.first_chunk * 1.3))
    assert judged(columns, criteria).answer is Answer.GO
    assert judged(slow, criteria).answer is Answer.NO_GO
    none = np.full(12_000, np.nan)
    unary = replace(
        columns, live=replace(columns.live, first_chunk=none), shadow=replace(columns.shadow, first_chunk=none)
    )
    assert found(judged(unary, criteria), "latency.first_chunk.p50").reason is Reason.NO_EVIDENCE


def test_what_is_switched_off_says_so_and_takes_no_part() -> None:
    criteria = CriteriaSettings.model_validate(
        {"latency": [], "similarity": {"enabled": False}, "coverage": {"enabled": False}, "guards": {"enabled": False}}
    )
    verdict = judged(drawn(2000, shadow_errors=0, live_errors=0, ratio=3.0), criteria)
    assert verdict.answer is Answer.GO
    off = {one.name for one in verdict.findings if one.reason is Reason.SWITCHED_OFF}
    assert off == {"latency", "similarity", "judge", "coverage"}


def test_strict_is_the_literal_reading() -> None:
    strict = CriteriaSettings.model_validate({"errors": {"mode": "strict"}})
    assert judged(drawn(12_000, live_errors=0, shadow_errors=0), strict).answer is Answer.NOT_YET
    assert judged(drawn(12_000, live_errors=0.05, shadow_errors=0.0), strict).answer is not Answer.NO_GO


def test_asking_leaves_ledgers_as_they_were() -> None:
    ledgers = {"a": ledger_of(drawn(500)), "b": ledger_of(drawn(500, seed=1))}
    before = [each.to_bytes() for each in ledgers.values()]
    first = judge(KEY, ledgers, DEFAULTS, now_ns=NOW)
    assert [each.to_bytes() for each in ledgers.values()] == before
    assert judge(KEY, ledgers, DEFAULTS, now_ns=NOW) == first
    assert (
        judge(KEY, {name: Ledger.from_bytes(each.to_bytes()) for name, each in ledgers.items()}, DEFAULTS, now_ns=NOW)
        == first
    )


def test_the_criteria_may_be_small() -> None:
    small = CriteriaSettings(
        latency=(LatencySettings(ratio=1.5),), coverage=CoverageSettings(pairs=500, min_blocks=5)
    ).model_copy(update={"errors": DEFAULTS.errors.model_copy(update={"margin": 0.05})})
    assert judged(drawn(1000, minutes=10), small).answer is Answer.GO


def test_any_number_of_attempts_leaves_some_alpha() -> None:
    assert judged(drawn(12_000), attempt=5000).answer is Answer.NOT_YET


@pytest.mark.parametrize(
    ("counts", "differs"),
    [
        (SampleRatio(eligible=0, sampled=0, expected=0.0), False),
        (SampleRatio(eligible=1000, sampled=1000, expected=1000.0), False),
        (SampleRatio(eligible=1000, sampled=999, expected=1000.0), True),
        (SampleRatio(eligible=10, sampled=1000, expected=1.0), True),
    ],
)
def test_the_sampling_rate_is_asked_at_its_ends_too(counts: SampleRatio, differs: bool) -> None:
    finding = found(judged(drawn(100), sampling=counts), "sample_ratio")
    assert (finding.reason is Reason.SAMPLE_RATIO) is differs
