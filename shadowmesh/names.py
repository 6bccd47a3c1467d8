"""
Every name ShadowMesh puts on a wire: attributes, metrics, metadata keys, and the closed sets of values.

OpenTelemetry names follow semantic conventions 1.41.1, the last release that has both ``gen_ai.*`` and the new
``rpc.*``; they are spelled out here because the constants in ``opentelemetry-semantic-conventions`` are marked
deprecated there. Everything under ``shadowmesh.*`` is ours. No other module writes such a string.
"""

from __future__ import annotations

from enum import StrEnum

SCHEMA_URL = "https://opentelemetry.io/schemas/1.41.1"

SCOPE_INTERCEPTOR = "shadowmesh.interceptor"
SCOPE_PROCESSOR = "shadowmesh.processor"


class Role(StrEnum):
    """The two sides of a pair."""

    LIVE = "live"
    SHADOW = "shadow"


class TargetKind(StrEnum):
    """What a shadow target is: the model under test, or the live model reached through the shadow path."""

    CANDIDATE = "candidate"
    CONTROL = "control"


class Decision(StrEnum):
    """What became of one covered exchange at one target."""

    MIRRORED = "mirrored"
    NOT_SAMPLED = "not_sampled"
    DROPPED = "dropped"
    DISABLED = "disabled"


class DropReason(StrEnum):
    """
    Why a sampled exchange was shed.

    With ``marked``, ``retry``, ``other_model``, ``off_slot`` and ``harm`` it was never considered.
    """

    QUEUE_FULL = "queue_full"
    CAPTURE_FULL = "capture_full"
    CONCURRENCY_LIMIT = "concurrency_limit"
    RATE_LIMIT = "rate_limit"
    OVERSIZE = "oversize"
    OVERSIZE_CALL = "oversize_call"
    SHUTDOWN = "shutdown"
    UNSUPPORTED_HANDLER = "unsupported_handler"
    NOT_STARTED = "not_started"
    NOT_RECORDED = "not_recorded"
    MARKED = "marked"
    RETRY = "retry"
    OFF_SLOT = "off_slot"
    HARM = "harm"
    OTHER_MODEL = "other_model"
    UNKNOWN_MODEL = "unknown_model"
    CIRCUIT_OPEN = "circuit_open"
    REMOVED = "removed"
    UNSAFE = "unsafe"
    UNREADABLE = "unreadable"
    UNTRANSLATABLE = "untranslatable"
    BUDGET = "budget"
    TIME_BOX = "time_box"


WITHOUT_LEGS = frozenset(
    {DropReason.UNSUPPORTED_HANDLER, DropReason.NOT_STARTED, DropReason.NOT_RECORDED, DropReason.UNKNOWN_MODEL}
)
"""
Shed before anything of the call could be recorded, or without anybody knowing that it was the experiment's: these have
no legs to be paired.
"""


class LossReason(StrEnum):
    """Who is known to have lost legs that the funnel has counted."""

    RECORDING = "recording"
    EXPORT = "export"
    WORKER = "worker"


class AbortResult(StrEnum):
    """What became of a shadow whose client has had its call ended by id: who ended it."""

    ASKED = "asked"
    """Its server was asked to."""
    STOPPED = "stopped"
    """We did: its server knew nothing of it yet, or has no such method."""
    FAILED = "failed"
    """We did, because its server did not do as it was asked."""


class BudgetLimit(StrEnum):
    """The limits of a target's budget, and ``unpriced``: it is blocked because nobody knows what a call costs."""

    PER_HOUR = "per_hour"
    PER_DAY = "per_day"
    TOTAL = "total"
    TOKENS = "tokens"
    UNPRICED = "unpriced"


class TimeBoxLimit(StrEnum):
    """The sides of a time-box."""

    START = "start"
    END = "end"
    PAIRS = "pairs"


class Misfit(StrEnum):
    """What the self-check finds: a shadow that comes back to its live server, and one that never fires."""

    OWN_BACKEND = "own_backend"
    NEVER_FIRES = "never_fires"


class ReloadResult(StrEnum):
    """What became of a changed configuration file."""

    APPLIED = "applied"
    REFUSED = "refused"


class CaptureResult(StrEnum):
    """What became of a live call that was to be captured to a file."""

    WRITTEN = "written"
    INCOMPLETE = "incomplete"
    SHED = "shed"
    FAILED = "failed"


class HarmFigure(StrEnum):
    """What the harm guard compares between time slots with and without mirroring."""

    LATENCY = "latency"
    ERRORS = "errors"


