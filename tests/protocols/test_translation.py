"""What a translated request says, what it leaves unsaid, and for which reasons there is none."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf.message import Message
from support.dialects.spoken import view

from shadowmesh.catalog.builtin import builtin
from shadowmesh.errors import ProtocolMapError
from shadowmesh.protocols.generate_map import GenerateSettings
from shadowmesh.protocols.generation import Refusal
from shadowmesh.protocols.map_settings import MethodSettings, ProtocolMapSettings
from shadowmesh.protocols.protocol_map import MethodMap
from shadowmesh.protocols.translation import Terms, Translator, misfits
from shadowmesh.protocols.unread import field_numbers
from shadowmesh.schema.descriptors import message_class

METHODS = {
    "vllm_smg": "/vllm.grpc.engine.VllmEngine/Generate",
    "trtllm": "/trtllm.TrtllmService/Generate",
    "sglang_smg": "/sglang.grpc.scheduler.SglangScheduler/Generate",
    "vllm": "/vllm.Inference/Generate",
    "tgis": "/fmaas.GenerationService/GenerateStream",
    "xai": "/xai_api.Chat/GetCompletion",
    "xai_sample": "/xai_api.Sample/SampleText",
    "google": "/google.ai.generativelanguage.v1beta.GenerativeService/GenerateContent",
    "mlx": "/mlx.grpc.engine.MlxEngine/Generate",
    "oip_triton": "/inference.GRPCInferenceService/ModelInfer",
    "shadowmesh": "/shadowmesh.v1.Inference/Generate",
    "oip_dynamo": "/inference.GRPCInferenceService/ModelInfer",
    "openengine": "/openengine.v1.Inference/Generate",
}
IDS = {"tokenized": {"input_ids": [1, 2]}}
GREEDY: dict[str, Any] = {"sampling": {"temperature": 0}, "stopping": {"max_tokens": 8}}
ONE = Terms(same_tokenizer=True)


def method_map(protocol: str) -> MethodMap:
    return builtin().protocols[protocol.partition("_sample")[0]][METHODS[protocol]]


def translated(live: str, request: Message, target: str, terms: Terms = ONE, preset: str = "") -> Any:
    """Return the target's request, or why there is none."""
    data, target_map = request.SerializeToString(), method_map(target)
    message = method_map(live).parse_request(data)
    assert message is not None
    way = target_map.generates[preset]
    found = Translator(tuple(method_map(live).generates.values()), way, terms)(data, message)
    return found.reason if isinstance(found, Refusal) else target_map.parse_request(found)


def vllm(*, sampling: dict[str, Any] | None = None, **more: Any) -> Message:
    return view("smg.VllmGenerateRequest", **IDS | more, sampling_params={"max_tokens": 8} | (sampling or {}))


def test_what_is_stated_is_said_and_what_both_do_in_silence_is_not() -> None:
    found = translated("vllm_smg", vllm(sampling={"temperature": 0.7, "top_k": 4}), "trtllm")
    assert (found.max_tokens, round(found.sampling_config.temperature, 6), found.sampling_config.top_k) == (8, 0.7, 4)
    assert not found.sampling_config.HasField("top_p")


def test_a_zero_that_would_be_taken_at_its_word_is_never_left_there() -> None:
    said = translated("vllm_smg", vllm(), "sglang_smg").sampling_params
    assert (said.temperature, said.top_p, said.top_k, said.n, said.repetition_penalty) == (1.0, 1.0, -1, 1, 1.0)
    assert said.skip_special_tokens


def test_a_zero_of_sglang_is_a_temperature() -> None:
    sampling = {"temperature": 0.0, "top_p": 0.5, "top_k": 4, "max_new_tokens": 8, "n": 1}
    request = view("smg.SglangGenerateRequest", **IDS, sampling_params=sampling)
    found = translated("sglang_smg", request, "trtllm").sampling_config
    assert (found.HasField("temperature"), found.temperature) == (True, 0.0)
    # Nothing else shapes what is greedy.
    assert not found.HasField("top_p")


