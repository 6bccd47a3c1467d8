"""
What a leg, a comparison and the texts of a pair add to which metric.

Figures go to the points of the series that they belong to, by the name of the metric and the values that are not
common to the series.
"""

from __future__ import annotations

from shadowmesh import names
from shadowmesh.compare.comparison import succeeded
from shadowmesh.compare.pace import pace_of
from shadowmesh.compare.texts import TextComparison
from shadowmesh.model import Change, Comparison, Leg
from shadowmesh.names import Check, CheckResult, Direction, TextCheck, TokenType
from shadowmesh.processor.histograms import Example
from shadowmesh.processor.labels import currency, money, status
from shadowmesh.processor.points import Points
from shadowmesh.telemetry.attributes import error_type

_MORE, _LESS, _SAME = Direction.INCREASE.value, Direction.DECREASE.value, Direction.NONE.value
_RESULTS = {
    True: CheckResult.MATCH.value,
    False: CheckResult.MISMATCH.value,
    None: CheckResult.NOT_COMPARABLE.value,
}
# The keys of points that have no further values, made once.
_FIRST_CHUNK = (names.METRIC_CALL_TIME_TO_FIRST_CHUNK,)
_PER_TOKEN = (names.METRIC_CALL_TIME_PER_OUTPUT_TOKEN,)
_RATE = (names.METRIC_CALL_OUTPUT_RATE,)
_INPUT = (names.METRIC_CALL_TOKENS, TokenType.INPUT.value)
_OUTPUT = (names.METRIC_CALL_TOKENS, TokenType.OUTPUT.value)
_DURATION_RATIO = (names.PAIR_DURATION_RATIO,)
_FIRST_CHUNK_RATIO = (names.PAIR_TIME_TO_FIRST_CHUNK_RATIO,)
_OUTPUT_RATIO = (names.PAIR_OUTPUT_TOKENS_RATIO,)
_COST_RATIO = (names.PAIR_COST_RATIO,)
_DIVERGENCE = (names.METRIC_PAIR_OUTPUT_DIVERGENCE,)


def add_leg(points: Points, leg: Leg, example: Example) -> None:
    """Record what a leg that ran took and cost."""
    fields = leg.fields
    duration = names.METRIC_CALL_DURATION, status(error_type(leg)), status(leg.status)
    points[duration].record(leg.duration, example)
    if leg.time_to_first_chunk is not None and succeeded(leg):
        points[_FIRST_CHUNK].record(leg.time_to_first_chunk, example)
        pace = pace_of(leg)
        if pace is not None:
            points[_PER_TOKEN].record(pace.per_token, example)
            points[_RATE].record(pace.rate, example)
    if fields.input_tokens is not None:
        points[_INPUT].add(fields.input_tokens)
    if fields.output_tokens is not None:
        points[_OUTPUT].add(fields.output_tokens)
    if leg.cost is not None:
        points[names.METRIC_CALL_COST, *money(leg.cost.currency, leg.cost.source)].add(float(leg.cost.amount))


def add_comparison(points: Points, comparison: Comparison, example: Example) -> None:
    """Record what the two legs of a pair showed beside each other."""
    for check, equal in comparison.matches.items():
        points[names.METRIC_PAIR_CHECKS, check, _RESULTS[equal]].add(1)
    for change, delta, ratio in (
        (comparison.duration, names.PAIR_DURATION_DELTA, _DURATION_RATIO),
        (comparison.time_to_first_chunk, names.PAIR_TIME_TO_FIRST_CHUNK_DELTA, _FIRST_CHUNK_RATIO),
        (comparison.input_tokens, names.PAIR_INPUT_TOKENS_DELTA, None),
        (comparison.output_tokens, names.PAIR_OUTPUT_TOKENS_DELTA, _OUTPUT_RATIO),
    ):
        if change is not None:
            points[delta, _direction(change)].record(abs(change.delta), example)
            if ratio is not None and change.ratio is not None:
                points[ratio].record(change.ratio, example)
    cost = comparison.cost
    if cost is not None:
        points[names.PAIR_COST_DELTA, _direction(cost), currency(comparison.currency)].record(abs(cost.delta), example)
        if cost.ratio is not None:
            points[_COST_RATIO].record(cost.ratio, example)


def add_texts(points: Points, live: Leg, shadow: Leg, shown: TextComparison, *, similarity_match: float) -> None:
    """Record what the captured outputs showed; from ``similarity_match`` on they match."""
    alike = None if shown.similarity is None else shown.similarity >= similarity_match
    points[names.METRIC_PAIR_CHECKS, TextCheck.OUTPUT_SIMILARITY, _RESULTS[alike]].add(1)
    # Digests have told it already.
    if shown.equal is not None and not (live.output_digest and shadow.output_digest):
        points[names.METRIC_PAIR_CHECKS, Check.OUTPUT_EXACT, _RESULTS[shown.equal]].add(1)
    if shown.divergence_share is not None:
        points[_DIVERGENCE].record(shown.divergence_share, Example(shadow.ended_ns, shadow.trace_id, shadow.span_id))


def _direction(change: Change) -> str:
    if change.delta > 0:
        return _MORE
    return _LESS if change.delta < 0 else _SAME