class CallEnd(StrEnum):
    """How a leg ended."""

    COMPLETED = "completed"
    CANCELLED = "cancelled"
    DEADLINE = "deadline"
    CUT = "cut"
    SHED = "shed"


class UsageSource(StrEnum):
    """Where token counts come from."""

    RESPONSE = "response"
    COUNTED = "counted"
    ESTIMATED = "estimated"


class TokenType(StrEnum):
    """The kinds of token a counter tells apart; cached and reasoning tokens are subsets and would count twice."""

    INPUT = "input"
    OUTPUT = "output"


class CostSource(StrEnum):
    """Who computed a cost."""

    PROVIDER = "provider"
    LOCAL = "local"
    COLLECTOR = "collector"


class Outcome(StrEnum):
    """The one end of a pair in the processor."""

    MATCHED = "matched"
    LIVE_ONLY = "live_only"
    SHADOW_ONLY = "shadow_only"
    NOT_COMPARABLE = "not_comparable"
    EVICTED = "evicted"


class SpanOutcome(StrEnum):
    """What the processor did with one received span."""

    ACCEPTED = "accepted"
    IGNORED = "ignored"
    DUPLICATE = "duplicate"
    LATE = "late"
    REJECTED = "rejected"


class Check(StrEnum):
    """What is checked for equality on a pair."""

    STATUS_CODE = "status_code"
    FINISH_REASON = "finish_reason"
    OUTPUT_EXACT = "output_exact"


class TextCheck(StrEnum):
    """What is checked on a pair when its captured texts are compared."""

    OUTPUT_SIMILARITY = "output_similarity"


class CheckResult(StrEnum):
    """The result of one check."""

    MATCH = "match"
    MISMATCH = "mismatch"
    NOT_COMPARABLE = "not_comparable"


class Direction(StrEnum):
    """The sign of a delta, shadow minus live (histograms hold its absolute value)."""

    INCREASE = "increase"
    DECREASE = "decrease"
    NONE = "none"


class Bound(StrEnum):
    """Ends of an interval."""

    LOWER = "lower"
    UPPER = "upper"


class Side(StrEnum):
    """What evidence speaks for: PASS or FAIL."""

    FOR = "for"
    AGAINST = "against"


# --- gRPC metadata -------------------------------------------------------------------------------------------
META_ROLE = "x-shadowmesh-role"
META_PAIR_ID = "x-shadowmesh-pair-id"
META_INSTANCE = "x-shadowmesh-instance"
META_TARGET = "x-shadowmesh-target"
META_TRACEPARENT = "traceparent"
META_TRACESTATE = "tracestate"
META_PREVIOUS_ATTEMPTS = "grpc-previous-rpc-attempts"

# --- HTTP: the headers of Standard Webhooks -------------------------------------------------------------------
META_WEBHOOK_ID = "webhook-id"
META_WEBHOOK_TIMESTAMP = "webhook-timestamp"
META_WEBHOOK_SIGNATURE = "webhook-signature"

# --- resource ------------------------------------------------------------------------------------------------
SERVICE_NAME = "service.name"
SERVICE_INSTANCE_ID = "service.instance.id"
DISTRO_NAME = "telemetry.distro.name"
DISTRO_VERSION = "telemetry.distro.version"

# --- OpenTelemetry: rpc, server, error -----------------------------------------------------------------------
RPC_SYSTEM_NAME = "rpc.system.name"
RPC_METHOD = "rpc.method"
RPC_RESPONSE_STATUS_CODE = "rpc.response.status_code"
SERVER_ADDRESS = "server.address"
SERVER_PORT = "server.port"
ERROR_TYPE = "error.type"

# --- OpenTelemetry: gen_ai -----------------------------------------------------------------------------------
GEN_AI_OPERATION_NAME = "gen_ai.operation.name"
GEN_AI_PROVIDER_NAME = "gen_ai.provider.name"
GEN_AI_REQUEST_MODEL = "gen_ai.request.model"
GEN_AI_REQUEST_STREAM = "gen_ai.request.stream"
GEN_AI_REQUEST_MAX_TOKENS = "gen_ai.request.max_tokens"
GEN_AI_REQUEST_SEED = "gen_ai.request.seed"
GEN_AI_REQUEST_TEMPERATURE = "gen_ai.request.temperature"
GEN_AI_REQUEST_TOP_P = "gen_ai.request.top_p"
GEN_AI_REQUEST_TOP_K = "gen_ai.request.top_k"
GEN_AI_REQUEST_STOP_SEQUENCES = "gen_ai.request.stop_sequences"
GEN_AI_RESPONSE_ID = "gen_ai.response.id"
GEN_AI_RESPONSE_MODEL = "gen_ai.response.model"
GEN_AI_RESPONSE_FINISH_REASONS = "gen_ai.response.finish_reasons"
GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"
GEN_AI_USAGE_INPUT_TOKENS = "gen_ai.usage.input_tokens"
GEN_AI_USAGE_OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS = "gen_ai.usage.cache_read.input_tokens"
GEN_AI_USAGE_REASONING_OUTPUT_TOKENS = "gen_ai.usage.reasoning.output_tokens"
GEN_AI_TOKEN_TYPE = "gen_ai.token.type"
GEN_AI_INPUT_MESSAGES = "gen_ai.input.messages"
GEN_AI_OUTPUT_MESSAGES = "gen_ai.output.messages"
GEN_AI_SYSTEM_INSTRUCTIONS = "gen_ai.system_instructions"
GEN_AI_EVENT = "gen_ai.client.inference.operation.details"
# Where the SDK is too old to write the name of an event where it belongs.
EVENT_NAME = "event.name"


