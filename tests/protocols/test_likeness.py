"""Answers of two protocols look equal where they say the same in the same form, and else cannot be compared."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from google.protobuf.message import Message
from support.dialects.spoken import view

from shadowmesh.catalog.builtin import builtin
from shadowmesh.protocols.likeness import output_like
from shadowmesh.protocols.messages import Answer
from shadowmesh.protocols.reading import read_output

METHODS = {
    "vllm": "/vllm.Inference/Generate",
    "trtllm": "/trtllm.TrtllmService/Generate",
    "openengine": "/openengine.v1.Inference/Generate",
    "tgis": "/fmaas.GenerationService/GenerateStream",
}
TEXT = [view("vllm.GenerateResponse", outputs={"text": "four"})]
IDS = [view("vllm.GenerateResponse", outputs={"token_ids": [7, 8]})]
NOTHING = [view("vllm.GenerateResponse", outputs={"num_tokens": 1})]
BOTH = [view("openengine.GenerateResponse", token={"text": "four", "tokens": [{"token_id": 7}, {"token_id": 8}]})]
ENGINE = [view("smg.TrtllmGenerateResponse", complete={"output_token_ids": [7, 8]})]
TGIS = [view("tgis.Response", text="four")]

Said = tuple[str, Sequence[Message]]


@pytest.mark.parametrize(
    ("live", "other", "same", "alike"),
    [
        (("vllm", TEXT), ("tgis", TGIS), False, True),
        (("vllm", TEXT), ("openengine", BOTH), False, True),
        (("vllm", IDS), ("trtllm", ENGINE), True, True),
        (("vllm", IDS), ("openengine", BOTH), True, True),
        (("trtllm", ENGINE), ("vllm", IDS), True, True),
        (("vllm", NOTHING), ("tgis", [view("tgis.Response")]), False, True),
        (("vllm", TEXT), ("tgis", [view("tgis.Response", text="five")]), False, False),
        (("vllm", IDS), ("trtllm", ENGINE), False, None),
        (("vllm", TEXT), ("trtllm", ENGINE), True, None),
        (("openengine", BOTH), ("tgis", TGIS), True, None),
    ],
    ids=repr,
)
def test_what_both_have_is_compared(live: Said, other: Said, *, same: bool, alike: bool | None) -> None:
    live_map, other_map = (builtin().protocols[name][METHODS[name]] for name, _ in (live, other))
    answers = [[message.SerializeToString() for message in said] for _, said in (live, other)]
    found = output_like(Answer(live_map, answers[0]), Answer(other_map, answers[1]), same_tokenizer=same)
    if alike is None:
        assert found is None
    else:
        assert (found == read_output(Answer(live_map, answers[0]))) is alike


def test_an_answer_that_does_not_parse_is_like_none() -> None:
    live_map, other_map = (builtin().protocols[name][METHODS[name]] for name in ("vllm", "tgis"))
    answer = [TEXT[0].SerializeToString()]
    assert output_like(Answer(live_map, answer), Answer(other_map, [b"\xff"]), same_tokenizer=True) is None
    torn, whole = Answer(live_map, [b"\xff"]), Answer(other_map, [TGIS[0].SerializeToString()])
    assert output_like(torn, whole, same_tokenizer=True) is None
