"""Several outputs of one request, or answers of one batch, in one message: each is an answer of its own."""

from __future__ import annotations

import json
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from support.dialects.spoken import view

from shadowmesh.catalog.builtin import builtin
from shadowmesh.errors import ProtocolMapError
from shadowmesh.model import Cost
from shadowmesh.protocols.map_settings import ProtocolMapSettings
from shadowmesh.protocols.messages import Answer
from shadowmesh.protocols.paths import Path, descriptor_of
from shadowmesh.protocols.protocol_map import MethodMap, bind
from shadowmesh.protocols.reading import read, read_cost
from shadowmesh.protocols.streams import StreamSettings
from shadowmesh.schema import messages
from shadowmesh.schema.descriptors import message_class

INFER = "/inference.GRPCInferenceService/ModelInfer"
OUTPUTS = {"text": "outputs[*].message.content", "finish_reason": "outputs[*].finish_reason"}


def xai(**method: Any) -> MethodMap:
    views = {"request": "shadowmesh.views.xai.CompletionRequest", "response": "shadowmesh.views.xai.CompletionResponse"}
    settings = {"version": 1, "protocol": "acme", "methods": {"/a.B/C": {"messages": views, **method}}}
    return bind(ProtocolMapSettings.model_validate(settings), {}, message_class)["/a.B/C"]


def answer(*outputs: tuple[int, str, str]) -> bytes:
    made = [{"index": at, "message": {"content": text}, "finish_reason": why} for at, text, why in outputs]
    return view("xai.CompletionResponse", outputs=made).SerializeToString()


def test_values_have_the_place_of_their_element_in_the_first_list_on_the_way() -> None:
    one = messages.GenerateRequest(
        messages=messages.Messages(
            messages=[
                messages.Message(tool_calls=[messages.ToolCall(name="a"), messages.ToolCall(name="b")]),
                messages.Message(),
                messages.Message(tool_calls=[messages.ToolCall(name="c")]),
            ]
        ),
        sampling=messages.SamplingParameters(stop=["x", "y"]),
        model="m",
    )
    descriptor = descriptor_of(type(one))

    def placed(text: str) -> list[tuple[int, Any]]:
        return list(Path(text, descriptor).placed(one))

    assert placed("messages.messages[*].tool_calls[*].name") == [(0, "a"), (0, "b"), (2, "c")]
    assert placed("sampling.stop[*]") == [(0, "x"), (1, "y")]
    # One that is picked out stands nowhere.
    assert placed("messages.messages[2].tool_calls[*].name") == [(0, "c")]
    assert placed("model") == [(0, "m")]


def test_without_a_rule_the_texts_of_a_message_are_one_answer() -> None:
    assert read(xai(response=OUTPUTS), [], [answer((0, "a", "REASON_STOP"), (1, "b", "REASON_STOP"))]).output == (
        b"ab",
    )


@pytest.mark.parametrize(
    ("stream", "texts"),
    [({"index": "outputs[*].index"}, (b"a", b"bd")), ({"batch": True}, (b"bad", b""))],
)
def test_elements_go_by_their_index_and_in_a_batch_by_their_place(
    stream: dict[str, Any], texts: tuple[bytes, ...]
) -> None:
    answers = [
        answer((1, "b", "REASON_INVALID"), (0, "", "REASON_INVALID")),
        answer((0, "a", "REASON_STOP")),
        answer((1, "d", "REASON_STOP")),
    ]
    found = read(xai(response=OUTPUTS, stream=stream), [], answers)
    assert found.output == tuple(text for text in texts if text)
    assert found.fields.finish_reasons == ("REASON_STOP",)


def test_reasons_that_differ_are_each_outputs_own_in_their_order() -> None:
    by_index = xai(response=OUTPUTS, stream={"index": "outputs[*].index"})
    last_first = [answer((1, "b", "REASON_MAX_LEN"), (0, "a", "REASON_STOP"))]
    assert read(by_index, [], last_first).fields.finish_reasons == ("REASON_STOP", "REASON_MAX_LEN")
    many = [answer(*[(at, "x", ("REASON_STOP", "REASON_MAX_LEN")[at % 2]) for at in range(1000)])]
    assert len(read(by_index, [], many).fields.finish_reasons) == 16