class Foreign:
    """What older conventions and other instrumentations call what a leg says. Read, never written."""

    RPC_SERVICE = "rpc.service"
    RPC_GRPC_STATUS_CODE = "rpc.grpc.status_code"
    GEN_AI_SYSTEM = "gen_ai.system"
    GEN_AI_USAGE_PROMPT_TOKENS = "gen_ai.usage.prompt_tokens"
    GEN_AI_USAGE_COMPLETION_TOKENS = "gen_ai.usage.completion_tokens"
    GEN_AI_USAGE_COST = "gen_ai.usage.cost"
    GEN_AI_USAGE_COST_AMOUNT = "gen_ai.usage.cost.amount"
    GEN_AI_USAGE_COST_CURRENCY = "gen_ai.usage.cost.currency"
    LLM_TOKEN_COUNT_PROMPT = "llm.token_count.prompt"
    LLM_TOKEN_COUNT_COMPLETION = "llm.token_count.completion"
    LLM_COST_TOTAL = "llm.cost.total"


# --- ours: legs ----------------------------------------------------------------------------------------------
ROLE = "shadowmesh.role"
PAIR_ID = "shadowmesh.pair.id"
PAIR_LEG_COUNT = "shadowmesh.pair.leg_count"
PAIR_TARGETS = "shadowmesh.pair.targets"
EXPERIMENT_NAME = "shadowmesh.experiment.name"
EXPERIMENT_VERSION = "shadowmesh.experiment.version"
TARGET_NAME = "shadowmesh.target.name"
TARGET_KIND = "shadowmesh.target.kind"
TARGET_DIGEST = "shadowmesh.target.digest"
TARGET_WARM_UP = "shadowmesh.target.warm_up"
CONFIG_DIGEST = "shadowmesh.config.digest"
SAMPLING_PROBABILITY = "shadowmesh.sampling.probability"
MIRROR_DECISION = "shadowmesh.mirror.decision"
MIRROR_DROP_REASON = "shadowmesh.mirror.drop_reason"
MIRROR_DROP_DETAIL = "shadowmesh.mirror.drop_detail"
MIRROR_QUEUE_TIME = "shadowmesh.mirror.queue_time"
MIRROR_LOSS_REASON = "shadowmesh.mirror.loss_reason"
MIRROR_BUDGET_LIMIT = "shadowmesh.mirror.budget.limit"
MIRROR_RELOAD_RESULT = "shadowmesh.mirror.config.reload_result"
MIRROR_ABORT_RESULT = "shadowmesh.mirror.abort.result"
MIRROR_HARM_REASON = "shadowmesh.mirror.harm.reason"
STREAM_MESSAGE_COUNT = "shadowmesh.stream.message_count"
STREAM_COMPLETE = "shadowmesh.stream.complete"
STREAM_WRITE_STALL = "shadowmesh.stream.write_stall"
STREAM_STALL_COUNT = "shadowmesh.stream.stall_count"
STREAM_CHUNK_GAP_P50 = "shadowmesh.stream.chunk_gap.p50"
STREAM_CHUNK_GAP_P95 = "shadowmesh.stream.chunk_gap.p95"
STREAM_CHUNK_GAP_MAX = "shadowmesh.stream.chunk_gap.max"
USAGE_SOURCE = "shadowmesh.usage.source"
EXCHANGE_INDEX = "shadowmesh.exchange.index"
# One of 256, by a keyed hash of who or what the call belongs to: enough to see that calls of one kind come together.
SESSION_BUCKET = "shadowmesh.session.bucket"
# One of 16 384, by a keyed hash of what was asked: enough to count how many different prompts there were.
PROMPT_BUCKET = "shadowmesh.prompt.bucket"
CALL_ATTEMPT = "shadowmesh.call.attempt"
CALL_DEADLINE = "shadowmesh.call.deadline"
CALL_END = "shadowmesh.call.end"
CALL_CONCURRENCY = "shadowmesh.call.concurrency"
OUTPUT_DIGEST = "shadowmesh.output.digest"
# Which of the gen_ai attributes with captured text do not say all there was: too long, or let go when a queue was full.
CONTENT_TRUNCATED = "shadowmesh.content.truncated"
REQUEST_DIGEST = "shadowmesh.request.digest"
COST_AMOUNT = "shadowmesh.cost.amount"
COST_CURRENCY = "shadowmesh.cost.currency"
COST_SOURCE = "shadowmesh.cost.source"
COST_PRICING_VERSION = "shadowmesh.cost.pricing_version"

