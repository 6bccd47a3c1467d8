"""Spans of older conventions and of other instrumentations are legs too, once they say whose."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from opentelemetry.sdk.trace import TracerProvider
from support.otlp import legs_of, spans_request

from shadowmesh import names
from shadowmesh.compare.comparison import compare
from shadowmesh.model import Cost, Leg, Pair
from shadowmesh.names import CallEnd, CostSource, Foreign, Outcome
from shadowmesh.processor.decode_aliases import STATUSES, end_of

OURS = {names.ROLE: "shadow", names.PAIR_ID: "p1", names.EXPERIMENT_NAME: "e", names.TARGET_NAME: "t"}
OLD_RPC = {"rpc.system": "grpc", Foreign.RPC_SERVICE: "acme.v1.Models", names.RPC_METHOD: "Chat"}


def leg(attributes: dict[str, Any]) -> Leg:
    """Return the leg somebody else's tracer made a span of."""
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("somebody")
    span: Any = tracer.start_span("/acme.v1.Models/Chat", attributes=attributes)
    span.end()
    (found,) = legs_of(spans_request([span]))
    return found


def test_a_span_of_the_grpc_instrumentation_is_a_leg() -> None:
    found = leg(OURS | OLD_RPC | {Foreign.RPC_GRPC_STATUS_CODE: 0})
    assert (found.method, found.status, found.end, found.target) == (
        "acme.v1.Models/Chat",
        "OK",
        CallEnd.COMPLETED,
        "t",
    )
    assert found.ended_ns > found.started_ns


@pytest.mark.parametrize("code", grpc.StatusCode, ids=lambda code: code.name)
def test_every_number_of_a_status_has_its_name(code: grpc.StatusCode) -> None:
    assert leg(OURS | OLD_RPC | {Foreign.RPC_GRPC_STATUS_CODE: code.value[0]}).status == code.name
    assert code.name in STATUSES


@pytest.mark.parametrize(
    "said",
    [
        {},
        {Foreign.RPC_GRPC_STATUS_CODE: 17},
        {Foreign.RPC_GRPC_STATUS_CODE: -1},
        {names.RPC_RESPONSE_STATUS_CODE: "ok"},
        {names.RPC_RESPONSE_STATUS_CODE: ""},
    ],
)
def test_an_unknown_status_is_not_comparable_and_never_ok(said: dict[str, Any]) -> None:
    found = leg(OURS | OLD_RPC | said)
    assert (found.status, found.end) == (None, CallEnd.CUT)
    pair = Pair(pair_id="p1", target="t", live=found, shadow=found)
    assert compare(pair).outcome == Outcome.NOT_COMPARABLE


@pytest.mark.parametrize(
    ("status", "end"),
    [
        ("OK", "completed"),
        ("INTERNAL", "completed"),
        ("CANCELLED", "cancelled"),
        ("DEADLINE_EXCEEDED", "deadline"),
        (None, "cut"),
    ],
)
def test_how_a_call_ended_follows_from_its_status(status: str | None, end: str) -> None:
    assert end_of(status) == end


@pytest.mark.parametrize(
    "said",
    [
        {
            Foreign.GEN_AI_SYSTEM: "openai",
            Foreign.GEN_AI_USAGE_PROMPT_TOKENS: 10,
            Foreign.GEN_AI_USAGE_COMPLETION_TOKENS: 20,
        },
        {
            names.GEN_AI_PROVIDER_NAME: "openai",
            Foreign.LLM_TOKEN_COUNT_PROMPT: 10,
            Foreign.LLM_TOKEN_COUNT_COMPLETION: 20,
        },
        {
            names.GEN_AI_PROVIDER_NAME: "openai",
            Foreign.GEN_AI_SYSTEM: "other",
            names.GEN_AI_USAGE_INPUT_TOKENS: 10,
            Foreign.GEN_AI_USAGE_PROMPT_TOKENS: 99,
            Foreign.LLM_TOKEN_COUNT_PROMPT: 98,
            names.GEN_AI_USAGE_OUTPUT_TOKENS: 20,
            Foreign.LLM_TOKEN_COUNT_COMPLETION: 97,
        },
    ],
    ids=["older names", "another's names", "ours win"],
)
def test_usage_is_read_by_any_of_its_names(said: dict[str, Any]) -> None:
    fields = leg(OURS | OLD_RPC | said).fields
    assert (fields.provider, fields.input_tokens, fields.output_tokens) == ("openai", 10, 20)


@pytest.mark.parametrize(
    ("said", "amount", "currency"),
    [
        ({Foreign.GEN_AI_USAGE_COST_AMOUNT: 0.5, Foreign.GEN_AI_USAGE_COST_CURRENCY: "EUR"}, 0.5, "EUR"),
        ({Foreign.GEN_AI_USAGE_COST: 0.25}, 0.25, "USD"),
        ({Foreign.LLM_COST_TOTAL: 0.125}, 0.125, "USD"),
    ],
)
def test_a_cost_somebody_else_has_reckoned_is_the_provider_s(
    said: dict[str, Any], amount: float, currency: str
) -> None:
    assert leg(OURS | OLD_RPC | said).cost == Cost(amount=amount, currency=currency, source=CostSource.PROVIDER)


@pytest.mark.parametrize(
    "said",
    [
        {Foreign.GEN_AI_USAGE_COST_AMOUNT: 0.5},
        {Foreign.GEN_AI_USAGE_COST_CURRENCY: "EUR"},
        {Foreign.GEN_AI_USAGE_COST: -1.0},
        {Foreign.LLM_COST_TOTAL: float("nan")},
    ],
)
def test_a_cost_that_is_not_known_is_none(said: dict[str, Any]) -> None:
    assert leg(OURS | OLD_RPC | said).cost is None


def test_our_own_cost_wins() -> None:
    ours = {names.COST_AMOUNT: 1.0, names.COST_CURRENCY: "USD", names.COST_SOURCE: "local"}
    assert leg(OURS | OLD_RPC | ours | {Foreign.LLM_COST_TOTAL: 5.0}).cost == Cost(
        amount=1.0, currency="USD", source="local"
    )


def test_a_method_that_is_whole_is_left_alone() -> None:
    said = OURS | {names.RPC_METHOD: "acme.v1.Models/Chat", Foreign.RPC_SERVICE: "other"}
    assert leg(said).method == "acme.v1.Models/Chat"
