"""How messages become an answer: deltas, totals, repeats, several outputs, counts, errors in band, first content."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shadowmesh.protocols.content import read_output as read_content
from shadowmesh.protocols.exchanges import split
from shadowmesh.protocols.map_settings import ProtocolMapSettings
from shadowmesh.protocols.messages import Answer
from shadowmesh.protocols.protocol_map import MethodMap, bind
from shadowmesh.protocols.reading import failure, first_content, read
from shadowmesh.protocols.streams import StreamSettings
from shadowmesh.schema.descriptors import message_class

SMG: Any = "shadowmesh.views.smg"
RESPONSE: Any = message_class(f"{SMG}.VllmGenerateResponse")
OURS: Any = message_class("shadowmesh.v1.GenerateDelta")
ENGINE = {
    "messages": {"request": f"{SMG}.VllmGenerateRequest", "response": f"{SMG}.VllmGenerateResponse"},
    "response": {
        "ids": "chunk.token_ids[*] | complete.output_ids[*]",
        "output_tokens": "chunk.completion_tokens | complete.completion_tokens",
        "input_tokens": "chunk.prompt_tokens | complete.prompt_tokens",
        "finish_reason": "complete.finish_reason",
    },
    "stream": {
        "counts": {"output_tokens": "sum"},
        "index": "chunk.index | complete.index",
        "end": "has(complete)",
        "repeats": True,
    },
}
TEXT = {
    "messages": {"request": "shadowmesh.v1.GenerateRequest", "response": "shadowmesh.v1.GenerateDelta"},
    "response": {"text": "delta", "output_tokens": "usage.output_tokens"},
}


def bound(**method: Any) -> MethodMap:
    settings = ProtocolMapSettings.model_validate({"version": 1, "protocol": "acme", "methods": {"/a.B/C": method}})
    return bind(settings, {}, message_class)["/a.B/C"]


def chunk(*ids: int, index: int = 0, count: int | None = None) -> bytes:
    counted = len(ids) if count is None else count
    said: bytes = RESPONSE(
        chunk={"token_ids": ids, "completion_tokens": counted, "prompt_tokens": 5, "index": index}
    ).SerializeToString()
    return said


def complete(*ids: int, index: int = 0) -> bytes:
    said: bytes = RESPONSE(
        complete={
            "output_ids": ids,
            "completion_tokens": len(ids),
            "prompt_tokens": 5,
            "index": index,
            "finish_reason": "stop",
        }
    ).SerializeToString()
    return said


def text(delta: str, tokens: int | None = None) -> bytes:
    usage = None if tokens is None else {"output_tokens": tokens}
    said: bytes = OURS(delta=delta, usage=usage).SerializeToString()
    return said


def test_an_end_that_repeats_the_last_piece_is_not_counted_again() -> None:
    found = read(bound(**ENGINE), [], [chunk(1, 2), chunk(3), complete(3)])
    assert found.output == (b"1 2 3",)
    assert (found.fields.output_tokens, found.fields.input_tokens) == (3, 5)
    assert found.fields.finish_reasons == ("stop",)


def test_an_end_without_pieces_before_it_is_the_answer() -> None:
    found = read(bound(**ENGINE), [], [complete(1, 2, 3)])
    assert (found.output, found.fields.output_tokens) == ((b"1 2 3",), 3)


def test_an_end_behind_pieces_without_content_is_the_answer() -> None:
    found = read(bound(**ENGINE), [], [chunk(), complete(1, 2, 3)])
    assert (found.output, found.fields.output_tokens) == ((b"1 2 3",), 3)


def test_outputs_that_come_mixed_are_told_apart_by_their_index() -> None:
    mixed = [chunk(1, index=1), chunk(7), chunk(2, index=1), complete(2, index=1), chunk(8), complete(8)]
    found = read(bound(**ENGINE), [], mixed)
    assert (found.output, found.fields.output_tokens) == ((b"7 8", b"1 2"), 4)


@pytest.mark.parametrize(
    ("mode", "pieces", "said"),
    [
        ("delta", ["a", "b", "", "c"], b"abc"),
        ("cumulative", ["a", "ab", "", "abc"], b"abc"),
        ("replace", ["x", "yy", "z"], b"z"),
    ],
)
def test_pieces_go_together_as_the_protocol_says(mode: str, pieces: list[str], said: bytes) -> None:
    found = read(bound(**TEXT, stream={"text": mode}), [], [text(piece) for piece in pieces])
    assert found.output == (said,)


@pytest.mark.parametrize(("mode", "count"), [("last", 2), ("first", 1), ("sum", 6), ("max", 3)])
def test_counts_go_together_as_the_protocol_says(mode: str, count: int) -> None:
    answers = [text("a", 1), text("b"), text("c", 3), text("d", 2)]
    assert read(bound(**TEXT, stream={"counts": {"output_tokens": mode}}), [], answers).fields.output_tokens == count


def test_counts_of_each_output_are_added_up() -> None:
    engine = ENGINE | {"stream": {"counts": {"output_tokens": "max_each"}, "index": "chunk.index | complete.index"}}
    answers = [chunk(1, count=1), chunk(1, index=1, count=1), chunk(1, count=2), chunk(1, index=1, count=4)]
    assert read(bound(**engine), [], answers).fields.output_tokens == 6


def test_counts_of_several_answers_in_one_message_are_added_up() -> None:
    view = "shadowmesh.views.tgis"
    batched = bound(
        messages={"request": f"{view}.BatchedRequest", "response": f"{view}.BatchedResponse"},
        response={"output_tokens": "responses[*].generated_token_count"},
        stream={"counts": {"output_tokens": "sum"}},
    )
    answer: Any = message_class(f"{view}.BatchedResponse")
    batch = answer(responses=[{"generated_token_count": count} for count in (2, 3)])
    assert read(batched, [], [batch.SerializeToString()]).fields.output_tokens == 5


def test_a_count_that_nobody_says_is_unknown() -> None:
    for mode in ("last", "sum", "max_each"):
        fields = read(bound(**TEXT, stream={"counts": {"output_tokens": mode}}), [], [text("a")]).fields
        assert (fields.output_tokens, fields.usage_source) == (None, None)


def test_an_answer_that_says_that_it_failed_has_a_status_of_its_own() -> None:
    error = {"value": "delta == 'boom'", "status": "INTERNAL"}
    found = bound(**TEXT, stream={"error": error})
    assert failure(Answer(found, [text("a"), text("boom")])) == "INTERNAL"
    assert failure(Answer(found, [text("a"), b"\xff"])) == ""
    assert failure(Answer(bound(**TEXT), [text("boom")])) == ""


def test_the_first_chunk_is_the_first_message_unless_the_protocol_begins_with_an_empty_one() -> None:
    answers = [text(""), b"\xff", text("a"), text("b")]
    assert first_content(Answer(bound(**TEXT), answers)) == 0
    assert first_content(Answer(bound(**TEXT, stream={"first": "content"}), answers)) == 2
    assert first_content(Answer(bound(**TEXT, stream={"first": "content"}), [text("")])) == 0


def test_reasoning_is_captured_and_is_no_part_of_the_answer() -> None:
    thinking = TEXT | {"response": {"text": "delta", "reasoning": "request_id"}}
    answers = [OURS(request_id="hm").SerializeToString(), text("yes")]
    assert read(bound(**thinking), [], answers).output == (b"yes",)
    said = read_content(Answer(bound(**thinking), answers), "stop", 1024).items
    assert said[0]["parts"] == [{"type": "reasoning", "content": "hm"}, {"type": "text", "content": "yes"}]


def test_exchanges_by_order_belong_to_the_first_request_that_is_not_done() -> None:
    one_each = bound(**TEXT, exchanges={"by": "order"})
    parts = split(one_each, [b"", b"", b""], [text("a"), text("b")])
    assert [(part.key, part.requests, part.responses, part.ended) for part in parts] == [
        ("0", [0], [0], True),
        ("1", [1], [1], True),
        ("2", [2], [], False),
    ]
    ended = bound(**TEXT, exchanges={"by": "order", "end": "delta == '.'"})
    parts = split(ended, [b"", b""], [text("a"), text("."), text("b"), text("."), text("more")])
    assert [(part.responses, part.ended) for part in parts] == [([0, 1], True), ([2, 3], True)]


def test_an_error_ends_its_exchange() -> None:
    rule = {"by": "order", "end": "delta == '.'"}
    failing = bound(**TEXT, exchanges=rule, stream={"error": {"value": "delta == 'boom'"}})
    parts = split(failing, [b"", b""], [text("a"), text("boom"), text("b"), text(".")])
    assert [part.responses for part in parts] == [[0, 1], [2, 3]]


@given(st.text(max_size=30), st.lists(st.integers(0, 30), max_size=5))
def test_any_chunking_of_a_text_gives_the_same_answer(said: str, cuts: list[int]) -> None:
    places = [0, *sorted(cut for cut in cuts if cut < len(said)), len(said)]
    pieces = [said[begin:end] for begin, end in pairwise(places)]
    whole = said.encode()
    assert read(bound(**TEXT), [], [text(piece) for piece in pieces]).output == (whole,)
    so_far = [text(said[:end]) for end in places[1:]]
    assert read(bound(**TEXT, stream={"text": "cumulative"}), [], so_far).output == (whole,)


@given(st.lists(st.binary(max_size=60), max_size=6))
def test_no_bytes_make_an_answer_raise(answers: list[bytes]) -> None:
    engine = bound(**ENGINE)
    read(engine, answers, answers)
    read_content(Answer(engine, answers), "stop", 1024)
    split(bound(**ENGINE, exchanges={"by": "order", "end": "has(complete)"}), answers, answers)


@pytest.mark.parametrize(
    "broken",
    [
        {"text": "sideways"},
        {"counts": {"text": "sum"}},
        {"counts": {"output_tokens": "mean"}},
        {"error": {"status": "OK"}},
    ],
)
def test_a_rule_that_means_nothing_is_refused(broken: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        StreamSettings.model_validate(broken)
