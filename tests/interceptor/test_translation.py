"""A shadow that speaks another protocol: it is asked the same question, and its answer is read by its own map."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.message import Message
from support.dialects.spoken import BIDI, SERVER_STREAM, UNARY, Said, Server, view
from support.id_engine import TRTLLM, VLLM, Client, IdEngine, IdHandlers
from support.meshes import config, target
from support.translated import Asked, Mirrored, mirrored
from support.worlds import world

from shadowmesh.names import GEN_AI_INPUT_MESSAGES, GEN_AI_OUTPUT_MESSAGES, ROLE, CallEnd, Decision, DropReason
from shadowmesh.schema import messages
from shadowmesh.schema.descriptors import message_class
from shadowmesh.testing import Backend, ReceivedCall

PLACES = (("sync", "thread"), ("aio", "loop"), ("aio", "thread"), ("sync", "process"), ("proxy", "loop"))
VLLM_SMG = "/vllm.grpc.engine.VllmEngine/Generate"
SAMPLED: dict[str, Any] = {"temperature": 0.5, "top_p": 0.25, "max_tokens": 8}
TO_TRTLLM: dict[str, Any] = {"protocol": "trtllm", "tokenizer": "llama"}


def vllm(stream: bool = True, **more: Any) -> Message:
    request = {"request_id": "r", "tokenized": {"input_ids": [1, 2, 3]}, "sampling_params": SAMPLED, "stream": stream}
    return view("smg.VllmGenerateRequest", **request | more)


def vllm_chunk(*ids: int) -> Message:
    return view("smg.VllmGenerateResponse", chunk={"token_ids": ids, "prompt_tokens": 3, "completion_tokens": len(ids)})


def vllm_end(*ids: int) -> Message:
    end = {"output_ids": ids, "finish_reason": "stop", "prompt_tokens": 3, "completion_tokens": len(ids)}
    return view("smg.VllmGenerateResponse", complete=end)


def trtllm_end(*ids: int, reason: str = "stop") -> Message:
    end = {"output_token_ids": ids, "finish_reason": reason, "prompt_tokens": 3, "completion_tokens": len(ids)}
    return view("smg.TrtllmGenerateResponse", request_id="x", complete=end)


def trtllm_chunk(*ids: int) -> Message:
    return view("smg.TrtllmGenerateResponse", request_id="x", chunk={"token_ids": ids})


LIVE = Asked("vllm_smg", VLLM_SMG, SERVER_STREAM, [vllm()], Said([vllm_chunk(7), vllm_chunk(8, 9), vllm_end(8, 9)]))
TENSORRT = Said([trtllm_chunk(7), trtllm_chunk(8, 9), trtllm_end(7, 8, 9)])


def asked_of(found: Mirrored, name: str) -> Any:
    """Return the one request that the shadow's server was sent."""
    (call,) = found.received
    (request,) = call.requests
    return message_class(f"shadowmesh.views.{name}").FromString(request)


def refused(found: Mirrored) -> str | None:
    """Return why the shadow was not asked, which nothing but its leg says."""
    assert found.received == []
    (leg,) = found.shadow
    assert (leg.drop_reason, leg.end, leg.decision) == (DropReason.UNTRANSLATABLE, CallEnd.SHED, Decision.MIRRORED)
    (live,) = found.live
    assert (live.status, live.end) == ("OK", CallEnd.COMPLETED)
    assert list(found.faults.values()) == [1]
    return leg.drop_detail


@pytest.mark.parametrize(("kind", "carrier"), PLACES)
def test_vllm_to_tensorrt_llm_under_one_tokenizer(kind: str, carrier: str) -> None:
    found = mirrored(kind, carrier, LIVE, TENSORRT, TO_TRTLLM, tokenizer="llama")
    assert found.heard == [message.SerializeToString() for message in LIVE.answer.messages]
    (call,) = found.received
    assert (call.method, call.half_closed) == ("/trtllm.TrtllmService/Generate", True)
    request = asked_of(found, "smg.TrtllmGenerateRequest")
    assert list(request.tokenized.input_ids) == [1, 2, 3]
    assert (request.max_tokens, request.streaming, request.include_stop_token_in_output) == (8, True, True)
    assert (request.sampling_config.temperature, request.sampling_config.top_p) == (0.5, 0.25)
    # Its own, and not the live one's.
    assert request.request_id.startswith("shadow-candidate-")
    (live,), (shadow,) = found.live, found.shadow
    assert (live.method, shadow.method) == ("vllm.grpc.engine.VllmEngine/Generate", "trtllm.TrtllmService/Generate")
    assert (live.fields.provider, shadow.fields.provider) == ("vllm", "tensorrt_llm")
    assert (live.fields.output_tokens, shadow.fields.output_tokens) == (3, 3)
    assert (shadow.fields.max_tokens, shadow.fields.temperature) == (8, 0.5)
    assert shadow.status == "OK"
    assert shadow.streaming
    assert shadow.message_count == 3
    assert live.output_digest == shadow.output_digest is not None
    assert found.faults == {}


