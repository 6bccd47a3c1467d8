"""A shadow that speaks another protocol: it is asked the same question, and its answer is read by its own map."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from support.dialects.spoken import BIDI, SERVER_STREAM, UNARY, Said, Server, view
from support.id_engine import TRTLLM, VLLM, Client, IdEngine, IdHandlers
from support.meshes import config, target
from support.resources import until
from support.translated import Asked, Mirrored, mirrored
from support.worlds import world

from shadowmesh.names import (
    GEN_AI_INPUT_MESSAGES,
    GEN_AI_OUTPUT_MESSAGES,
    META_PAIR_ID,
    META_TRACEPARENT,
    ROLE,
    CallEnd,
    Decision,
    DropReason,
)
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


def openai(**body: Any) -> Message:
    return view("sglang.OpenAiRequest", json_body=json.dumps(body).encode())


def openai_chunk(**choice: Any) -> Message:
    return view("sglang.OpenAiChunk", json_chunk=json.dumps({"choices": [{"index": 0, **choice}]}).encode())


JSON_SAID = {"max_completion_tokens": 8, "temperature": 0.5, "top_p": 0.25}
CHAT = "/sglang.runtime.v1.SglangService/ChatComplete"
JSON_PLACES = (("sync", "thread"), ("aio", "loop"), ("aio", "process"), ("proxy", "loop"))


@pytest.mark.parametrize(("kind", "carrier"), JSON_PLACES)
def test_a_conversation_in_json_to_xai(kind: str, carrier: str) -> None:
    turns = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hello"}]
    live = Asked(
        "sglang",
        CHAT,
        SERVER_STREAM,
        [openai(model="llm", messages=turns, stream=True, rid="r", **JSON_SAID)],
        Said([openai_chunk(delta={"content": "fo"}), openai_chunk(delta={"content": "ur"}, finish_reason="stop")]),
    )
    delta = {"delta": {"content": "four"}, "finish_reason": "REASON_STOP"}
    translate = {"protocol": "xai", "model": "grok", "defaults": {"top_k": 0}}
    found = mirrored(kind, carrier, live, Said([view("xai.CompletionChunk", id="a", outputs=[delta])]), translate)
    assert found.heard == [message.SerializeToString() for message in live.answer.messages]
    request = asked_of(found, "xai.CompletionRequest")
    assert found.received[0].method == "/xai_api.Chat/GetCompletionChunk"
    assert [[part.text for part in one.content] for one in request.messages] == [["be brief"], ["hello"]]
    assert (request.model, request.max_tokens, request.temperature) == ("grok", 8, 0.5)
    assert found.live[0].output_digest == found.shadow[0].output_digest is not None
    assert found.live[0].fields.finish_reasons == found.shadow[0].fields.finish_reasons == ("stop",)


@pytest.mark.parametrize(("kind", "carrier"), JSON_PLACES)
def test_a_conversation_of_xai_to_json(kind: str, carrier: str) -> None:
    turns = [{"role": "ROLE_USER", "content": [{"text": "hello"}]}]
    asked = view("xai.CompletionRequest", model="grok", messages=turns, max_tokens=8, temperature=0.5, top_p=0.25)
    delta = {"delta": {"content": "four"}, "finish_reason": "REASON_STOP"}
    answer = Said([view("xai.CompletionChunk", id="a", outputs=[delta])])
    live = Asked("xai", "/xai_api.Chat/GetCompletionChunk", SERVER_STREAM, [asked], answer)
    policy = {
        "transform": {"model": "llm", "set_fields": {"json(json_body, chat_template_kwargs.thinking, bool)": False}}
    }
    said = Said([openai_chunk(delta={"content": "four"}, finish_reason="stop")])
    found = mirrored(kind, carrier, live, said, {"protocol": "sglang"}, policy=policy)
    body = json.loads(asked_of(found, "sglang.OpenAiRequest").json_body)
    (call,), (shadow,) = found.received, found.shadow
    assert call.method == CHAT
    # Its own, by which a client's abort would find it.
    assert body.pop("rid") == f"shadow-candidate-{shadow.pair_id}"
    assert body == {
        "messages": [{"role": "user", "content": "hello"}],
        "model": "llm",
        "stream": True,
        "top_k": -1,
        "stream_options": {"include_usage": True},
        "chat_template_kwargs": {"thinking": False},
        **JSON_SAID,
    }
    assert (shadow.fields.request_model, shadow.fields.max_tokens) == ("llm", 8)
    assert found.live[0].output_digest == shadow.output_digest is not None


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


def said_by(call: ReceivedCall, key: str) -> str:
    return str(dict(call.metadata)[key])


def prompts_of(found: Mirrored) -> dict[str, str]:
    """Return what the shadow's server was asked, each in a call of its own, by the pair that the call says."""
    kind: Any = message_class("shadowmesh.views.tgis.SingleRequest")
    asked = {said_by(call, META_PAIR_ID): call.requests for call in found.received}
    return {pair: kind.FromString(one).request.text for pair, (one,) in asked.items()}