@pytest.mark.parametrize(
    ("terms", "target", "reason"),
    [
        (ONE, "trtllm", "max_tokens is unstated, and trtllm has to be told"),
        (ONE, "vllm", "max_tokens is unstated, and vllm has to be told"),
        (Terms(same_tokenizer=True, defaults={"max_tokens": 64}), "trtllm", 64),
        (Terms(same_tokenizer=True, defaults={"max_tokens": 64}), "mlx", 64),
        (ONE, "mlx", 0),
    ],
    ids=repr,
)
def test_tokens_without_end_are_so_at_the_target_or_the_configuration_says_how_many(
    terms: Terms, target: str, reason: object
) -> None:
    found = translated("vllm_smg", view("smg.VllmGenerateRequest", **IDS), target, terms)
    if isinstance(reason, str):
        assert found == reason
    else:
        assert (found.max_tokens if target == "trtllm" else found.sampling_params.max_tokens) == reason


def test_what_nobody_knows_of_the_live_server_is_refused_unless_it_is_said_to_be_the_same() -> None:
    request = view("vllm.GenerateRequest", text="hello", stopping={"max_new_tokens": 8})
    unknown = "temperature is unstated, and what it is then is not known of both"
    assert translated("vllm", request, "tgis", Terms(model="m")) == unknown
    same = Terms(model="m", defaults={"temperature": "unset", "top_p": "unset", "top_k": "unset"})
    found = translated("vllm", request, "tgis", same)
    assert not found.params.sampling.HasField("temperature")
    stated = Terms(model="m", defaults={"temperature": 0.5, "top_p": 0.25, "top_k": 4})
    sampling = translated("vllm", request, "tgis", stated).params.sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_k) == (0.5, 0.25, 4)


def test_silence_stays_silence_within_a_protocol() -> None:
    request = view("vllm.GenerateRequest", text="hello")
    found = translated("vllm", request, "vllm", Terms())
    assert found == view("vllm.GenerateRequest", text="hello")


def test_tgis_says_by_its_method_that_it_is_greedy() -> None:
    greedy = view("tgis.SingleRequest", request={"text": "a"}, params={"stopping": {"max_new_tokens": 8}})
    assert translated("tgis", greedy, "vllm", Terms()).temperature == 0
    request = view("vllm.GenerateRequest", text="a", model="m", temperature=0.0, stopping={"max_new_tokens": 8})
    assert translated("vllm", request, "tgis", Terms()).params.method == 0
    hot = view("vllm.GenerateRequest", text="a", model="m", temperature=0.5, stopping={"max_new_tokens": 8})
    terms = Terms(defaults={"top_p": 1.0, "top_k": 0})
    assert translated("vllm", hot, "tgis", terms).params.method == 1