def test_other_ids_are_another_answer() -> None:
    found = mirrored("sync", "thread", LIVE, Said([trtllm_end(7, 8)]), TO_TRTLLM, tokenizer="llama")
    assert found.live[0].output_digest != found.shadow[0].output_digest is not None


def text_request(**more: Any) -> Message:
    stopping = {"max_new_tokens": 8, "stop_strings": ["."]}
    asked = {"text": "hello", "model": "llm", "temperature": 0.5, "sampling": {"top_p": 0.25, "seed": 5}}
    return view("vllm.GenerateRequest", **asked | {"stopping": stopping} | more)


def text_answer(text: str) -> Message:
    finish = {"num_output_tokens": 2, "finish_reason": "STOP"}
    outputs = {"text": text, "num_tokens": 2, "finish_info": finish}
    return view("vllm.GenerateResponse", prompt_info={"num_prompt_tokens": 3}, outputs=outputs)


ONE_TEXT = Asked("vllm", "/vllm.Inference/Generate", UNARY, [text_request()], Said([text_answer("four")]))


@pytest.mark.parametrize(("kind", "carrier"), [("sync", "thread"), ("aio", "loop")])
def test_text_of_vllm_to_tgis(kind: str, carrier: str) -> None:
    answer = view("tgis.Response", text="four", generated_token_count=2, input_token_count=3, stop_reason="EOS_TOKEN")
    found = mirrored(
        kind,
        carrier,
        ONE_TEXT,
        Said([view("tgis.BatchedResponse", responses=[answer])]),
        {"protocol": "tgis", "defaults": {"top_k": 0}},
    )
    request = asked_of(found, "tgis.BatchedRequest")
    assert found.received[0].method == "/fmaas.GenerationService/Generate"
    assert [one.text for one in request.requests] == ["hello"]
    assert (request.model_id, request.params.method) == ("llm", 1)
    assert (request.params.sampling.temperature, request.params.sampling.seed) == (0.5, 5)
    assert (request.params.stopping.max_new_tokens, list(request.params.stopping.stop_sequences)) == (8, ["."])
    (live,), (shadow,) = found.live, found.shadow
    assert live.fields.finish_reasons == shadow.fields.finish_reasons == ("stop",)
    assert (live.fields.output_tokens, shadow.fields.output_tokens) == (2, 2)
    assert live.output_digest == shadow.output_digest is not None


@pytest.mark.parametrize(("kind", "carrier"), [("sync", "thread"), ("aio", "loop"), ("aio", "process")])
def test_one_message_of_vllm_to_a_stream_of_triton(kind: str, carrier: str) -> None:
    outputs = [{"name": "text_output", "datatype": "BYTES", "shape": [1], "contents": {"bytes_contents": [b"four"]}}]
    ends = {"triton_final_response": {"bool_param": True}}
    answer = view("oip.ModelStreamInferResponse", infer_response={"outputs": outputs, "parameters": ends})
    translate = {"protocol": "oip_triton", "preset": "vllm", "model": "ensemble", "defaults": {"top_k": 0}}
    found = mirrored(kind, carrier, ONE_TEXT, Said([answer]), translate)
    (call,) = found.received
    assert (call.method, call.half_closed) == ("/inference.GRPCInferenceService/ModelStreamInfer", True)
    request = asked_of(found, "oip.ModelInferRequest")
    assert request.model_name == "ensemble"
    tensors = {tensor.name: tensor for tensor in request.inputs}
    assert list(tensors["text_input"].contents.bytes_contents) == [b"hello"]
    assert list(tensors["sampling_parameters"].contents.bytes_contents) == [
        b'{"max_tokens":8,"temperature":0.5,"top_p":0.25,"seed":5,"stop":["."]}'
    ]
    (live,), (shadow,) = found.live, found.shadow
    assert (shadow.status, shadow.streaming, live.streaming) == ("OK", True, False)
    assert live.output_digest == shadow.output_digest is not None