# --- ours: the compare span ----------------------------------------------------------------------------------
COMPARE_SPAN = "shadowmesh.compare"
PAIR_OUTCOME = "shadowmesh.pair.outcome"
PAIR_DURATION_DELTA = "shadowmesh.pair.duration.delta"
PAIR_DURATION_RATIO = "shadowmesh.pair.duration.ratio"
PAIR_TIME_TO_FIRST_CHUNK_DELTA = "shadowmesh.pair.time_to_first_chunk.delta"
PAIR_TIME_TO_FIRST_CHUNK_RATIO = "shadowmesh.pair.time_to_first_chunk.ratio"
PAIR_TIME_PER_OUTPUT_TOKEN_DELTA = "shadowmesh.pair.time_per_output_token.delta"
PAIR_TIME_PER_OUTPUT_TOKEN_RATIO = "shadowmesh.pair.time_per_output_token.ratio"
PAIR_OUTPUT_RATE_DELTA = "shadowmesh.pair.output_rate.delta"
PAIR_OUTPUT_RATE_RATIO = "shadowmesh.pair.output_rate.ratio"
PAIR_CHUNK_GAP_P95_DELTA = "shadowmesh.pair.chunk_gap.p95.delta"
PAIR_CHUNK_GAP_P95_RATIO = "shadowmesh.pair.chunk_gap.p95.ratio"
PAIR_CHUNK_GAP_MAX_DELTA = "shadowmesh.pair.chunk_gap.max.delta"
PAIR_CHUNK_GAP_MAX_RATIO = "shadowmesh.pair.chunk_gap.max.ratio"
PAIR_STALL_COUNT_DELTA = "shadowmesh.pair.stall_count.delta"
PAIR_STALL_COUNT_RATIO = "shadowmesh.pair.stall_count.ratio"
PAIR_INPUT_TOKENS_DELTA = "shadowmesh.pair.input_tokens.delta"
PAIR_INPUT_TOKENS_RATIO = "shadowmesh.pair.input_tokens.ratio"
PAIR_OUTPUT_TOKENS_DELTA = "shadowmesh.pair.output_tokens.delta"
PAIR_OUTPUT_TOKENS_RATIO = "shadowmesh.pair.output_tokens.ratio"
PAIR_COST_DELTA = "shadowmesh.pair.cost.delta"
PAIR_COST_RATIO = "shadowmesh.pair.cost.ratio"
MATCH_STATUS_CODE = "shadowmesh.match.status_code"
MATCH_FINISH_REASON = "shadowmesh.match.finish_reason"
MATCH_OUTPUT = "shadowmesh.match.output"

