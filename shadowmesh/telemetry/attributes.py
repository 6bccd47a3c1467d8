"""
The attributes of a leg: one table, used to write spans in the interceptor and to read them in the processor.

Absent is the default of the field, in both directions, so ``from_attributes(to_attributes(leg)) == leg``. Names
are those of ``names.py``; types are those OTLP carries (bool, int, float, str, list of str).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from operator import attrgetter
from typing import Any, NamedTuple

from shadowmesh import names
from shadowmesh.errors import DecodeError
from shadowmesh.model import ChunkGaps, Cost, Fields, Leg

Value = bool | int | float | str | tuple[str, ...]


class _Column(NamedTuple):
    field: str
    attribute: str
    type: type


# Said on every leg even when it equals the field's default: a reader must not have to know our defaults.
_ALWAYS = frozenset(
    {names.PAIR_LEG_COUNT, names.SAMPLING_PROBABILITY, names.STREAM_MESSAGE_COUNT, names.STREAM_COMPLETE}
)


class _Table:
    """The columns of one record, and what writing them needs of it."""

    def __init__(self, record: type, *columns: _Column) -> None:
        defaults = {field.name: field.default for field in fields(record)}
        self.record = record
        self.columns = columns
        # ``None`` for what is said always: absent itself, it leaves no other value out.
        self.rows: tuple[tuple[str, Any, Any], ...] = tuple(
            (c.attribute, c.type, None if c.attribute in _ALWAYS else defaults[c.field]) for c in columns
        )
        self.values: Callable[[Any], tuple[Any, ...]] = attrgetter(*(column.field for column in columns))


_LEG = _Table(
    Leg,
    _Column("experiment", names.EXPERIMENT_NAME, str),
    _Column("pair_id", names.PAIR_ID, str),
    _Column("role", names.ROLE, str),
    _Column("method", names.RPC_METHOD, str),
    _Column("end", names.CALL_END, str),
    _Column("experiment_version", names.EXPERIMENT_VERSION, str),
    _Column("target", names.TARGET_NAME, str),
    _Column("target_kind", names.TARGET_KIND, str),
    _Column("leg_count", names.PAIR_LEG_COUNT, int),
    _Column("expected_targets", names.PAIR_TARGETS, tuple),
    _Column("probability", names.SAMPLING_PROBABILITY, float),
    _Column("status", names.RPC_RESPONSE_STATUS_CODE, str),
    _Column("decision", names.MIRROR_DECISION, str),
    _Column("drop_reason", names.MIRROR_DROP_REASON, str),
    _Column("drop_detail", names.MIRROR_DROP_DETAIL, str),
    _Column("streaming", names.GEN_AI_REQUEST_STREAM, bool),
    _Column("message_count", names.STREAM_MESSAGE_COUNT, int),
    _Column("complete", names.STREAM_COMPLETE, bool),
    _Column("time_to_first_chunk", names.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK, float),
    _Column("stall_count", names.STREAM_STALL_COUNT, int),
    _Column("write_stall", names.STREAM_WRITE_STALL, float),
    _Column("queue_time", names.MIRROR_QUEUE_TIME, float),
    _Column("deadline", names.CALL_DEADLINE, float),
    _Column("attempt", names.CALL_ATTEMPT, int),
    _Column("exchange_index", names.EXCHANGE_INDEX, int),
    _Column("session", names.SESSION_BUCKET, int),
    _Column("prompt_bucket", names.PROMPT_BUCKET, int),
    _Column("warm_up", names.TARGET_WARM_UP, bool),
    _Column("concurrency", names.CALL_CONCURRENCY, float),
    _Column("server_address", names.SERVER_ADDRESS, str),
    _Column("server_port", names.SERVER_PORT, int),
    _Column("output_digest", names.OUTPUT_DIGEST, str),
    _Column("request_digest", names.REQUEST_DIGEST, str),
    _Column("target_digest", names.TARGET_DIGEST, str),
    _Column("config_digest", names.CONFIG_DIGEST, str),
)
_FIELDS = _Table(
    Fields,
    _Column("operation", names.GEN_AI_OPERATION_NAME, str),
    _Column("provider", names.GEN_AI_PROVIDER_NAME, str),
    _Column("request_model", names.GEN_AI_REQUEST_MODEL, str),
    _Column("response_model", names.GEN_AI_RESPONSE_MODEL, str),
    _Column("response_id", names.GEN_AI_RESPONSE_ID, str),
    _Column("max_tokens", names.GEN_AI_REQUEST_MAX_TOKENS, int),
    _Column("temperature", names.GEN_AI_REQUEST_TEMPERATURE, float),
    _Column("top_p", names.GEN_AI_REQUEST_TOP_P, float),
    _Column("top_k", names.GEN_AI_REQUEST_TOP_K, float),
    _Column("seed", names.GEN_AI_REQUEST_SEED, int),
    _Column("stop_sequences", names.GEN_AI_REQUEST_STOP_SEQUENCES, tuple),
    _Column("input_tokens", names.GEN_AI_USAGE_INPUT_TOKENS, int),
    _Column("output_tokens", names.GEN_AI_USAGE_OUTPUT_TOKENS, int),
    _Column("cached_input_tokens", names.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS, int),
    _Column("reasoning_output_tokens", names.GEN_AI_USAGE_REASONING_OUTPUT_TOKENS, int),
    _Column("usage_source", names.USAGE_SOURCE, str),
    _Column("finish_reasons", names.GEN_AI_RESPONSE_FINISH_REASONS, tuple),
)
_GAPS = _Table(
    ChunkGaps,
    _Column("p50", names.STREAM_CHUNK_GAP_P50, float),
    _Column("p95", names.STREAM_CHUNK_GAP_P95, float),
    _Column("max", names.STREAM_CHUNK_GAP_MAX, float),
)
_COST = _Table(
    Cost,
    _Column("amount", names.COST_AMOUNT, float),
    _Column("currency", names.COST_CURRENCY, str),
    _Column("source", names.COST_SOURCE, str),
    _Column("pricing_version", names.COST_PRICING_VERSION, str),
)


class Slot(NamedTuple):
    """Where a leg holds what one attribute says: in which of its records, in which field, of which type."""

    record: type
    field: str
    type: type


SLOTS = {
    column.attribute: Slot(table.record, column.field, column.type)
    for table in (_LEG, _FIELDS, _GAPS, _COST)
    for column in table.columns
}
"""Every attribute a leg is read from; a decoder may skip all others unread."""


def to_attributes(leg: Leg) -> dict[str, Value]:
    """Return what the leg's span says, ``rpc.system.name`` and ``error.type`` included."""
    attributes: dict[str, Value] = {names.RPC_SYSTEM_NAME: "grpc"}
    _write(attributes, leg, _LEG)
    _write(attributes, leg.fields, _FIELDS)
    if leg.chunk_gaps is not None:
        _write(attributes, leg.chunk_gaps, _GAPS)
    if leg.cost is not None:
        _write(attributes, leg.cost, _COST)
    error = error_type(leg)
    if error is not None:
        attributes[names.ERROR_TYPE] = error
    return attributes