REFUSED: list[tuple[str, Message, str, str]] = [
    ("vllm_smg", vllm(sampling={"seed": -1}), "trtllm", "seed does not fit into trtllm"),
    ("vllm_smg", vllm(sampling={"seed": 1}), "sglang_smg", "no place for seed in sglang_smg"),
    ("vllm_smg", vllm(sampling={"stop": ["."]}), "mlx", "no place for stop_sequences in mlx"),
    ("vllm_smg", vllm(sampling={"n": 2}), "mlx", "no place for n in mlx"),
    ("vllm_smg", vllm(kv_transfer_params={}), "trtllm", "kv_transfer_params is not translated"),
    ("vllm_smg", view("smg.VllmGenerateRequest", text="hello"), "trtllm", "no place for a prompt of text in trtllm"),
    ("vllm_smg", view("smg.VllmGenerateRequest"), "trtllm", "there is no prompt"),
    ("vllm_smg", vllm(), "tgis", "no place for token ids in tgis"),
    (
        "xai",
        view("xai.CompletionRequest", model="m", messages=[{"role": "ROLE_TOOL", "content": [{"text": "a"}]}]),
        "google",
        "a turn of another role",
    ),
    (
        "xai",
        view("xai.CompletionRequest", model="m", messages=[{"role": "ROLE_USER"}]),
        "google",
        "a turn without text, or with more than text",
    ),
    (
        "xai",
        view(
            "xai.CompletionRequest",
            model="m",
            messages=[{"role": role, "content": [{"text": "a"}]} for role in ("ROLE_USER", "ROLE_SYSTEM")],
            max_tokens=8,
            temperature=0.0,
        ),
        "google",
        "no place for a system prompt that is not the first turn in google",
    ),
    (
        "xai",
        view(
            "xai.CompletionRequest",
            messages=[{"role": "ROLE_USER", "content": [{"text": "a"}, {"text": "b"}]}],
            max_tokens=8,
            temperature=0.0,
        ),
        "shadowmesh",
        "no place for a turn in several parts in shadowmesh",
    ),
    ("xai_sample", view("xai.SampleRequest", prompt=["a", "b"]), "vllm", "there are several prompts"),
    # On the wire these zeros would be nothing, and the server's own number would take their place.
    ("vllm_smg", vllm(sampling={"max_tokens": 0}), "trtllm", "no place for a max_tokens of 0 in trtllm"),
    (
        "openengine",
        view("openengine.GenerateRequest", prompt="a", **GREEDY | {"sampling": {"temperature": 0, "num_sequences": 0}}),
        "vllm_smg",
        "no place for a n of 0 in vllm_smg",
    ),
    (
        "openengine",
        view(
            "openengine.GenerateRequest",
            prompt="a",
            **GREEDY | {"sampling": {"temperature": 1, "top_p": 1, "top_k": 0}},
        ),
        "vllm_smg",
        "what a top_k below 1 means is not known of openengine",
    ),
    (
        "tgis",
        view("tgis.SingleRequest", request={"text": "a"}, params={"method": 7, "stopping": {"max_new_tokens": 8}}),
        "vllm",
        "params.method cannot be read",
    ),
]


@pytest.mark.parametrize(("live", "request_", "target", "reason"), REFUSED, ids=lambda value: str(value)[:40])
def test_what_cannot_be_said_whole_is_refused_by_name(live: str, request_: Message, target: str, reason: str) -> None:
    assert translated(live, request_, target) == reason


def test_ids_mean_nothing_without_a_common_tokenizer() -> None:
    reason = "token ids mean the same under one tokenizer only, and none is stated"
    assert translated("vllm_smg", vllm(), "trtllm", Terms()) == reason
    stops = view(
        "vllm.GenerateRequest", text="a", stopping={"stop_token_ids": [2], "max_new_tokens": 8}, temperature=0.0
    )
    assert translated("vllm", stops, "vllm_smg", Terms()) == reason


def test_the_token_that_ended_an_answer_is_asked_for_where_the_live_answer_has_it() -> None:
    assert translated("vllm_smg", vllm(), "trtllm").include_stop_token_in_output
    bare = view("smg.TrtllmGenerateRequest", **IDS, max_tokens=8)
    assert not translated("trtllm", bare, "trtllm").include_stop_token_in_output
    # The other one cannot be asked not to: it only shows.
    assert translated("trtllm", bare, "vllm_smg").sampling_params.max_tokens == 8


def test_a_triton_request_is_known_by_its_tensors() -> None:
    terms = Terms(defaults={"temperature": 0.0})
    asked = view("vllm.GenerateRequest", text="a", model="m", stopping={"max_new_tokens": 8})
    said = translated("vllm", asked, "oip_triton", terms, "trtllm")
    assert [tensor.name for tensor in said.inputs] == ["text_input", "stream", "max_tokens", "temperature"]
    assert {tuple(tensor.shape) for tensor in said.inputs} == {(1, 1)}
    back = translated("oip_triton", said, "vllm", Terms())
    assert (back.text, back.model, back.stopping.max_new_tokens, back.temperature) == ("a", "m", 8, 0)


