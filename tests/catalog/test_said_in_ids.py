"""Answers that are token ids have a text where a tokenizer says which, and else none: not an empty one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from google.protobuf.message import Message
from support.dialects.spoken import view

from shadowmesh.catalog.builtin import builtin
from shadowmesh.protocols.content import NOTHING, Said, read_input, read_output
from shadowmesh.protocols.messages import Answer, Requests

WHOLE = 1 << 20
WORDS = {7: "the", 8: "cat", 9: "sat"}
GENERATE = builtin().protocols["vllm_smg"]["/vllm.grpc.engine.VllmEngine/Generate"]


def text_of(ids: Sequence[int]) -> str | None:
    return " ".join(WORDS[one] for one in ids) if WORDS.keys() >= set(ids) else None


def chunk(*ids: int, index: int = 0) -> Message:
    return view("smg.VllmGenerateResponse", chunk={"token_ids": ids, "index": index})


def complete(*ids: int, index: int = 0) -> Message:
    return view("smg.VllmGenerateResponse", complete={"output_ids": ids, "index": index, "finish_reason": "stop"})


def answered(*messages: Message, **more: Any) -> Said:
    return read_output(Answer(GENERATE, [message.SerializeToString() for message in messages]), "stop", WHOLE, **more)


def texts(said: Said) -> list[list[str]]:
    return [[part["content"] for part in message["parts"]] for message in said.items]


def test_the_text_is_that_of_all_the_ids() -> None:
    said = answered(chunk(7), chunk(8, 9), complete(8, 9), text_of=text_of)
    assert (texts(said), said.cut) == ([["the cat sat"]], False)


def test_each_output_has_the_text_of_its_own_ids() -> None:
    said = answered(chunk(7), chunk(9, index=1), complete(7), complete(9, index=1), text_of=text_of)
    assert texts(said) == [["the"], ["sat"]]


def test_without_a_tokenizer_two_answers_are_not_two_equal_texts() -> None:
    assert answered(chunk(7), complete(7)) == answered(chunk(9), complete(9)) == Said([], 0, True)


def test_an_id_that_is_no_token_leaves_the_whole_text_unknown() -> None:
    assert answered(chunk(7), chunk(5), complete(5), text_of=text_of) == Said([], 0, True)


def test_an_answer_of_no_ids_is_an_empty_text_and_no_answer_is_none() -> None:
    assert texts(answered(complete(), text_of=text_of)) == [[]]
    assert answered(text_of=text_of) == NOTHING


def test_vectors_are_no_text() -> None:
    embed = builtin().protocols["vllm_smg"]["/vllm.grpc.engine.VllmEngine/Embed"]
    answer = view("smg.VllmEmbedResponse", embedding=[0.5]).SerializeToString()
    assert read_output(Answer(embed, [answer]), "stop", WHOLE) == Said([], 0, True)


def test_a_prompt_of_ids_has_their_text_where_the_request_does_not_say_it() -> None:
    ids = {"input_ids": [7, 8]}
    asked = view("smg.VllmGenerateRequest", tokenized=ids).SerializeToString()
    assert texts(read_input(Requests(GENERATE, [asked]), WHOLE, text_of)) == [["the cat"]]
    assert read_input(Requests(GENERATE, [asked]), WHOLE) == NOTHING
    said = view("smg.VllmGenerateRequest", tokenized=ids | {"original_text": "The cat"}).SerializeToString()
    assert texts(read_input(Requests(GENERATE, [said]), WHOLE, text_of)) == [["The cat"]]