def error_type(leg: Leg) -> str | None:
    """Return ``error.type``: the status of a leg that failed, ``None`` for success and for a status nobody knows."""
    return leg.status if leg.status not in (None, "OK") else None


def from_attributes(
    attributes: Mapping[str, Any],
    *,
    trace_id: int,
    span_id: int,
    parent_span_id: int,
    started_ns: int,
    ended_ns: int,
) -> Leg:
    """
    Return the leg a span describes.

    Raises:
        DecodeError: an attribute of ours has the wrong type, or one no leg can do without is missing.
    """
    values = _read(attributes, _LEG)
    for required in ("experiment", "pair_id", "role", "method", "end"):
        if required not in values:
            raise DecodeError(f"leg without {required}")
    gaps = _read(attributes, _GAPS)
    cost = _read(attributes, _COST)
    return Leg(
        trace_id=trace_id,
        span_id=span_id,
        parent_span_id=parent_span_id,
        started_ns=started_ns,
        ended_ns=ended_ns,
        fields=Fields(**_read(attributes, _FIELDS)),
        chunk_gaps=ChunkGaps(**gaps) if len(gaps) == len(_GAPS.columns) else None,
        cost=Cost(**cost) if {"amount", "currency", "source"} <= cost.keys() else None,
        **values,
    )


def _write(attributes: dict[str, Value], record: Any, table: _Table) -> None:
    for (attribute, kind, default), value in zip(table.rows, table.values(record), strict=True):
        # Mostly it is the default itself, which is quicker to see than that it equals it.
        if value is default or value is None or value == default:
            continue
        attributes[attribute] = value if type(value) is kind else kind(value)


def _read(attributes: Mapping[str, Any], table: _Table) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for field, attribute, kind in table.columns:
        value = attributes.get(attribute)
        if value is not None:
            values[field] = typed(value, kind, attribute)
    return values


def typed(value: Any, kind: type, attribute: str) -> Any:
    """
    Return a value as a leg holds it.

    Raises:
        DecodeError: it is of another type than the attribute's.
    """
    if kind is tuple:
        if isinstance(value, (list, tuple)) and all(isinstance(item, str) for item in value):
            return tuple(value)
    elif kind is float:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
    elif type(value) is kind:
        return value
    raise DecodeError(f"{attribute} is a {type(value).__name__}, not a {kind.__name__}")
