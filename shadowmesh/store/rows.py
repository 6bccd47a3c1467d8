"""
Records to rows and back, a batch at a time.

A row is written by position, in the order of the table's columns, and read by name. Building rows is half of what
storing a pair costs, so it is done with as few steps of the interpreter as there can be.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from hashlib import blake2b
from operator import attrgetter
from typing import Any

from shadowmesh.compare.comparison import compare
from shadowmesh.model import PROMPT_BUCKETS, SESSION_BUCKETS, ChunkGaps, Comparison, Cost, Fields, Leg, Pair
from shadowmesh.names import Check, Outcome, Role
from shadowmesh.store.records import PairRecord, StoredPair
from shadowmesh.store.tables import LEG_COLUMNS, NUMBER_BITS, PAIRS
from shadowmesh.store.traits import LegFacts

Row = tuple[Any, ...]

WRITTEN = tuple(column.name for column in PAIRS.columns if column.name != "split")
"""The columns of a row as :func:`to_rows` writes it."""

LONGEST_NAME = 128
"""Characters of a name that is part of a key; PostgreSQL indexes no key beyond 2704 bytes."""

_MOST_NS = 2**63 - 1
_NOT_THERE: Row = (None,) * len(LEG_COLUMNS)
_NO_GAPS = (None, None, None)

# In the order of LEG_COLUMNS, and read in one step each.
_MEASURED = (
    "started_ns",
    "ended_ns",
    "write_stall",
    "queue_time",
    "time_to_first_chunk",
    "message_count",
    "concurrency",
    "deadline",
)
_TOKENS = ("input_tokens", "output_tokens", "cached_input_tokens", "reasoning_output_tokens")
_PARAMETERS = ("max_tokens", "temperature", "top_p", "top_k", "seed", "stop_sequences")
_measured = attrgetter(*_MEASURED)
_tokens = attrgetter(*_TOKENS)
_parameters = attrgetter(*_PARAMETERS)
_NO_PARAMETERS = _parameters(Fields())


def to_rows(
    records: Sequence[PairRecord],
    traits: tuple[Sequence[int | None], Sequence[int | None]],
    *,
    first_id: int,
    now_ns: int,
) -> list[Row]:
    """
    Return the rows of the records, in their order.

    Args:
        traits: the ids of the live legs' traits, and of the shadow legs'.
        first_id: the id of the first row; the others follow it.
        now_ns: when they are stored, wall-clock nanoseconds.
    """
    rows = []
    for id_, ((pair, comparison), live_traits, shadow_traits) in enumerate(
        zip(records, *traits, strict=True), start=first_id
    ):
        live, shadow = pair.live, pair.shadow
        first = live or shadow
        if first is None:
            raise ValueError("a pair without legs")
        match = comparison.matches.get
        rows.append(
            (
                id_,
                key_text(first.experiment),
                key_text(pair.target),
                key_text(pair.pair_id),
                str(comparison.outcome),
                min(first.started_ns, _MOST_NS),
                now_ns,
                first.exchange_index,
                match(Check.STATUS_CODE),
                match(Check.FINISH_REASON),
                match(Check.OUTPUT_EXACT),
                *(_NOT_THERE if live is None else _leg_row(live, live_traits)),
                *(_NOT_THERE if shadow is None else _leg_row(shadow, shadow_traits)),
                None if live is None else _bucket(live.session, SESSION_BUCKETS),
                None if live is None else _bucket(live.prompt_bucket, PROMPT_BUCKETS),
            )
        )
    return rows


def key_text(text: str) -> str:
    """Return a name as part of a key: itself, or a stand-in, always the same, where no database could index it."""
    if len(text) <= LONGEST_NAME and text.isascii() and "\0" not in text:
        return text
    storable = plain_text(text)
    if len(storable) <= LONGEST_NAME:
        return storable
    return f"{storable[: LONGEST_NAME - 33]}…{blake2b(text.encode(errors='replace'), digest_size=16).hexdigest()}"


def plain_text(text: str) -> str:
    """Return the text without what PostgreSQL or UTF-8 has no place for: NUL, and half a surrogate pair."""
    if text.isascii() and "\0" not in text:
        return text
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode(errors="replace").decode()


def from_row(row: Sequence[Any], traits: Mapping[int, LegFacts]) -> StoredPair:
    """
    Return what a row of the columns :data:`WRITTEN` holds; ``traits`` are the facts of those it names.

    What cannot be seen in the legs is from the row: that a pair was evicted. All else is compared again.
    """
    id_, experiment, target, pair_id, outcome, dispatched_ns, stored_ns, exchange_index = row[:_MATCHES]
    common = {"experiment": experiment, "pair_id": pair_id, "exchange_index": exchange_index}
    buckets = {"session": row[_SESSION], "prompt_bucket": row[_PROMPT]}
    live = _leg(row[_LIVE:_SHADOW], traits, role=Role.LIVE.value, **buckets, **common)
    shadow = _leg(row[_SHADOW:_SESSION], traits, role=Role.SHADOW.value, target=target, **common)
    pair = Pair(pair_id=pair_id, target=target, live=live, shadow=shadow)
    comparison = Comparison(outcome=outcome) if outcome == Outcome.EVICTED else _compared(pair, row[_MATCHES:_LIVE])
    number = id_ & (1 << NUMBER_BITS) - 1
    return StoredPair(id_, number, dispatched_ns, stored_ns, PairRecord(pair, comparison))


_MATCHES = WRITTEN.index("match_status_code")
_LIVE = WRITTEN.index("live_span_id")
_SHADOW = WRITTEN.index("shadow_span_id")
_SESSION = WRITTEN.index("session")
_PROMPT = WRITTEN.index("prompt_bucket")


def _compared(pair: Pair, matches: Sequence[Any]) -> Comparison:
    comparison = compare(pair)
    if not comparison.matches:
        return comparison
    return replace(comparison, matches=dict(zip(Check, matches, strict=True)))


def _bucket(said: int | None, buckets: int) -> int | None:
    """Return a bucket of so many; what somebody else has sent under its name is none."""
    return None if said is None or said >= buckets else said


def _leg_row(leg: Leg, traits: int | None) -> Row:
    fields, gaps, cost, parameters = leg.fields, leg.chunk_gaps, leg.cost, _parameters(leg.fields)
    if leg.ended_ns > _MOST_NS:
        # OTLP's times are unsigned; no honest one comes near.
        leg = replace(leg, started_ns=min(leg.started_ns, _MOST_NS), ended_ns=_MOST_NS)
    return (
        leg.span_id.to_bytes(8, "big"),
        leg.trace_id.to_bytes(16, "big"),
        traits,
        *_measured(leg),
        *(_NO_GAPS if gaps is None else (gaps.p50, gaps.p95, gaps.max)),
        leg.stall_count,
        *_tokens(fields),
        None if cost is None else cost.amount,
        leg.output_digest and plain_text(leg.output_digest),
        leg.request_digest and plain_text(leg.request_digest),
        fields.response_id and plain_text(fields.response_id),
        None if parameters == _NO_PARAMETERS else _parameters_text(parameters),
    )


def _leg(columns: Sequence[Any], traits: Mapping[int, LegFacts], **common: Any) -> Leg | None:
    span_id, trace_id, traits_id = columns[:3]
    if span_id is None:
        return None
    measured = dict(zip(_MEASURED, columns[3:11], strict=True))
    p50, p95, most, stall_count = columns[11:15]
    tokens = dict(zip(_TOKENS, columns[15:19], strict=True))
    amount, output_digest, request_digest, response_id, parameters = columns[19:]
    facts = traits[traits_id]
    asked = {} if parameters is None else _parameters_of(parameters)
    return Leg(
        trace_id=int.from_bytes(trace_id, "big"),
        span_id=int.from_bytes(span_id, "big"),
        chunk_gaps=None if p50 is None else ChunkGaps(p50=p50, p95=p95, max=most),
        stall_count=stall_count,
        output_digest=output_digest,
        request_digest=request_digest,
        fields=Fields(response_id=response_id, **tokens, **asked, **facts.fields),
        cost=None if facts.cost is None else Cost(amount=amount, **facts.cost),
        **measured,
        **common,
        **facts.leg,
    )


@lru_cache(maxsize=1024)
def _parameters_text(parameters: tuple[Any, ...]) -> str:
    said = dict(zip(_PARAMETERS, parameters, strict=True))
    return json.dumps({name: value for name, value in said.items() if value not in (None, ())}, separators=(",", ":"))


@lru_cache(maxsize=1024)
def _parameters_of(text: str) -> dict[str, Any]:
    said: dict[str, Any] = json.loads(text)
    if "stop_sequences" in said:
        said["stop_sequences"] = tuple(said["stop_sequences"])
    return said