@pytest.mark.parametrize(("kind", "carrier"), [("sync", "thread"), ("aio", "loop")])
def test_a_conversation_of_xai_to_google(kind: str, carrier: str) -> None:
    turns = [
        {"role": "ROLE_SYSTEM", "content": [{"text": "be brief"}]},
        {"role": "ROLE_USER", "content": [{"text": "hello"}, {"text": " there"}]},
    ]
    asked = view("xai.CompletionRequest", model="grok", messages=turns, max_tokens=8, temperature=0.5, top_p=0.25)
    delta = {"delta": {"content": "four"}, "finish_reason": "REASON_STOP"}
    live = Asked(
        "xai",
        "/xai_api.Chat/GetCompletionChunk",
        SERVER_STREAM,
        [asked],
        Said([view("xai.CompletionChunk", id="a", outputs=[delta])]),
    )
    candidate = {"content": {"parts": [{"text": "four"}]}, "finish_reason": "STOP"}
    translate = {"protocol": "google", "model": "models/gemini", "defaults": {"top_k": "unset"}}
    answer = Said([view("google.GenerateContentResponse", candidates=[candidate])])
    found = mirrored(kind, carrier, live, answer, translate)
    request = asked_of(found, "google.GenerateContentRequest")
    assert found.received[0].method.endswith("v1beta.GenerativeService/StreamGenerateContent")
    assert request.model == "models/gemini"
    assert [part.text for part in request.system_instruction.parts] == ["be brief"]
    assert [(one.role, [part.text for part in one.parts]) for one in request.contents] == [
        ("user", ["hello", " there"])
    ]
    assert found.live[0].output_digest == found.shadow[0].output_digest is not None


def converse(*prompts: str) -> Asked:
    """Return exchanges on one stream, each answered with ``four``."""
    requests = [
        messages.GenerateRequest(
            request_id=str(at),
            prompt=prompt,
            model="m",
            max_tokens=8,
            sampling=messages.SamplingParameters(temperature=0.5, top_p=0.25, top_k=4),
        )
        for at, prompt in enumerate(prompts)
    ]
    answers = [
        messages.GenerateDelta(request_id=str(at), delta="four", finish_reason=messages.FINISH_REASON_STOP)
        for at in range(len(prompts))
    ]
    return Asked("shadowmesh", "/shadowmesh.v1.Inference/Converse", BIDI, requests, Said(answers))


TGIS_STREAM = Said([view("tgis.Response", text="four", generated_token_count=2, stop_reason="EOS_TOKEN")])


@pytest.mark.parametrize(("kind", "carrier"), [("sync", "thread"), ("aio", "loop"), ("sync", "process")])
def test_the_first_exchange_of_a_stream_is_asked_and_the_others_are_refused(kind: str, carrier: str) -> None:
    found = mirrored(kind, carrier, converse("a", "b"), TGIS_STREAM, {"protocol": "tgis"}, exchanges=2)
    assert asked_of(found, "tgis.SingleRequest").request.text == "a"
    first, second = found.shadow
    assert (first.status, first.end, first.complete, first.drop_reason) == ("OK", CallEnd.COMPLETED, True, None)
    assert first.output_digest == found.live[0].output_digest is not None
    assert (second.status, second.end, second.drop_reason) == (None, CallEnd.SHED, DropReason.UNTRANSLATABLE)
    assert second.drop_detail == "it is not the first exchange of its stream"
    assert [leg.exchange_index for leg in found.shadow] == [0, 1]
    assert found.faults == {f"x/candidate: untranslatable: {second.drop_detail}": 1}


def test_a_stream_with_one_exchange_is_translated() -> None:
    found = mirrored("aio", "loop", converse("a"), TGIS_STREAM, {"protocol": "tgis"})
    (shadow,) = found.shadow
    assert (shadow.status, shadow.complete, shadow.fields.finish_reasons) == ("OK", True, ("stop",))


def test_a_stream_that_asks_nothing_is_refused() -> None:
    found = mirrored("sync", "thread", converse(), TGIS_STREAM, {"protocol": "tgis"})
    assert refused(found) == "there is no request"


@pytest.mark.parametrize(("kind", "carrier"), PLACES)
def test_what_cannot_be_said_is_not_asked(kind: str, carrier: str) -> None:
    request = vllm(sampling_params=SAMPLED | {"seed": -1})
    found = mirrored(kind, carrier, LIVE._replace(requests=[request]), TENSORRT, TO_TRTLLM, tokenizer="llama")
    assert found.heard == [message.SerializeToString() for message in LIVE.answer.messages]
    assert refused(found) == "seed does not fit into trtllm"
    assert list(found.faults) == ["x/candidate: untranslatable: seed does not fit into trtllm"]


def test_the_transform_of_a_target_is_made_in_its_protocol() -> None:
    policy = {"transform": {"max_tokens": 4, "set_fields": {"sampling_config.min_p": 0.5}}}
    found = mirrored("sync", "thread", LIVE, TENSORRT, TO_TRTLLM, policy=policy, tokenizer="llama")
    request = asked_of(found, "smg.TrtllmGenerateRequest")
    assert (request.max_tokens, request.sampling_config.min_p) == (4, 0.5)
    assert (found.live[0].fields.max_tokens, found.shadow[0].fields.max_tokens) == (8, 4)


