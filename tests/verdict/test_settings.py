"""The criteria are what the field asks for, and refuse what could never be shown."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from shadowmesh.verdict.settings import CriteriaSettings, LatencySettings


def test_the_defaults_are_those_of_the_field() -> None:
    criteria = CriteriaSettings()
    assert [(each.name, each.ratio) for each in criteria.latency] == [("latency.duration.p95", 1.2)]
    assert (criteria.errors.mode, criteria.errors.allowed) == ("margin", 0.005)
    assert (criteria.similarity.mode, criteria.similarity.limit) == ("vs_floor", 0.95)
    assert (criteria.judge.enabled, criteria.judge.least) == (False, 0.47)
    assert (criteria.coverage.pairs, criteria.coverage.min_blocks, criteria.coverage.shed) == (10_000, 100, 0.05)
    assert criteria.coverage.min_blocks_against == 20


def test_equal_criteria_have_equal_digests_and_others_another() -> None:
    assert CriteriaSettings().digest == CriteriaSettings.model_validate({"alpha": 0.05}).digest
    assert CriteriaSettings().digest != CriteriaSettings(alpha=0.01).digest
    assert len(CriteriaSettings().digest) == 12


def test_strict_leaves_no_margin() -> None:
    criteria = CriteriaSettings.model_validate({"errors": {"mode": "strict"}, "judge": {"mode": "superior"}})
    assert (criteria.errors.allowed, criteria.judge.least) == (0.0, 0.5)


@pytest.mark.parametrize(
    "wrong",
    [
        {"alpha": 0.0},
        {"alpha": float("nan")},
        {"stages": 0},
        {"latency": [{"ratio": 0}]},
        {"latency": [{"quantile": 1.0}]},
        {"latency": [{"measure": "ttft"}]},
        {"latency": [{}, {"ratio": 1.5}]},
        {"errors": {"margin": -0.1}},
        {"errors": {"enabled": 1}},
        {"guards": {"enabled": "yes"}},
        {"strata": "no"},
        {"coverage": {"min_blocks_against": 1.5}},
        {"latency": [], "errors": {"enabled": False}, "similarity": {"enabled": False}},
        {"unknown": 1},
    ],
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        CriteriaSettings.model_validate(wrong)


def test_a_latency_is_named_by_its_measure_and_quantile() -> None:
    assert LatencySettings(measure="per_token", quantile=0.999).name == "latency.per_token.p99.9"
