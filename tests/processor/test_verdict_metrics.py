"""What a verdict says is a gauge each, and no candidate can make them many."""

from __future__ import annotations

from math import inf
from typing import Any

from opentelemetry.sdk.metrics.export import Gauge
from support.legs import T0
from support.verdicts import finding, judgement, key, verdict

from shadowmesh import names
from shadowmesh.processor.verdict_metrics import VerdictMetrics
from shadowmesh.store.watches import Watched
from shadowmesh.verdict.records import Answer, Finding, Reason, Result

EVERY = (names.EXPERIMENT_NAME, names.TARGET_NAME, names.FINDING_NAME)


def values(metrics: VerdictMetrics, name: str, *attributes: str) -> dict[Any, float]:
    """Return the values of a gauge by some of its attributes."""
    found: dict[Any, float] = {}
    for metric in metrics.collect(T0):
        if metric.name == name:
            assert isinstance(metric.data, Gauge)
            for point in metric.data.data_points:
                assert point.time_unix_nano == T0
                said = dict(point.attributes or {})
                found[tuple(said.get(one) for one in attributes) if len(attributes) > 1 else said[attributes[0]]] = (
                    point.value
                )
    return found


def judged(*findings: Finding, limit: int = 1000, methods: tuple[str, ...] = ()) -> VerdictMetrics:
    metrics = VerdictMetrics(limit=limit, methods=methods)
    metrics.judged(judgement(verdict(findings=findings)))
    return metrics


def test_nothing_is_said_before_there_is_a_verdict() -> None:
    assert VerdictMetrics(limit=10).collect(T0) == []


def test_the_answer_is_one_series_of_three() -> None:
    metrics = VerdictMetrics(limit=100)
    for answer in Answer:
        metrics.judged(judgement(verdict(answer), verdict(Answer.GO, target="other")))
        state = values(metrics, names.METRIC_VERDICT_STATE, names.TARGET_NAME, names.VERDICT_ANSWER)
        assert state == {
            (target, str(one)): one is said
            for target, said in (("candidate", answer), ("other", Answer.GO))
            for one in Answer
        }


def test_a_finding_is_its_estimate_interval_limit_evidence_missing_share_and_pairs() -> None:
    metrics = judged(
        finding(
            "errors",
            estimate=0.01,
            interval=(-0.02, 0.03),
            limit=0.005,
            evidence=1.5,
            threshold=3.0,
            evidence_against=-1.0,
            threshold_against=4.0,
            missing=0.02,
            pairs=77,
        )
    )
    by_name = {names.FINDING_NAME: "errors"}
    for name, value in (
        (names.METRIC_FINDING_ESTIMATE, 0.01),
        (names.METRIC_FINDING_LIMIT, 0.005),
        (names.METRIC_FINDING_MISSING, 0.02),
        (names.METRIC_FINDING_PAIRS, 77),
    ):
        assert values(metrics, name, *EVERY) == {("summaries", "candidate", by_name[names.FINDING_NAME]): value}
    assert values(metrics, names.METRIC_FINDING_INTERVAL, names.INTERVAL_BOUND) == {"lower": -0.02, "upper": 0.03}
    # Half of what is needed; and what speaks the other way is nothing.
    assert values(metrics, names.METRIC_FINDING_EVIDENCE, names.EVIDENCE_SIDE) == {"for": 0.5, "against": 0.0}


def test_what_is_unknown_unbounded_or_of_another_unit_is_not_drawn() -> None:
    metrics = judged(
        finding("errors", interval=(-inf, 0.5)), finding("coverage", unit="{pair}", estimate=12.0, limit=10.0)
    )
    assert values(metrics, names.METRIC_FINDING_ESTIMATE, *EVERY) == {}
    assert values(metrics, names.METRIC_FINDING_LIMIT, *EVERY) == {}
    assert values(metrics, names.METRIC_FINDING_INTERVAL, names.INTERVAL_BOUND) == {"upper": 0.5}


def test_what_a_finding_was_is_over() -> None:
    metrics = VerdictMetrics(limit=100)
    state = names.METRIC_FINDING_STATE, names.FINDING_RESULT, names.FINDING_REASON
    for reason in (Reason.TOO_MUCH_SHED, Reason.MORE_BLOCKS):
        metrics.judged(judgement(verdict(findings=(finding("coverage", Result.NOT_YET, reason=reason),))))
    assert values(metrics, *state) == {("NOT_YET", "too_much_shed"): 0, ("NOT_YET", "more_blocks"): 1}
    metrics.judged(judgement(verdict(findings=(finding("coverage", Result.NOT_YET, reason=Reason.TOO_MUCH_SHED),))))
    assert values(metrics, *state) == {("NOT_YET", "too_much_shed"): 1, ("NOT_YET", "more_blocks"): 0}


def test_a_method_that_was_asked_alone_has_its_name_where_methods_are_told_apart() -> None:
    alone = finding("errors", Result.FAIL, stratum="acme.v1.Models/Generate")
    whole = finding("errors")
    for methods, said in (((), "acme.v1.Models/Generate"), (("acme.v1.Other/*",), "_OTHER")):
        metrics = judged(whole, alone, methods=methods)
        assert values(metrics, names.METRIC_FINDING_PAIRS, names.RPC_METHOD, names.FINDING_NAME).keys() == {
            (None, "errors"),
            (said, "errors"),
        }


def test_a_gauge_has_so_many_points_and_no_more() -> None:
    metrics = VerdictMetrics(limit=5)
    for round_ in range(3):
        many = [verdict(target=f"{round_}-{number}") for number in range(20)]
        metrics.judged(judgement(*many))
        metrics.watched([Watched(one.key, {"errors": 0.5}, [], 0) for one in many])
        assert all(len(metric.data.data_points) <= 5 for metric in metrics.collect(T0))
    assert all(len(held) <= 5 for held in (metrics._levels, metrics._over))


def test_a_name_that_cannot_be_a_label_is_none() -> None:
    metrics = VerdictMetrics(limit=10)
    metrics.judged(judgement(verdict(key=key("t" * 300))))
    assert values(metrics, names.METRIC_FINDING_PAIRS, *EVERY).keys() >= {("summaries", "_OTHER", "errors")}


def test_the_level_of_a_detector_is_that_of_the_fold_before() -> None:
    metrics = VerdictMetrics(limit=10)
    for level in (0.25, 0.5):
        metrics.watched([Watched(key(), {"errors": level}, [], 0)])
    assert values(metrics, names.METRIC_ALARM_LEVEL, *EVERY) == {("summaries", "candidate", "errors"): 0.5}