def test_a_request_that_offers_tools_is_unsafe_before_it_is_untranslatable() -> None:
    offer = {"function": {"name": "look"}}
    asked = view("xai.CompletionRequest", messages=[{"role": "ROLE_USER", "content": [{"text": "a"}]}], tools=[offer])
    live = Asked("xai", "/xai_api.Chat/GetCompletion", UNARY, [asked], Said([view("xai.CompletionResponse", id="a")]))
    translate = {"protocol": "google", "model": "m", "defaults": dict.fromkeys(SAMPLED, "unset") | {"top_k": "unset"}}
    answer = Said([view("google.GenerateContentResponse")])
    found = mirrored("sync", "thread", live, answer, translate)
    assert (found.shadow[0].drop_reason, found.received) == (DropReason.UNSAFE, [])
    bare = mirrored("sync", "thread", live, answer, translate, policy={"allow_unsafe": ["*"]})
    assert (bare.shadow[0].drop_reason, len(bare.received)) == (None, 1)


def test_text_is_not_compared_with_ids() -> None:
    translate = {"protocol": "vllm_smg", "defaults": {"top_k": 0}}
    found = mirrored("sync", "thread", ONE_TEXT, Said([vllm_end(7, 8)]), translate)
    assert asked_of(found, "smg.VllmGenerateRequest").text == "hello"
    assert (found.live[0].output_digest is None, found.shadow[0].output_digest) == (False, None)


def test_captured_text_is_read_by_each_leg_s_own_map() -> None:
    answer = view("tgis.Response", text="five", stop_reason="EOS_TOKEN")
    said = Said([view("tgis.BatchedResponse", responses=[answer])])
    translate = {"protocol": "tgis", "defaults": {"top_k": 0}}
    found = mirrored("sync", "thread", ONE_TEXT, said, translate, content="spans")
    texts = {attributes[ROLE]: attributes for span in found.spans if ROLE in (attributes := span.attributes or {})}
    for role, output in (("live", "four"), ("shadow", "five")):
        assert "hello" in str(texts[role][GEN_AI_INPUT_MESSAGES])
        assert output in str(texts[role][GEN_AI_OUTPUT_MESSAGES])
    assert found.faults == {}


def test_a_reload_gives_a_target_another_protocol() -> None:
    asked: list[str] = []

    def shadow(call: ReceivedCall, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        list(requests)
        asked.append(call.method)
        yield vllm_end(7).SerializeToString()

    handler = Server("sync", SERVER_STREAM, LIVE.answer)
    with Backend(shadow) as backend:
        plain = target(backend.address)
        settings: dict[str, Any] = {"methods": (VLLM_SMG,), "protocol": "vllm_smg", "tokenizer": "llama"}
        with world("sync", "thread", plain, handler=handler, **settings) as it:
            ask: Any = it.server.channel.unary_stream(VLLM_SMG)
            assert list(ask(vllm().SerializeToString(), timeout=20))
            it.sink.wait_for_legs(2)
            it.mesh.reload(config(plain | {"translate": TO_TRTLLM}, **settings))
            assert list(ask(vllm().SerializeToString(), timeout=20))
            it.settle(2, grace=20.0)
    assert asked == [VLLM_SMG, "/trtllm.TrtllmService/Generate"]


@pytest.mark.parametrize(("kind", "carrier"), [("sync", "thread"), ("aio", "loop"), ("sync", "process")])
def test_what_a_client_aborts_is_aborted_by_the_method_and_the_id_of_the_shadow_s_protocol(
    kind: str, carrier: str
) -> None:
    live, shadow = IdEngine(VLLM), IdEngine(TRTLLM)
    settings: dict[str, Any] = {"methods": (VLLM.generate,), "protocol": "vllm_smg", "tokenizer": "llama"}
    with Backend(shadow) as backend:
        candidate = target(backend.address, translate=TO_TRTLLM)
        with world(kind, carrier, candidate, handler=IdHandlers(kind, live), **settings) as it:
            ask: Any = it.server.channel.unary_stream(VLLM.generate)
            call = ask(vllm(request_id="left").SerializeToString(), timeout=20)
            assert next(call) == VLLM.piece.SerializeToString()
            for engine in (live, shadow):
                engine.wait_for(1)
            Client(it.server.channel, VLLM).abort("left")
            assert list(call) == [VLLM.end.SerializeToString()]
            legs = it.settle(1, grace=10)
    (leg,) = legs["candidate"]
    assert shadow.aborted == [(f"shadow-candidate-{leg.pair_id}",)]
    assert (leg.status, leg.fields.finish_reasons) == ("OK", ("abort",))