def test_an_element_that_names_no_index_goes_by_its_place() -> None:
    settings = {
        "version": 1,
        "protocol": "acme",
        "methods": {
            "/a.B/C": {
                "messages": {
                    "request": "shadowmesh.views.google.GenerateContentRequest",
                    "response": "shadowmesh.views.google.GenerateContentResponse",
                },
                "response": {"text": "candidates[*].content.parts[*].text"},
                "stream": {"index": "candidates[*].index"},
            }
        },
    }
    method_map = bind(ProtocolMapSettings.model_validate(settings), {}, message_class)["/a.B/C"]
    candidates = [{"content": {"parts": [{"text": "a"}, {"text": "b"}]}}, {"content": {"parts": [{"text": "c"}]}}]
    said = view("google.GenerateContentResponse", candidates=candidates).SerializeToString()
    assert read(method_map, [], [said]).output == (b"ab", b"c")


@pytest.mark.parametrize(
    ("shape", "outputs"),
    [((4,), (b"1 2 3 4",)), ((1, 2, 2), (b"1 2", b"3 4")), ((2, 3), (b"1 2 3 4",)), ((2, 0), (b"1 2 3 4",))],
)
def test_numbers_of_a_tensor_are_outputs_by_its_rows(shape: tuple[int, ...], outputs: tuple[bytes, ...]) -> None:
    ids = {"name": "output_ids", "datatype": "INT32", "shape": shape}
    said = view("oip.ModelInferResponse", outputs=[ids], raw_output_contents=[struct.pack("<iiii", 1, 2, 3, 4)])
    found = read(builtin().protocols["oip_triton"][INFER], [], [said.SerializeToString()]).output
    assert found == (b"", *outputs)


def test_an_index_that_is_no_integer_is_refused() -> None:
    with pytest.raises(ProtocolMapError, match="and no index"):
        xai(response=OUTPUTS, stream={"index": "outputs[*].message.content"})


def test_a_batch_and_an_index_exclude_each_other() -> None:
    with pytest.raises(ValidationError, match="not by both"):
        StreamSettings.model_validate({"batch": True, "index": "index"})


# --- what an answer says it cost --------------------------------------------------------------------------------


def costing(**cost: Any) -> MethodMap:
    return xai(response={"cost": {"amount": "usage.cost_in_usd_ticks", **cost}})


def ticks(*amounts: int | None) -> list[bytes]:
    usages = [{} if amount is None else {"cost_in_usd_ticks": amount} for amount in amounts]
    return [view("xai.CompletionResponse", usage=usage).SerializeToString() for usage in usages]


def test_the_last_word_on_a_cost_stands_in_its_unit_and_is_the_providers() -> None:
    cents = costing(units=100, currency="EUR")
    assert read_cost(Answer(cents, ticks(5, 50, None))) == Cost(amount=0.5, currency="EUR", source="provider")
    assert read_cost(Answer(cents, ticks(0))) == Cost(amount=0.0, currency="EUR", source="provider")
    assert read_cost(Answer(cents, [*ticks(7), b"\xff"])) == Cost(amount=0.07, currency="EUR", source="provider")


def test_a_cost_that_is_not_said_or_none_is_unknown() -> None:
    assert read_cost(Answer(costing(), ticks(None))) is None
    assert read_cost(Answer(costing(), ticks(-1))) is None
    assert read_cost(Answer(costing(), [])) is None
    assert read_cost(Answer(xai(), ticks(5))) is None
    assert read_cost(Answer(None, ticks(5))) is None


@given(st.one_of(st.integers(), st.floats(), st.text(max_size=5), st.none(), st.just(10**400)))
def test_no_cost_in_json_raises(amount: Any) -> None:
    views = {"request": "shadowmesh.views.sglang.OpenAiRequest", "response": "shadowmesh.views.sglang.OpenAiChunk"}
    method = {"messages": views, "response": {"cost": {"amount": "json(json_chunk, cost, number)", "units": 7}}}
    settings = {"version": 1, "protocol": "acme", "methods": {"/a.B/C": method}}
    method_map = bind(ProtocolMapSettings.model_validate(settings), {}, message_class)["/a.B/C"]
    said = view("sglang.OpenAiChunk", json_chunk=json.dumps({"cost": amount}).encode()).SerializeToString()
    cost = read_cost(Answer(method_map, [said]))
    assert cost is None or cost.amount >= 0


@pytest.mark.parametrize("cost", [{"units": 0}, {"currency": "dollars"}, {"units": float("inf")}])
def test_a_unit_or_a_currency_that_is_none_is_refused(cost: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        costing(**cost)


def test_a_cost_that_is_no_number_is_refused_before_anything_is_read() -> None:
    with pytest.raises(ProtocolMapError, match="cannot be read as cost"):
        xai(response={"cost": {"amount": "model"}})
