"""
The instruments of meter ``shadowmesh.processor``, as data: reference/otel.md §8.3, one row each.

:data:`OBSERVED` are those that hold no points of their own: somebody else keeps their one value.
"""

from __future__ import annotations

from typing import NamedTuple

from shadowmesh import names

# gen_ai.client.operation.duration, gen_ai.server.time_to_first_token and
# gen_ai.server.time_per_output_token of semantic conventions 1.41.1, docs/gen-ai/gen-ai-metrics.md.
_DURATION = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_FIRST_CHUNK = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
_PER_TOKEN = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
_RATIO = (0.25, 0.5, 0.67, 0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0)
# No convention has these; they span what is told apart in practice, and 0 is a bucket where it is common.
_TIME_DELTA = (0.001, 0.0025, 0.005, *_DURATION)
_TOKEN_DELTA = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 4096.0, 16384.0)
_COST_DELTA = (0.0, 1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.1, 1.0, 10.0)
_RATE = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 10000.0)
# At which part of the text: near the beginning and near the end are told apart.
_SHARE = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
_LAG = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0)

COMMON = (names.EXPERIMENT_NAME, names.TARGET_NAME, names.RPC_METHOD, names.GEN_AI_OPERATION_NAME)
_DIRECTED = (*COMMON, names.DELTA_DIRECTION)
# The model is on a point only where the settings list models.
_LEG = (*COMMON, names.GEN_AI_REQUEST_MODEL, names.ROLE)


class Instrument(NamedTuple):
    """A counter, or with bounds a histogram; ``attributes`` in the order of the values of its points."""

    name: str
    unit: str
    description: str
    attributes: tuple[str, ...]
    bounds: tuple[float, ...] | None = None


INSTRUMENTS = (
    Instrument(
        names.METRIC_CALL_DURATION,
        "s",
        "Duration of a call, less what a slow client stalled",
        (*_LEG, names.ERROR_TYPE, names.RPC_RESPONSE_STATUS_CODE),
        _DURATION,
    ),
    Instrument(
        names.METRIC_CALL_TIME_TO_FIRST_CHUNK,
        "s",
        "Time to the first chunk of a stream that succeeded",
        _LEG,
        _FIRST_CHUNK,
    ),
    Instrument(
        names.METRIC_CALL_TIME_PER_OUTPUT_TOKEN,
        "s",
        "Time for each output token after the first chunk",
        _LEG,
        _PER_TOKEN,
    ),
    Instrument(
        names.METRIC_CALL_OUTPUT_RATE, "{token}/s", "Output tokens a second, after the first chunk", _LEG, _RATE
    ),
    Instrument(names.METRIC_CALL_TOKENS, "{token}", "Tokens of calls", (*_LEG, names.GEN_AI_TOKEN_TYPE)),
    Instrument(
        names.METRIC_CALL_COST,
        "{currency}",
        "Cost of calls, not to be added up over currencies",
        (*_LEG, names.COST_CURRENCY, names.COST_SOURCE),
    ),
    Instrument(names.METRIC_PAIRS, "{pair}", "Pairs by their outcome", (*COMMON, names.PAIR_OUTCOME)),
    Instrument(names.PAIR_DURATION_RATIO, "1", "Duration of the shadow over that of the live call", COMMON, _RATIO),
    Instrument(
        names.PAIR_TIME_TO_FIRST_CHUNK_RATIO,
        "1",
        "Time to the first chunk of the shadow over that of the live call",
        COMMON,
        _RATIO,
    ),
    Instrument(
        names.PAIR_OUTPUT_TOKENS_RATIO, "1", "Output tokens of the shadow over those of the live call", COMMON, _RATIO
    ),
    Instrument(names.PAIR_COST_RATIO, "1", "Cost of the shadow over that of the live call", COMMON, _RATIO),
    Instrument(names.PAIR_DURATION_DELTA, "s", "Difference of the durations, without its sign", _DIRECTED, _TIME_DELTA),
    Instrument(
        names.PAIR_TIME_TO_FIRST_CHUNK_DELTA,
        "s",
        "Difference of the times to the first chunk, without its sign",
        _DIRECTED,
        _TIME_DELTA,
    ),
    Instrument(
        names.PAIR_INPUT_TOKENS_DELTA,
        "{token}",
        "Difference of the input tokens, without its sign",
        _DIRECTED,
        _TOKEN_DELTA,
    ),
    Instrument(
        names.PAIR_OUTPUT_TOKENS_DELTA,
        "{token}",
        "Difference of the output tokens, without its sign",
        _DIRECTED,
        _TOKEN_DELTA,
    ),
    Instrument(
        names.PAIR_COST_DELTA,
        "{currency}",
        "Difference of the costs, without its sign",
        (*_DIRECTED, names.COST_CURRENCY),
        _COST_DELTA,
    ),
    Instrument(
        names.METRIC_PAIR_CHECKS,
        "{check}",
        "Checks of pairs by their result",
        (*COMMON, names.CHECK_NAME, names.CHECK_RESULT),
    ),
    Instrument(
        names.METRIC_PAIR_OUTPUT_DIVERGENCE,
        "1",
        "Where captured outputs that differ begin to, as a share of the shorter one",
        COMMON,
        _SHARE,
    ),
    Instrument(names.METRIC_PAIR_LAG, "s", "Time from the end of the later leg to pairing", COMMON, _LAG),
    Instrument(names.METRIC_PAIRING_SPANS, "{span}", "Received spans by what became of them", (names.SPAN_OUTCOME,)),
    Instrument(names.METRIC_PAIRING_SPLITS, "{pair}", "Pairs of which two processors stored a half each", ()),
    Instrument(
        names.METRIC_ALARMS,
        "{alarm}",
        "Times that a change detector said that the candidate became worse",
        (names.EXPERIMENT_NAME, names.TARGET_NAME, names.FINDING_NAME),
    ),
)