def test_an_answer_that_begins_with_its_prompt_is_refused() -> None:
    prompt = {"name": "text_input", "datatype": "BYTES", "shape": [1], "contents": {"bytes_contents": [b"a"]}}
    request = view("oip.ModelInferRequest", model_name="m", inputs=[prompt])
    whole = {"name": "exclude_input_in_output", "datatype": "BOOL", "shape": [1], "contents": {"bool_contents": [True]}}
    refused = translated("oip_triton", request, "vllm", Terms(defaults={"top_k": "unset"}))
    assert isinstance(refused, str)
    asked = view("oip.ModelInferRequest", model_name="m", inputs=[prompt, whole])
    found = translated("oip_triton", asked, "vllm", Terms(defaults={"top_k": "unset"}))
    assert (found.text, found.stopping.max_new_tokens) == ("a", 16)


MISFITS: list[tuple[str, str, Terms, list[str]]] = [
    ("vllm_smg", "trtllm", Terms(), ["tokenizer"]),
    ("vllm_smg", "trtllm", ONE, []),
    ("vllm_smg", "xai", ONE, ["protocol", "model"]),
    ("vllm_smg", "sglang_smg", Terms(same_tokenizer=True, defaults={"temperature": "unset"}), ["defaults.temperature"]),
    ("vllm", "oip_dynamo", Terms(model="m", defaults={"temperature": 1.0}), ["defaults.temperature"]),
    ("vllm", "oip_dynamo", Terms(model="m", defaults={"temperature": "unset"}), []),
    ("xai", "google", Terms(defaults={"top_k": 0}), ["defaults.top_k"]),
    ("xai", "google", Terms(defaults={"top_k": 4}), []),
    ("mlx", "vllm", Terms(same_tokenizer=True), []),
]


@pytest.mark.parametrize(("live", "target", "terms", "keys"), MISFITS, ids=repr)
def test_what_could_never_be_translated_is_known_before_any_call(
    live: str, target: str, terms: Terms, keys: list[str]
) -> None:
    (way,) = method_map(target).generates.values()
    assert [key for key, _ in misfits(tuple(method_map(live).generates.values()), way, terms)] == keys


@pytest.mark.parametrize(
    "section",
    [
        {"prompt": "nowhere"},
        {"ids": "token_ids"},
        {"prompt": "text", "ignored": ["nowhere"]},
        {"prompt": "text", "ignored": ["request_id.1x"]},
        {"prompt": "text", "fixed": {"nowhere": True}},
        {"prompt": "text", "stream": "tensor('stream', BOOL)"},
        {"prompt": "text", "neutral": {"nowhere": [1]}},
        {},
    ],
    ids=repr,
)
def test_a_section_that_does_not_fit_its_request_is_refused(section: dict[str, Any]) -> None:
    request, response = (message_class(f"shadowmesh.views.vllm.Generate{side}") for side in ("Request", "Response"))
    way = GenerateSettings.model_validate({"arity": "unary_unary", **section})
    protocol = ProtocolMapSettings.model_validate({"version": 1, "protocol": "p", "methods": {"/a.B/C": {}}})
    with pytest.raises(ProtocolMapError):
        MethodMap(protocol, MethodSettings(generate=way), request, response)


def test_a_method_is_asked_in_one_way_or_in_several_by_name() -> None:
    way = {"arity": "unary_unary", "prompt": "text"}
    with pytest.raises(ValueError, match="presets are several"):
        MethodSettings.model_validate({"generate": way, "presets": {"a": way}})
    with pytest.raises(ValueError, match="none of max_tokens"):
        GenerateSettings.model_validate(way | {"parameters": {"heat": "temperature"}})


def test_fields_that_a_view_does_not_have_are_named_by_number() -> None:
    descriptor = message_class("shadowmesh.views.vllm.GenerateRequest").DESCRIPTOR
    assert field_numbers("sampling.top_p", descriptor) == (6, 3)  # type: ignore[arg-type]
    assert field_numbers("sampling.77.1", descriptor) == (6, 77, 1)  # type: ignore[arg-type]