@pytest.mark.parametrize(("kind", "carrier"), PLACES)
def test_every_exchange_of_a_stream_is_asked_in_a_call_of_its_own(kind: str, carrier: str) -> None:
    found = mirrored(kind, carrier, converse("a", "b", "c"), TGIS_STREAM, {"protocol": "tgis"}, exchanges=3)
    assert [leg.exchange_index for leg in found.shadow] == [0, 1, 2]
    assert prompts_of(found) == {leg.pair_id: text for leg, text in zip(found.shadow, "abc", strict=True)}
    assert all(call.half_closed for call in found.received)
    for live, shadow in zip(found.live, found.shadow, strict=True):
        assert (shadow.status, shadow.end, shadow.complete, shadow.drop_reason) == ("OK", CallEnd.COMPLETED, True, None)
        assert (shadow.pair_id, shadow.method) == (live.pair_id, "fmaas.GenerationService/GenerateStream")
        assert shadow.output_digest == live.output_digest is not None
        assert shadow.started_ns >= live.started_ns
    spans = {said_by(call, META_TRACEPARENT).split("-")[2] for call in found.received}
    assert spans == {f"{leg.span_id:016x}" for leg in found.shadow}
    assert found.faults == {}


def test_of_several_exchanges_one_may_be_untranslatable() -> None:
    asked = converse("a", "b", "c")
    strange: Any = asked.requests[1]
    strange.ClearField("prompt")
    found = mirrored("sync", "thread", asked, TGIS_STREAM, {"protocol": "tgis"}, exchanges=3)
    assert sorted(prompts_of(found).values()) == ["a", "c"]
    first, second, third = found.shadow
    assert (first.status, third.status) == ("OK", "OK")
    assert (second.status, second.end, second.drop_reason) == (None, CallEnd.SHED, DropReason.UNTRANSLATABLE)
    assert found.faults == {f"x/candidate: untranslatable: {second.drop_detail}": 1}


def test_exchanges_of_one_stream_are_not_asked_without_end_at_once() -> None:
    over, most = threading.Event(), 32

    def shadow(call: ReceivedCall, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        list(requests)
        over.wait(20)
        yield from (message.SerializeToString() for message in TGIS_STREAM.messages)

    asked = converse(*(str(at) for at in range(most + 2)))
    settings: dict[str, Any] = {"methods": (asked.method,), "protocol": asked.protocol}
    with Backend(shadow, workers=most + 4) as backend:
        candidate = target(backend.address, translate={"protocol": "tgis"})
        with world("sync", "thread", candidate, handler=Server("sync", BIDI, asked.answer), **settings) as it:
            talk: Any = it.server.channel.stream_stream(asked.method)
            assert len(list(talk(iter([one.SerializeToString() for one in asked.requests]), timeout=20))) == most + 2
            backend.wait_for_calls(most)
            over.set()
            legs = it.settle(most + 2, grace=20.0)["candidate"]
    assert len(backend.calls) == most
    legs.sort(key=lambda leg: leg.exchange_index or 0)
    assert [leg.drop_reason for leg in legs] == [None] * most + [DropReason.CONCURRENCY_LIMIT] * 2
    assert {leg.status for leg in legs[:most]} == {"OK"}


@pytest.mark.parametrize(("kind", "carrier"), [("sync", "thread"), ("aio", "loop")])
def test_a_stream_that_its_client_leaves_stops_all_that_was_asked(kind: str, carrier: str) -> None:
    def shadow(call: ReceivedCall, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        list(requests)
        call.ended.wait(20)
        return iter(())

    asked = converse("a", "b")
    settings: dict[str, Any] = {"methods": (asked.method,), "protocol": asked.protocol}
    with Backend(shadow) as backend:
        candidate = target(backend.address, translate={"protocol": "tgis"})
        with world(kind, carrier, candidate, handler=Server(kind, BIDI, asked.answer), **settings) as it:
            left = threading.Event()

            def requests() -> Iterator[bytes]:
                yield from (one.SerializeToString() for one in asked.requests)
                left.wait(20)

            talk: Any = it.server.channel.stream_stream(asked.method)
            call = talk(requests(), timeout=20)
            backend.wait_for_calls(2)
            call.cancel()
            left.set()
            assert all(one.ended.wait(20) for one in backend.calls)
            legs = it.settle(2, grace=20.0)["candidate"]
    assert [(leg.status, leg.end) for leg in legs] == [("CANCELLED", CallEnd.CANCELLED)] * 2


def test_an_exchange_that_fails_counts_against_its_target_whichever_of_a_stream_it_is() -> None:
    def shadow(call: ReceivedCall, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        if b"b" in b"".join(requests):
            context.abort(grpc.StatusCode.UNAVAILABLE, "as told")
        yield from (message.SerializeToString() for message in TGIS_STREAM.messages)

    asked = converse("a", "b", "c")
    settings: dict[str, Any] = {"methods": (asked.method,), "protocol": asked.protocol}
    breaker = {"least_calls": 1, "failures": 1.0, "open": "1m"}
    with Backend(shadow) as backend:
        candidate = target(backend.address, translate={"protocol": "tgis"}, breaker=breaker)
        with world("sync", "thread", candidate, handler=Server("sync", BIDI, asked.answer), **settings) as it:
            talk: Any = it.server.channel.stream_stream(asked.method)
            assert list(talk(iter([one.SerializeToString() for one in asked.requests]), timeout=20))
            assert until(lambda: not it.mesh.status()["experiments"][0]["targets"][0]["admits"])
            legs = it.settle(3, grace=20.0)["candidate"]
    assert sorted(leg.status or "" for leg in legs) == ["OK", "OK", "UNAVAILABLE"]


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
