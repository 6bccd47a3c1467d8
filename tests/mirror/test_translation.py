"""Which method of a target's protocol is called for a live one."""

from __future__ import annotations

from typing import Any

import pytest
from support.experiments import CONVERSE, GENERATE, INGEST, STREAM_GENERATE, experiment, target

from shadowmesh.catalog.builtin import mapped_methods, method_map
from shadowmesh.mirror.gate import gate_of
from shadowmesh.mirror.translation import Translation, Unfit, translation_of
from shadowmesh.names import DropReason
from shadowmesh.rpc import Arity

TGIS = "/fmaas.GenerationService"
OIP = "/inference.GRPCInferenceService"


def found(live: str, **translate: Any) -> Translation | Unfit | None:
    one = experiment(target(translate=translate or None), methods=["*"])
    return translation_of(one, one.targets[0], method_map(live, "shadowmesh"), mapped_methods)


@pytest.mark.parametrize(
    ("method", "translate", "called", "arity"),
    [
        (GENERATE, {"protocol": "tgis"}, f"{TGIS}/Generate", Arity.UNARY_UNARY),
        (STREAM_GENERATE, {"protocol": "tgis"}, f"{TGIS}/GenerateStream", Arity.UNARY_STREAM),
        (CONVERSE, {"protocol": "tgis"}, f"{TGIS}/GenerateStream", Arity.UNARY_STREAM),
        (GENERATE, {"protocol": "tgis", "method": f"{TGIS}/GenerateStream"}, f"{TGIS}/GenerateStream", None),
        (GENERATE, {"protocol": "openengine"}, "/openengine.v1.Inference/Generate", Arity.UNARY_STREAM),
        (GENERATE, {"protocol": "oip_triton", "preset": "vllm"}, f"{OIP}/ModelStreamInfer", Arity.STREAM_STREAM),
        (GENERATE, {"protocol": "oip_triton", "preset": "trtllm"}, f"{OIP}/ModelInfer", Arity.UNARY_UNARY),
        (
            GENERATE,
            {"protocol": "oip_triton", "preset": "vllm", "method": f"{OIP}/ModelInfer"},
            f"{OIP}/ModelInfer",
            Arity.UNARY_UNARY,
        ),
        (GENERATE, {"protocol": "xai"}, "/xai_api.Chat/GetCompletion", Arity.UNARY_UNARY),
    ],
)
def test_it_is_the_first_of_its_shape_unless_it_is_named(
    method: str, translate: dict[str, Any], called: str, arity: Arity | None
) -> None:
    one = found(method, **translate)
    assert isinstance(one, Translation)
    assert one.method == called
    assert one.arity is (arity or Arity.UNARY_STREAM)


def test_a_target_without_another_protocol_is_called_as_the_live_server_is() -> None:
    assert found(GENERATE) is None


def test_a_method_that_is_no_question_is_for_no_target_of_another_protocol() -> None:
    assert isinstance(found(INGEST, protocol="tgis"), Unfit)
    one = experiment(target(translate={"protocol": "tgis"}), methods=["*"])
    for method in (INGEST, "/acme.Model/Predict"):
        gate = gate_of(one, one.targets[0], method, method_map(method), mapped_methods)
        assert gate.refusal == DropReason.UNTRANSLATABLE
        assert gate.detail == "the live method is not known to generate"
