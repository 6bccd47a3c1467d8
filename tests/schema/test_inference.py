"""The reference model API: what the proto promises, as the schema room tells it."""

import subprocess
import sys

import pytest
from google.protobuf import descriptor_pool

from shadowmesh.schema import descriptors, inference, messages

ARITIES = {
    "Generate": (False, False),
    "StreamGenerate": (False, True),
    "Converse": (True, True),
    "Ingest": (True, False),
}


def test_the_methods_and_their_arities_are_those_of_the_proto() -> None:
    found = {
        name: (method.request_streaming, method.response_streaming) for name, method in inference.methods().items()
    }
    assert found == ARITIES


@pytest.mark.parametrize("name", ARITIES)
def test_a_method_is_found_by_its_name_with_the_path_of_a_call(name: str) -> None:
    assert inference.method(name).name == name
    assert inference.method(name).full_name == f"/shadowmesh.v1.Inference/{name}"


def test_an_unknown_method_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        inference.method("Degenerate")


def test_the_classes_of_a_method_are_those_of_the_messages_module() -> None:
    converse, ingest = inference.method("Converse"), inference.method("Ingest")
    assert converse.request is messages.GenerateRequest
    assert converse.response is messages.GenerateDelta
    assert ingest.request is messages.IngestRequest
    assert ingest.response is messages.IngestResponse


def test_a_request_survives_the_wire_and_keeps_what_was_left_out_apart_from_zero() -> None:
    request = messages.GenerateRequest(
        request_id="r-1",
        model="bigram",
        messages=messages.Messages(messages=[messages.Message(role=messages.ROLE_USER, content="Why?")]),
        sampling=messages.SamplingParameters(temperature=0, stop=["\n"]),
        seed=7,
        tools=[messages.Tool(name="look", parameters_json_schema='{"type": "object"}')],
    )

    read = messages.GenerateRequest.FromString(request.SerializeToString())

    assert read == request
    assert read.WhichOneof("input") == "messages"
    assert read.sampling.HasField("temperature")
    assert not read.sampling.HasField("top_p")
    assert not read.HasField("max_tokens")


def test_a_delta_and_a_response_differ_in_one_field_only() -> None:
    response = messages.GenerateResponse(
        request_id="r-1",
        model="bigram",
        text="because",
        finish_reason=messages.FINISH_REASON_STOP,
        usage=messages.Usage(input_tokens=9, output_tokens=3, cached_input_tokens=4, reasoning_output_tokens=2),
        tool_calls=[messages.ToolCall(id="c-1", name="look", arguments_json="{}")],
    )

    delta = messages.GenerateDelta.FromString(response.SerializeToString())

    assert delta.delta == response.text
    assert delta.usage == response.usage
    assert delta.SerializeToString() == response.SerializeToString()


def test_enums_are_offered_as_generated_code_would() -> None:
    assert messages.FinishReason.Name(messages.FINISH_REASON_LENGTH) == "FINISH_REASON_LENGTH"
    assert messages.Role.Value("ROLE_TOOL") == messages.ROLE_TOOL == 4


def test_a_message_class_is_found_by_its_full_name() -> None:
    assert descriptors.message_class("shadowmesh.v1.Usage") is messages.Usage
    with pytest.raises(KeyError):
        descriptors.message_class("shadowmesh.v1.Waste")


def test_nothing_is_registered_in_the_default_pool() -> None:
    file, message = "shadowmesh/v1/inference.proto", "shadowmesh.v1.Usage"
    assert descriptors.pool().FindFileByName(file).name == file
    with pytest.raises(KeyError):
        descriptor_pool.Default().FindFileByName(file)
    with pytest.raises(KeyError):
        descriptor_pool.Default().FindMessageTypeByName(message)


def test_the_schema_does_not_load_grpc() -> None:
    code = (
        "import sys; from shadowmesh.schema import inference, messages; inference.methods(); "
        "sys.exit('grpc' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
