"""Answers of which a protocol's map reads nothing are unknown, and never the same; and where an answer begins."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.message import Message
from support.dialects.spoken import view

from shadowmesh.catalog.builtin import builtin
from shadowmesh.protocols.messages import Answer
from shadowmesh.protocols.reading import first_content, read

INFER = "/inference.GRPCInferenceService/ModelInfer"


def _output(protocol: str, method: str, *answers: Message) -> Any:
    messages = [answer.SerializeToString() for answer in answers]
    return read(builtin().protocols[protocol][method], [], messages).output


def _tensor(name: str, **contents: Any) -> Message:
    return view("oip.ModelInferResponse", outputs=[{"name": name, "datatype": "BYTES", "contents": contents}])


@pytest.mark.parametrize("protocol", ["oip_triton", "oip_mlserver", "oip_kserve", "oip_dynamo"])
def test_a_model_that_makes_no_text_has_no_answer_to_compare(protocol: str) -> None:
    assert _output(protocol, INFER, _tensor("predict", fp32_contents=[0.5])) is None
    assert _output(protocol, INFER, _tensor("text_output", bytes_contents=[b""])) is not None


def test_a_vector_is_no_answer_to_compare() -> None:
    assert _output("tei", "/tei.v1.Embed/Embed", view("tei.EmbedResponse", embeddings=[0.5])) is None


def test_an_answer_without_a_word_is_an_answer() -> None:
    assert _output("tgis", "/fmaas.GenerationService/GenerateStream", view("tgis.Response")) == (b"",)


@pytest.mark.parametrize(
    ("protocol", "method", "messages", "first"),
    [
        (
            "tgis",
            "/fmaas.GenerationService/GenerateStream",
            [view("tgis.Response", input_token_count=3), view("tgis.Response", text="four")],
            1,
        ),
        (
            "sglang",
            "/sglang.runtime.v1.SglangService/ChatComplete",
            [
                view("sglang.OpenAiChunk", json_chunk=b'{"choices": [{"delta": {"role": "assistant"}}]}'),
                view("sglang.OpenAiChunk", json_chunk=b'{"choices": [{"delta": {"reasoning_content": "hm"}}]}'),
                view("sglang.OpenAiChunk", json_chunk=b'{"choices": [{"delta": {"content": "four"}}]}'),
            ],
            1,
        ),
        (
            "vllm",
            "/vllm.Inference/GenerateStream",
            [view("vllm.GenerateResponse", prompt_info={}), view("vllm.GenerateResponse", outputs={"text": "four"})],
            1,
        ),
        (
            "vllm_smg",
            "/vllm.grpc.engine.VllmEngine/Generate",
            [view("smg.VllmGenerateResponse", chunk={}), view("smg.VllmGenerateResponse", chunk={"token_ids": [7]})],
            0,
        ),
    ],
)
def test_an_answer_begins_where_its_protocol_says(
    protocol: str, method: str, messages: list[Message], first: int
) -> None:
    data = [message.SerializeToString() for message in messages]
    assert first_content(Answer(builtin().protocols[protocol][method], data)) == first
