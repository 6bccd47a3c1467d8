"""The criteria of an experiment in words: when a candidate may go live, and when it is rejected."""

from __future__ import annotations

from collections.abc import Iterator

from shadowmesh.mirror.judged_experiment import JudgedExperimentSettings
from shadowmesh.names import TargetKind
from shadowmesh.policy.experiment import Content
from shadowmesh.verdict.settings import LatencySettings

_MEASURES = {
    "duration": "latency",
    "first_chunk": "time to the first chunk",
    "per_token": "time per output token",
}


def of_criteria(experiment: JudgedExperimentSettings) -> Iterator[str]:
    """Return the sentences, one for GO, one for NO_GO, and what stands in the way of either."""
    criteria = experiment.criteria
    candidates = [one for one in experiment.targets if one.kind is TargetKind.CANDIDATE and one.enabled]
    if not candidates:
        return
    asked = "; ".join(_asked(experiment))
    yield f"A candidate may go live when this is shown, with an error of at most {_percent(criteria.alpha)}: {asked}."
    if criteria.coverage.enabled:
        wanted = criteria.coverage
        yield (
            f"That takes more than {wanted.pairs:,} pairs, from {wanted.min_blocks:,} minutes or more, with at most "
            f"{_percent(wanted.shed)} shed."
        )
    yield "".join(_rejected(experiment)) + "."
    yield from _obstacles(experiment)


def _asked(experiment: JudgedExperimentSettings) -> Iterator[str]:
    criteria = experiment.criteria
    yield from map(_latency, criteria.latency)
    if criteria.errors.enabled:
        allowed = criteria.errors.allowed
        more = f"at most {allowed * 100:.4g} percentage points more often than" if allowed else "less often than"
        yield f"it fails {more} live"
    if criteria.similarity.enabled and experiment.content is Content.EVENTS:
        limit = criteria.similarity.limit
        floored = criteria.similarity.mode == "vs_floor"
        than = f"{_percent(limit)} of what live reaches against itself" if floored else f"{limit:g}"
        yield f"its outputs are similar to live's by more than {than}"
    if criteria.judge.enabled:
        yield f"a judge prefers its output in more than {_percent(criteria.judge.least)} of cases"


def _latency(limit: LatencySettings) -> str:
    return f"its P{limit.quantile * 100:g} {_MEASURES[limit.measure]} is below {limit.ratio:g} times that of live"


def _rejected(experiment: JudgedExperimentSettings) -> Iterator[str]:
    criteria = experiment.criteria
    yield "It is rejected as soon as the contrary of one of these is shown"
    if criteria.guards.enabled and experiment.content is Content.EVENTS:
        margin = f" by {criteria.guards.margin * 100:.4g} percentage points" if criteria.guards.margin else ""
        yield f", or that its texts raise a flag more often{margin}"
    if criteria.strata:
        yield ", for all methods together or for one alone of the eight with most pairs"
    minutes = criteria.coverage.min_blocks_against
    if minutes:
        yield f", from {minutes:,} minutes or more"


def _obstacles(experiment: JudgedExperimentSettings) -> Iterator[str]:
    similarity = experiment.criteria.similarity
    if not similarity.enabled:
        return
    if experiment.content is Content.OFF:
        yield "How similar outputs are is not asked: content is off, so no text is captured."
    elif experiment.content is Content.SPANS:
        yield "How similar outputs are is not asked: content is in spans, and only that of events is compared."
    elif similarity.mode == "vs_floor" and not any(
        one.kind is TargetKind.CONTROL and one.enabled for one in experiment.targets
    ):
        yield "How similar live is to itself stays unknown, and so the answer NOT_YET: there is no control target."


def _percent(share: float) -> str:
    return f"{share * 100:.4g} %"
