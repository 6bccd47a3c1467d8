"""Paths into a message: what is there, what is absent, and what is no path at all."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import descriptor_pb2, duration_pb2, struct_pb2, timestamp_pb2, wrappers_pb2
from google.protobuf.message import Message

from shadowmesh.errors import ProtocolMapError
from shadowmesh.protocols.paths import Path, descriptor_of
from shadowmesh.schema import messages
from shadowmesh.schema.descriptors import message_class


def values(text: str, message: Message) -> list[Any]:
    return Path(text, descriptor_of(type(message))).values(message)


def test_a_field_without_presence_is_absent_at_its_default() -> None:
    assert values("model", messages.GenerateRequest()) == []
    assert values("model", messages.GenerateRequest(model="m")) == ["m"]


def test_an_optional_field_is_there_even_at_zero() -> None:
    assert values("seed", messages.GenerateRequest()) == []
    assert values("seed", messages.GenerateRequest(seed=0)) == [0]
    assert values("sampling.temperature", messages.GenerateRequest(sampling={"temperature": 0})) == [0.0]


def test_a_number_inside_a_message_that_was_sent_is_a_real_zero() -> None:
    assert values("usage.output_tokens", messages.GenerateResponse()) == []
    assert values("usage.output_tokens", messages.GenerateResponse(usage={})) == [0]
    assert values("usage.output_tokens", messages.GenerateResponse(usage={"input_tokens": 3})) == [0]


def test_an_empty_text_inside_a_message_that_was_sent_says_nothing() -> None:
    call = messages.ToolCall(name="look")
    assert values("tool_calls[*].arguments_json", messages.GenerateResponse(tool_calls=[call])) == []


def test_the_member_of_a_oneof_that_was_not_chosen_is_absent() -> None:
    request = messages.GenerateRequest(messages={"messages": [{"content": "Why?"}]})
    assert values("prompt", request) == []
    assert values("messages.messages[*].content", request) == ["Why?"]
    assert values("prompt", messages.GenerateRequest(prompt="")) == [""]


def test_repeated_fields_give_every_element_in_order_defaults_included() -> None:
    request = messages.GenerateRequest(sampling={"stop": ["b", "", "a"]})
    assert values("sampling.stop[*]", request) == ["b", "", "a"]
    calls = messages.GenerateResponse(tool_calls=[{"name": "one"}, {"name": "two"}])
    assert values("tool_calls[*].name", calls) == ["one", "two"]
    assert values("tool_calls[*].name", messages.GenerateResponse()) == []


def test_an_enum_is_read_by_name_and_its_zero_says_nothing() -> None:
    assert values("finish_reason", messages.GenerateResponse()) == []
    assert values("finish_reason", messages.GenerateResponse(finish_reason=messages.FINISH_REASON_STOP)) == [
        "FINISH_REASON_STOP"
    ]


def test_an_enum_value_of_a_newer_version_is_read_by_its_number() -> None:
    newer = messages.GenerateResponse.FromString(bytes([4 << 3, 99]))
    assert values("finish_reason", newer) == ["99"]


def test_an_enum_with_presence_is_read_at_zero_too() -> None:
    field = descriptor_pb2.FieldDescriptorProto(type=descriptor_pb2.FieldDescriptorProto.TYPE_STRING)
    assert values("type", field) == ["TYPE_STRING"]
    assert values("label", field) == []


def test_a_path_may_end_at_a_message_that_is_there() -> None:
    usage = messages.Usage(input_tokens=1)
    assert values("usage", messages.GenerateResponse(usage=usage)) == [usage]
    assert values("usage", messages.GenerateResponse()) == []


def test_a_default_of_the_schema_is_no_value() -> None:
    assert values("ctype", descriptor_pb2.FieldOptions()) == []
    assert values("seconds", timestamp_pb2.Timestamp()) == []
    assert values("value", wrappers_pb2.BoolValue(value=True)) == [True]


def test_first_is_the_first_value_or_nothing() -> None:
    path = Path("sampling.stop[*]", descriptor_of(messages.GenerateRequest))
    assert path.first(messages.GenerateRequest(sampling={"stop": ["x", "y"]})) == "x"
    assert path.first(messages.GenerateRequest()) is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "neither a field"),
        (".", "neither a field"),
        ("usage.", "neither a field"),
        ("usage..input_tokens", "neither a field"),
        ("usage[0]", "is not repeated"),
        ("usage[name='x']", "is not repeated"),
        ('usage["x"]', "is no map"),
        ("tool_calls[x]", "neither a field"),
        ("tool_calls[-1]", "neither a field"),
        ("tool_calls[name=x]", "neither a field"),
        ("tool_calls[nothing='x']", "no text to select by"),
        ("99", "no field '99'"),
        ("usage input", "neither a field"),
        ("nothing", "no field 'nothing'"),
        ("usage.nothing", "no field 'nothing'"),
        ("text.length", "no field 'length'"),
        ("tool_calls.name", "is repeated"),
        ("usage[*].input_tokens", "is not repeated"),
        ("text[*]", "is not repeated"),
    ],
)
def test_what_is_no_path_of_the_message_is_refused_with_the_whole_text(text: str, problem: str) -> None:
    with pytest.raises(ProtocolMapError, match=problem.replace("[", r"\[")) as caught:
        Path(text, descriptor_of(messages.GenerateResponse))
    assert repr(text) in str(caught.value)


def test_a_map_field_is_refused_because_it_has_no_order_to_read_it_in() -> None:
    with pytest.raises(ProtocolMapError, match="is a map"):
        Path("fields[*].value", descriptor_of(struct_pb2.Struct))


def test_a_field_may_be_named_by_its_number() -> None:
    response = messages.GenerateResponse(usage={"output_tokens": 7}, tool_calls=[{"name": "look"}])
    descriptor = descriptor_of(messages.GenerateResponse)
    usage, calls = (descriptor.fields_by_name[name].number for name in ("usage", "tool_calls"))
    assert values(f"{usage}.output_tokens", response) == [7]
    assert values(f"{calls}[*].name", response) == ["look"]


def test_one_element_of_a_list_is_selected_by_its_place_or_by_what_a_field_of_it_says() -> None:
    calls = [{"name": "look", "arguments_json": "1"}, {"name": "go", "arguments_json": "2"}, {"name": "look"}]
    response = messages.GenerateResponse(tool_calls=calls)
    assert values("tool_calls[1].arguments_json", response) == ["2"]
    assert values("tool_calls[7].arguments_json", response) == []
    assert values("tool_calls[name='look'].name", response) == ["look", "look"]
    assert values("tool_calls[name='look'].arguments_json", response) == ["1"]
    assert values("tool_calls[name='a.b[0]'].name", response) == []


def test_a_value_of_a_map_is_selected_by_its_key() -> None:
    struct = struct_pb2.Struct()
    struct.update({"a": "one", "b.c": {"d": 2.5}})
    assert values('fields["a"].string_value', struct) == ["one"]
    assert values('fields["b.c"].struct_value.fields["d"].number_value', struct) == [2.5]
    assert values('fields["nothing"].string_value', struct) == []
    assert "nothing" not in struct.fields
    assert Path('fields["a"].number_value', descriptor_of(struct_pb2.Struct)).kind == "number"


def test_only_a_path_that_selects_whole_lists_is_plain() -> None:
    response = descriptor_of(messages.GenerateResponse)
    assert Path("tool_calls[*].name", response).plain
    assert Path("usage.input_tokens", response).plain
    assert not Path("tool_calls[0].name", response).plain
    assert not Path("tool_calls[name='x'].name", response).plain


def test_repeated_enums_give_every_element() -> None:
    # SourceCodeInfo and FieldOptions of descriptor.proto: the only repeated enum of the well-known types.
    options = descriptor_pb2.FieldOptions(
        targets=[descriptor_pb2.FieldOptions.TARGET_TYPE_UNKNOWN, descriptor_pb2.FieldOptions.TARGET_TYPE_FILE]
    )
    assert values("targets[*]", options) == ["TARGET_TYPE_UNKNOWN", "TARGET_TYPE_FILE"]


def test_what_a_path_leads_to_is_known_before_any_message_is_read() -> None:
    response, wire = descriptor_of(messages.GenerateResponse), descriptor_of(duration_pb2.Duration)
    kinds = {text: Path(text, response).kind for text in ("text", "finish_reason", "usage", "usage.input_tokens")}
    assert kinds == {"text": "text", "finish_reason": "enum", "usage": "message", "usage.input_tokens": "integer"}
    assert Path("seconds", wire).kind == "integer"
    assert Path("sampling.temperature", descriptor_of(messages.GenerateRequest)).kind == "number"
    assert Path("value", descriptor_of(wrappers_pb2.BytesValue)).kind == "bytes"
    assert Path("value", descriptor_of(wrappers_pb2.BoolValue)).kind == "bool"


def test_an_element_may_be_selected_by_whether_something_is_true_of_it() -> None:
    content = message_class("shadowmesh.views.google.Content")
    said = content(parts=[{"text": "hm", "thought": True}, {"text": "four"}])
    assert values("parts[thought='true'].text", said) == ["hm"]
    assert values("parts[thought='false'].text", said) == ["four"]