# --- metrics (instrument and unit are beside their use) ------------------------------------------------------
METRIC_CALL_DURATION = "shadowmesh.call.duration"
METRIC_CALL_TIME_TO_FIRST_CHUNK = "shadowmesh.call.time_to_first_chunk"
METRIC_CALL_TIME_PER_OUTPUT_TOKEN = "shadowmesh.call.time_per_output_token"
METRIC_CALL_TOKENS = "shadowmesh.call.tokens"
METRIC_CALL_COST = "shadowmesh.call.cost"
METRIC_CALL_OUTPUT_RATE = "shadowmesh.call.output_rate"
METRIC_PAIRS = "shadowmesh.pairs"
METRIC_PAIR_CHECKS = "shadowmesh.pair.checks"
METRIC_PAIR_OUTPUT_DIVERGENCE = "shadowmesh.pair.output.divergence"
METRIC_PAIR_LAG = "shadowmesh.pair.lag"
METRIC_PAIRING_BUFFER_SIZE = "shadowmesh.pairing.buffer.size"
METRIC_PAIRING_BUFFER_CAPACITY = "shadowmesh.pairing.buffer.capacity"
METRIC_PAIRING_SPANS = "shadowmesh.pairing.spans"
METRIC_PAIRING_SPLITS = "shadowmesh.pairing.splits"
METRIC_JOURNAL_SIZE = "shadowmesh.journal.size"
METRIC_STORE_WAITING = "shadowmesh.store.waiting"
METRIC_STORE_REFUSED = "shadowmesh.store.refused"
METRIC_STORE_LATE_TEXTS = "shadowmesh.store.late_texts"
METRIC_RECEIVER_SET_ASIDE = "shadowmesh.receiver.set_aside"
METRIC_VERDICT_STATE = "shadowmesh.verdict.state"
METRIC_FINDING_STATE = "shadowmesh.verdict.finding.state"
METRIC_FINDING_ESTIMATE = "shadowmesh.verdict.finding.estimate"
METRIC_FINDING_INTERVAL = "shadowmesh.verdict.finding.interval"
METRIC_FINDING_LIMIT = "shadowmesh.verdict.finding.limit"
METRIC_FINDING_EVIDENCE = "shadowmesh.verdict.finding.evidence"
METRIC_FINDING_MISSING = "shadowmesh.verdict.finding.missing"
METRIC_FINDING_PAIRS = "shadowmesh.verdict.finding.pairs"
METRIC_ALARM_LEVEL = "shadowmesh.verdict.alarm.level"
METRIC_ALARMS = "shadowmesh.verdict.alarms"
METRIC_ALERTS_WAITING = "shadowmesh.alerts.waiting"
METRIC_ALERTS_DELIVERED = "shadowmesh.alerts.delivered"
METRIC_ALERTS_LOST = "shadowmesh.alerts.lost"
METRIC_MIRROR_REQUESTS = "shadowmesh.mirror.requests"
METRIC_MIRROR_ACTIVE = "shadowmesh.mirror.active"
METRIC_MIRROR_QUEUE_SIZE = "shadowmesh.mirror.queue.size"
METRIC_MIRROR_LOST = "shadowmesh.mirror.lost"
METRIC_MIRROR_ABORTS = "shadowmesh.mirror.aborts"
METRIC_MIRROR_BREAKER_STATE = "shadowmesh.mirror.breaker.state"
METRIC_MIRROR_CONFIG_RELOADS = "shadowmesh.mirror.config.reloads"
METRIC_MIRROR_BUDGET_REMAINING = "shadowmesh.mirror.budget.remaining"
METRIC_MIRROR_BUDGET_TOKENS = "shadowmesh.mirror.budget.tokens"
METRIC_MIRROR_TIME_BOX_PAIRS = "shadowmesh.mirror.time_box.pairs"
METRIC_MIRROR_HARM_STOPS = "shadowmesh.mirror.harm.stops"
METRIC_CAPTURE_CALLS = "shadowmesh.capture.calls"
# With few sampling keys behind most calls, or many calls without one, the share that is mirrored is not the rate.
METRIC_MIRROR_SAMPLING_TOP_KEY_SHARE = "shadowmesh.mirror.sampling.top_key_share"
METRIC_MIRROR_SAMPLING_MISSING_KEYS = "shadowmesh.mirror.sampling.missing_keys"
# Of calls that are drawn one by one. A receiver takes the three together, as of one moment.
METRIC_MIRROR_SAMPLING_ELIGIBLE = "shadowmesh.mirror.sampling.eligible"
METRIC_MIRROR_SAMPLING_SAMPLED = "shadowmesh.mirror.sampling.sampled"
METRIC_MIRROR_SAMPLING_EXPECTED = "shadowmesh.mirror.sampling.expected"

# The pair.*.delta and pair.*.ratio histograms share their names with the compare span's attributes.

DELTA_DIRECTION = "shadowmesh.delta.direction"
CHECK_NAME = "shadowmesh.check.name"
CHECK_RESULT = "shadowmesh.check.result"
CAPTURE_RESULT = "shadowmesh.capture.result"
SPAN_OUTCOME = "shadowmesh.span.outcome"
VERDICT_ANSWER = "shadowmesh.verdict.answer"
FINDING_NAME = "shadowmesh.finding.name"
FINDING_RESULT = "shadowmesh.finding.result"
FINDING_REASON = "shadowmesh.finding.reason"
INTERVAL_BOUND = "shadowmesh.interval.bound"
EVIDENCE_SIDE = "shadowmesh.evidence.side"
OTHER = "_OTHER"
METRIC_OVERFLOW = "otel.metric.overflow"
