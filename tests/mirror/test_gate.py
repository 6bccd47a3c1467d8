"""What a target may have of a request, decided from its bytes."""

from __future__ import annotations

from typing import Any

import pytest
from support.experiments import CONVERSE, GENERATE, INGEST, experiment, target
from support.wire import request

from shadowmesh.catalog.builtin import builtin, method_map
from shadowmesh.mirror.gate import OPEN, Gate, Passed, gate_of, misfit
from shadowmesh.names import DropReason
from shadowmesh.schema import messages
from shadowmesh.schema.descriptors import message_class

TOOLS = request(prompt="p", tools=[messages.Tool(name="search")])
PLAIN = request(prompt="p")
RAW = "/acme.Model/Predict"
GEMINI = "/google.ai.generativelanguage.v1beta.GenerativeService/GenerateContent"


def gate(method: str = GENERATE, *, effects: dict[str, str] | None = None, **policy: Any) -> Gate:
    one = experiment(target(**policy), methods=["*"], effects=effects or {})
    return gate_of(one, one.targets[0], method, method_map(method))


def test_a_request_without_tools_passes_as_it_is() -> None:
    assert gate().judge(PLAIN) == Passed(PLAIN)


def test_a_request_with_tools_does_not_pass() -> None:
    assert gate().judge(TOOLS).drop_reason == DropReason.UNSAFE
    assert gate(effects={"*": "idempotent"}).judge(TOOLS).drop_reason == DropReason.UNSAFE


def test_a_request_with_tools_passes_without_them_where_that_is_allowed() -> None:
    assert gate(allow_unsafe=[GENERATE]).judge(TOOLS) == Passed(PLAIN)
    assert gate(transform={"tools": "drop"}).judge(TOOLS) == Passed(PLAIN)
    assert gate(allow_unsafe=["*"], stubs={"search": "nothing"}).judge(TOOLS) == Passed(TOOLS)
    assert gate(allow_unsafe=["*"], stubs={"pay": "nothing"}).judge(TOOLS) == Passed(PLAIN)
    assert gate(allow_unsafe=["*"], stubs={"search": "x"}, transform={"tools": "drop"}).judge(TOOLS) == Passed(PLAIN)


def test_a_request_with_tools_does_not_pass_where_no_stub_could_answer_for_them() -> None:
    offers: Any = message_class("shadowmesh.views.google.GenerateContentRequest")
    tools = offers(model="m", tools=[{"function_declarations": [{"name": "search"}]}]).SerializeToString()
    plain = offers(model="m").SerializeToString()
    stubbed = gate(GEMINI, allow_unsafe=["*"], stubs={"search": "nothing"})
    assert stubbed.judge(tools).drop_reason == DropReason.UNSAFE
    assert stubbed.judge(plain) == Passed(plain)
    assert gate(GEMINI, allow_unsafe=["*"]).judge(tools) == Passed(plain)


@pytest.mark.parametrize("policy", [{}, {"allow_unsafe": ["*"]}, {"transform": {"model": "m"}}], ids=repr)
def test_what_cannot_be_read_does_not_pass(policy: dict[str, Any]) -> None:
    assert gate(**policy).judge(b"\xff").drop_reason == DropReason.UNREADABLE


def test_a_method_without_tools_and_without_a_change_is_not_read_at_all() -> None:
    assert not gate(INGEST).reads
    assert gate(RAW) is OPEN


def test_an_unsafe_method_is_not_for_a_target_that_does_not_name_it() -> None:
    for method in (RAW, GENERATE):
        assert gate(method, effects={method: "unsafe"}).refusal == DropReason.UNSAFE
        assert gate(method, effects={method: "unsafe"}, allow_unsafe=[method]).refusal == ""
    assert gate("/acme.Admin/UnloadModel").refusal == DropReason.UNSAFE


def test_what_nobody_can_change_is_not_sent_unchanged() -> None:
    assert gate(RAW, transform={"model": "m"}).refusal == DropReason.UNREADABLE


def test_each_method_is_changed_as_far_as_it_has_the_fields() -> None:
    policy: dict[str, Any] = {
        "transform": {"model": "m", "temperature": 0.5, "system_prompt": {"prepend": "S"}, "set_fields": {"seed": 1}}
    }
    changed = messages.GenerateRequest.FromString(gate(CONVERSE, **policy).judge(PLAIN).data)
    assert (changed.model, changed.sampling.temperature, changed.prompt, changed.seed) == ("m", 0.5, "Sp", 1)
    chunk = messages.IngestRequest(text="t").SerializeToString()
    changed_chunk = messages.IngestRequest.FromString(gate(INGEST, **policy).judge(chunk).data)
    assert changed_chunk == messages.IngestRequest(model="m", text="t")


def found(method: str, protocol: str | None = None, **policy: Any) -> tuple[str, str] | None:
    one = experiment(target(**policy), methods=[method])
    return misfit(one, one.targets[0], builtin().mapped_methods(protocol))


MISFITS: list[tuple[str, str | None, dict[str, Any], str]] = [
    (RAW, None, {"transform": {"model": "m"}}, "transform"),
    (GENERATE, "raw", {"transform": {"model": "m"}}, "transform"),
    (INGEST, None, {"transform": {"temperature": 1}}, "transform.temperature"),
    (INGEST, None, {"transform": {"system_prompt": {"prepend": "x"}}}, "transform.system_prompt"),
    (INGEST, None, {"transform": {"tools": "drop"}}, "transform.tools"),
    (GENERATE, None, {"transform": {"set_fields": {"sampling.topk": 1}}}, "transform.set_fields"),
    (GENERATE, None, {"transform": {"set_fields": {"sampling.top_k": "one"}}}, "transform"),
    (GENERATE, None, {"transform": {"seed": -1}}, "transform"),
    (GENERATE, None, {"transform": {"remove_fields": ["tools"]}}, "transform.remove_fields"),
    (RAW, None, {"allow_unsafe": ["*"], "stubs": {"a": "b"}}, "stubs"),
    (GEMINI, None, {"allow_unsafe": ["*"], "stubs": {"a": "b"}}, "stubs"),
]


@pytest.mark.parametrize(("method", "protocol", "policy", "key"), MISFITS, ids=repr)
def test_a_policy_that_fits_no_method_is_found_before_any_call(
    method: str, protocol: str | None, policy: dict[str, Any], key: str
) -> None:
    problem = found(method, protocol, **policy)
    assert problem is not None
    assert problem[0] == key


@pytest.mark.parametrize(
    "policy",
    [
        {},
        {"transform": {"model": "m"}},
        {"transform": {"temperature": 0, "seed": 1, "tools": "drop", "set_fields": {"document_id": "d"}}},
        {"allow_unsafe": ["*"], "stubs": {"a": "b"}},
    ],
    ids=repr,
)
def test_a_policy_that_fits_some_method_is_fine(policy: dict[str, Any]) -> None:
    assert found("*", **policy) is None
