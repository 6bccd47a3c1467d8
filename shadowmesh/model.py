"""
The frozen records every room shares.

A :class:`Leg` says everything the wire says about one leg, so that the interceptor can turn it into a span and
the processor can turn that span back into an equal leg. Times on a leg are wall-clock nanoseconds whose
difference was taken from one monotonic clock; all other durations are float seconds. Text of prompts and answers
is in no record: it stays with the engine that read it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

SESSION_BUCKETS = 256
"""Into so many buckets the sessions of an experiment fall."""

PROMPT_PLACES = 512
PROMPT_RANKS = 32
PROMPT_BUCKETS = PROMPT_PLACES * PROMPT_RANKS
"""
The buckets of prompts, ``place * PROMPT_RANKS + rank``: of a keyed hash nine bits are the place, and the number of
zeros that follow them, up to 31, is the rank. Two prompts have one bucket by chance once in 1 536 times.
"""

Metadata = tuple[tuple[str, str | bytes], ...]
"""gRPC metadata as it arrived: order and duplicates kept, ``-bin`` values as bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceContext:
    """
    Where a call's spans hang: ids as integers, as OpenTelemetry for Python holds them.

    ``inbound_span_id`` is the span both legs are children of. When ``inbound_is_ours`` no other instrumentation
    made a server span, so we make one, itself a child of ``remote_span_id`` (0: a root).
    """

    trace_id: int
    inbound_span_id: int
    remote_span_id: int
    inbound_is_ours: bool
    flags: int
    state: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """What a protocol map read from the bytes of one exchange; ``None`` is "the protocol does not say"."""

    operation: str | None = None
    provider: str | None = None
    request_model: str | None = None
    response_model: str | None = None
    response_id: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: float | None = None
    seed: int | None = None
    stop_sequences: tuple[str, ...] = ()
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_input_tokens: int | None = None
    reasoning_output_tokens: int | None = None
    usage_source: str | None = None
    finish_reasons: tuple[str, ...] = ()


NO_FIELDS = Fields()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Money for one leg: ``amount`` in ``currency`` (ISO 4217), by whom (``names.CostSource``), by which prices."""

    amount: float
    currency: str
    source: str
    pricing_version: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkGaps:
    """
    Gaps between consecutive response messages of a stream, seconds. On a live leg with a ``write_stall`` they hold that
    too: the next message is taken only when the client has taken the one before.
    """

    p50: float
    p95: float
    max: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Leg:
    """
    One exchange with one backend, from start to end.

    ``target`` and ``target_kind`` are empty on a live leg, which instead names the ``expected_targets``: every
    target whose shadow leg (shed ones included) belongs to the same exchange. ``leg_count`` is one more than
    their number. ``drop_detail`` says more of a ``drop_reason``, in names of fields. ``status`` is the gRPC status
    name, ``None`` when nobody can know it. ``stall_count`` counts the gaps of a stream that are longer than the
    experiment's ``stall_after``; it is ``None`` where there is no stream.
    ``session`` (of a live leg) is the bucket of whatever the exchange belongs to: a user, a conversation, a trace. All
    of one session share it, and some of other sessions do; ``None`` where nobody knows.
    ``prompt_bucket`` (of a live leg) is that of what was asked, which tells how many different prompts there were and
    no prompt; ``None`` where nobody could read one. ``warm_up`` (of a shadow leg) is whether its target was still
    warming up by the experiment's rule, so that the verdict leaves it out.
    """

    experiment: str
    pair_id: str
    role: str
    method: str
    trace_id: int
    span_id: int
    started_ns: int
    ended_ns: int
    end: str
    experiment_version: str = ""
    target: str = ""
    target_kind: str = ""
    parent_span_id: int = 0
    leg_count: int = 0
    expected_targets: tuple[str, ...] = ()
    probability: float = 1.0
    status: str | None = None
    decision: str = ""
    drop_reason: str | None = None
    drop_detail: str | None = None
    streaming: bool = False
    message_count: int = 0
    complete: bool = True
    time_to_first_chunk: float | None = None
    chunk_gaps: ChunkGaps | None = None
    stall_count: int | None = None
    write_stall: float = 0.0
    queue_time: float | None = None
    deadline: float | None = None
    attempt: int = 1
    exchange_index: int | None = None
    session: int | None = None
    prompt_bucket: int | None = None
    warm_up: bool = False
    concurrency: float | None = None
    server_address: str | None = None
    server_port: int | None = None
    output_digest: str | None = None
    request_digest: str | None = None
    target_digest: str | None = None
    config_digest: str | None = None
    fields: Fields = NO_FIELDS
    cost: Cost | None = None

    @property
    def duration(self) -> float:
        """Seconds from start to end, less the time a slow client stalled our writes; never negative."""
        return max((self.ended_ns - self.started_ns) / 1e9 - self.write_stall, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """The live leg and the shadow leg of one target; a side that never came is ``None``, never both."""

    pair_id: str
    target: str
    live: Leg | None
    shadow: Leg | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One measured quantity on both legs: ``delta`` is shadow − live, ``ratio`` shadow / live (``None`` at live 0)."""

    live: float
    shadow: float
    delta: float
    ratio: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What a pair shows. ``None`` means "cannot be compared", never "equal"."""

    outcome: str
    duration: Change | None = None
    time_to_first_chunk: Change | None = None
    time_per_output_token: Change | None = None
    output_rate: Change | None = None
    chunk_gap_p95: Change | None = None
    chunk_gap_max: Change | None = None
    stall_count: Change | None = None
    input_tokens: Change | None = None
    output_tokens: Change | None = None
    cost: Change | None = None
    currency: str | None = None
    matches: dict[str, bool | None] = field(default_factory=dict)
