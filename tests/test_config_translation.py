"""What a configuration says of a target with another protocol: what can never be is refused by its key."""

from __future__ import annotations

import pytest

from shadowmesh.config import Config, parse
from shadowmesh.errors import ConfigError

FILE = """\
experiments:
  - name: move
    methods: [{methods}]
    protocol: {protocol}
    {experiment}
    targets:
      - {{name: candidate, address: "127.0.0.1:1", {target}}}
"""
VLLM = "/vllm.grpc.engine.VllmEngine/Generate"
TEXT = "/vllm.Inference/Generate"


def loaded(
    target: str, *, methods: str = f'"{VLLM}"', protocol: str = "vllm_smg", experiment: str = "tokenizer: llama"
) -> Config:
    return parse(FILE.format(methods=methods, protocol=protocol, experiment=experiment, target=target))


def test_ten_lines_move_vllm_to_tensorrt_llm() -> None:
    (experiment,) = loaded("translate: {protocol: trtllm, tokenizer: llama, defaults: {max_tokens: 256}}").experiments
    (target,) = experiment.targets
    assert target.translate is not None
    assert (target.translate.protocol, target.translate.defaults.named) == ("trtllm", {"max_tokens": 256})


WRONG: list[tuple[str, dict[str, str], str, str]] = [
    ("translate: {protocol: trtlm}", {}, "translate.protocol", "'trtlm' is known to generate"),
    ("translate: {protocol: raw}", {}, "translate.protocol", "'raw' is known to generate"),
    ("translate: {protocol: tei}", {}, "translate.protocol", "'tei' is known to generate"),
    ("translate: {protocol: trtllm}", {}, "translate.tokenizer", "under one tokenizer"),
    ("translate: {protocol: trtllm, tokenizer: other}", {}, "translate.tokenizer", "under one tokenizer"),
    (
        "translate: {protocol: trtllm, tokenizer: llama}",
        {"experiment": "version: v1"},
        "translate.tokenizer",
        "under one tokenizer",
    ),
    (
        "translate: {protocol: trtllm, tokenizer: llama, method: /trtllm.TrtllmService/Embed}",
        {},
        "translate.method",
        "none of /trtllm.TrtllmService/Generate",
    ),
    ("translate: {protocol: google}", {}, "translate.protocol", "nothing turns one into another"),
    (
        "translate: {protocol: trtllm, tokenizer: llama, defaults: {max_tokens: unset}}",
        {},
        "translate.defaults.max_tokens",
        "has to be told",
    ),
    (
        "translate: {protocol: oip_dynamo, model: m, defaults: {temperature: 1.0}}",
        {"protocol": "vllm", "methods": f'"{TEXT}"'},
        "translate.defaults.temperature",
        "no place for temperature in oip_dynamo",
    ),
    (
        "translate: {protocol: oip_triton, model: m}",
        {"protocol": "vllm", "methods": f'"{TEXT}"'},
        "translate.preset",
        "one of trtllm, vllm",
    ),
    (
        "translate: {protocol: tgis, preset: vllm}",
        {"protocol": "vllm", "methods": f'"{TEXT}"'},
        "translate.preset",
        "tgis has none",
    ),
    ("translate: {protocol: tgis}", {}, "translate.model", "no request of the live method says a model"),
    (
        "translate: {protocol: trtllm, tokenizer: llama}",
        {"methods": '"/vllm.grpc.engine.VllmEngine/Embed"'},
        "translate.protocol",
        "not known to generate",
    ),
    ("translate: {protocol: trtllm, tokenizer: llama}", {"protocol": "raw"}, "translate", "nobody can read"),
    ("translate: {protocol: trtllm, tokenizer: llama}, kind: control", {}, "", "a control target is the live model"),
    ("translate: {protocol: trtllm, temperature: 1}", {}, "translate.temperature", "unknown key"),
    (
        "translate: {protocol: trtllm, tokenizer: llama}, transform: {model: m}",
        {},
        "transform.model",
        "no method here says where its requests have that",
    ),
]


@pytest.mark.parametrize(("target", "more", "key", "problem"), WRONG, ids=lambda value: str(value)[:60])
def test_what_can_never_be_translated_is_refused_at_the_start(
    target: str, more: dict[str, str], key: str, problem: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        loaded(target, **more)
    assert problem in caught.value.problem
    assert caught.value.key == ".".join(part for part in ("experiments[0].targets[0]", key) if part)


def test_a_wildcard_may_cover_methods_that_are_no_question() -> None:
    every = '"/vllm.grpc.engine.VllmEngine/*"'
    assert loaded("translate: {protocol: trtllm, tokenizer: llama}", methods=every).experiments
    both = f'"{VLLM}", "/vllm.grpc.engine.VllmEngine/Embed"'
    with pytest.raises(ConfigError, match="Embed: the live method is not known to generate"):
        loaded("translate: {protocol: trtllm, tokenizer: llama}", methods=both)


def test_the_transform_is_of_the_target_s_protocol() -> None:
    fields = "{set_fields: {sampling_config.min_p: 0.5}, max_tokens: 4}"
    assert loaded(f"translate: {{protocol: trtllm, tokenizer: llama}}, transform: {fields}").experiments


def test_evidence_is_of_one_translation() -> None:
    digests = {
        loaded(f"translate: {{protocol: trtllm, tokenizer: llama, defaults: {{max_tokens: {many}}}}}")
        .experiments[0]
        .targets[0]
        .digest
        for many in (256, 256, 512)
    }
    assert len(digests) == 2