class Observed(NamedTuple):
    """An UpDownCounter, or when monotonic a counter, without attributes."""

    unit: str
    description: str
    monotonic: bool = False


OBSERVED = {
    names.METRIC_PAIRING_BUFFER_SIZE: Observed("{span}", "Legs that wait for others"),
    names.METRIC_PAIRING_BUFFER_CAPACITY: Observed("{span}", "Legs that may wait"),
    names.METRIC_JOURNAL_SIZE: Observed("By", "What the journal takes on the disk"),
    names.METRIC_STORE_WAITING: Observed("{record}", "Records that wait to be stored"),
    names.METRIC_STORE_REFUSED: Observed("{record}", "Records that the store refused for good", monotonic=True),
    names.METRIC_STORE_LATE_TEXTS: Observed(
        "{text}", "Captured texts that came when their pair had been judged, and are not compared", monotonic=True
    ),
    names.METRIC_RECEIVER_SET_ASIDE: Observed(
        "{request}", "Requests that failed again and again, and were set aside", monotonic=True
    ),
    names.METRIC_ALERTS_WAITING: Observed("{alert}", "Alerts that wait for their receiver"),
    names.METRIC_ALERTS_DELIVERED: Observed("{alert}", "Alerts that their receiver has taken", monotonic=True),
    names.METRIC_ALERTS_LOST: Observed("{alert}", "Alerts that were given up, or had no room", monotonic=True),
}


_TARGET = (names.EXPERIMENT_NAME, names.TARGET_NAME)
_FINDING = (*_TARGET, names.FINDING_NAME, names.RPC_METHOD)


class Judged(NamedTuple):
    """A gauge of verdicts; ``attributes`` in the order of the values of its points."""

    unit: str
    description: str
    attributes: tuple[str, ...]


JUDGED = {
    names.METRIC_VERDICT_STATE: Judged(
        "{verdict}", "1 for the answer that a verdict gives, 0 for the others", (*_TARGET, names.VERDICT_ANSWER)
    ),
    names.METRIC_FINDING_STATE: Judged(
        "{finding}",
        "1 where a criterion, guard or check stands, and why; 0 where it stood",
        (*_FINDING, names.FINDING_RESULT, names.FINDING_REASON),
    ),
    names.METRIC_FINDING_ESTIMATE: Judged("1", "The estimate, which is a ratio or a share", _FINDING),
    names.METRIC_FINDING_INTERVAL: Judged("1", "The ends of its interval", (*_FINDING, names.INTERVAL_BOUND)),
    names.METRIC_FINDING_LIMIT: Judged("1", "What it is held against, margin included", _FINDING),
    names.METRIC_FINDING_EVIDENCE: Judged(
        "1", "The evidence for PASS and for FAIL; at 1 it is enough", (*_FINDING, names.EVIDENCE_SIDE)
    ),
    names.METRIC_FINDING_MISSING: Judged("1", "The share of pairs of which something had to be assumed", _FINDING),
    names.METRIC_FINDING_PAIRS: Judged("{pair}", "Pairs that took part", _FINDING),
    names.METRIC_ALARM_LEVEL: Judged(
        "1", "How far a change detector of this processor is; at 1 it raises an alarm", (*_TARGET, names.FINDING_NAME)
    ),
}
"""
Of the store and not of one processor, but for the last: each that judges says the same, so take the greatest, not the
sum.
"""
