"""
The instruments of meter ``shadowmesh.processor``, as data: reference/otel.md §8.3, one row each.

The two UpDownCounters of the pairing buffer hold no points of their own and are not here.
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
_LAG = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0)

COMMON = (names.EXPERIMENT_NAME, names.TARGET_NAME, names.RPC_METHOD, names.GEN_AI_OPERATION_NAME)
_DIRECTED = (*COMMON, names.DELTA_DIRECTION)
# The model is on a point only where the settings list models.
_LEG = (*COMMON, names.GEN_AI_REQUEST_MODEL, names.ROLE)


class Instrument(NamedTuple):
    """A counter, or with bounds a histogram; ``attributes`` in the order of the values of its points."""

    name: str
    unit: str
    attributes: tuple[str, ...]
    bounds: tuple[float, ...] | None = None


INSTRUMENTS = (
    Instrument(names.METRIC_CALL_DURATION, "s", (*_LEG, names.ERROR_TYPE, names.RPC_RESPONSE_STATUS_CODE), _DURATION),
    Instrument(names.METRIC_CALL_TIME_TO_FIRST_CHUNK, "s", _LEG, _FIRST_CHUNK),
    Instrument(names.METRIC_CALL_TIME_PER_OUTPUT_TOKEN, "s", _LEG, _PER_TOKEN),
    Instrument(names.METRIC_CALL_OUTPUT_RATE, "{token}/s", _LEG, _RATE),
    Instrument(names.METRIC_CALL_TOKENS, "{token}", (*_LEG, names.GEN_AI_TOKEN_TYPE)),
    Instrument(names.METRIC_CALL_COST, "{currency}", (*_LEG, names.COST_CURRENCY, names.COST_SOURCE)),
    Instrument(names.METRIC_PAIRS, "{pair}", (*COMMON, names.PAIR_OUTCOME)),
    Instrument(names.PAIR_DURATION_RATIO, "1", COMMON, _RATIO),
    Instrument(names.PAIR_TIME_TO_FIRST_CHUNK_RATIO, "1", COMMON, _RATIO),
    Instrument(names.PAIR_OUTPUT_TOKENS_RATIO, "1", COMMON, _RATIO),
    Instrument(names.PAIR_COST_RATIO, "1", COMMON, _RATIO),
    Instrument(names.PAIR_DURATION_DELTA, "s", _DIRECTED, _TIME_DELTA),
    Instrument(names.PAIR_TIME_TO_FIRST_CHUNK_DELTA, "s", _DIRECTED, _TIME_DELTA),
    Instrument(names.PAIR_INPUT_TOKENS_DELTA, "{token}", _DIRECTED, _TOKEN_DELTA),
    Instrument(names.PAIR_OUTPUT_TOKENS_DELTA, "{token}", _DIRECTED, _TOKEN_DELTA),
    Instrument(names.PAIR_COST_DELTA, "{currency}", (*_DIRECTED, names.COST_CURRENCY), _COST_DELTA),
    Instrument(names.METRIC_PAIR_CHECKS, "{check}", (*COMMON, names.CHECK_NAME, names.CHECK_RESULT)),
    Instrument(names.METRIC_PAIR_LAG, "s", COMMON, _LAG),
    Instrument(names.METRIC_PAIRING_SPANS, "{span}", (names.SPAN_OUTCOME,)),
)
