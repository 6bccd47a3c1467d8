"""Bytes → fields and answer, for every method of the reference API; hostile bytes say nothing and raise nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.wire import delta, last_delta, reference, request, response

from shadowmesh.catalog.builtin import method_map
from shadowmesh.model import NO_FIELDS, Fields
from shadowmesh.protocols.reading import read
from shadowmesh.schema import messages

METHODS = ["Generate", "StreamGenerate", "Converse", "Ingest"]
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=20)
COUNTS = st.integers(0, 2**63 - 1)
REASONS: dict[messages.FinishReason, str] = {
    messages.FINISH_REASON_STOP: "stop",
    messages.FINISH_REASON_LENGTH: "length",
    messages.FINISH_REASON_TOOL_CALLS: "tool_calls",
    messages.FINISH_REASON_CONTENT_FILTER: "content_filter",
    messages.FINISH_REASON_ERROR: "error",
}


@st.composite
def asked(draw: st.DrawFn) -> tuple[bytes, dict[str, Any]]:
    """A ``GenerateRequest`` and what it says."""
    model = draw(WORDS)
    seed, most = draw(st.none() | COUNTS), draw(st.none() | st.integers(0, 2**32 - 1))
    temperature, top_p = draw(st.none() | st.floats(0, 2)), draw(st.none() | st.floats(0, 1))
    top_k, stop = draw(st.none() | st.integers(0, 2**32 - 1)), draw(st.lists(WORDS, max_size=4))
    sampling = {"temperature": temperature, "top_p": top_p, "top_k": top_k, "stop": stop}
    data = request(model=model, seed=seed, max_tokens=most, prompt=draw(WORDS), sampling=sampling)
    return data, {
        "request_model": model or None,
        "seed": seed,
        "max_tokens": most,
        "temperature": temperature,
        "top_p": top_p,
        "top_k": top_k,
        "stop_sequences": tuple(stop),
    }


@st.composite
def spent(draw: st.DrawFn) -> tuple[Any, dict[str, Any]]:
    """A ``Usage`` that may be missing, and what it says."""
    if draw(st.booleans()):
        return None, {}
    counts = draw(st.tuples(COUNTS, COUNTS, COUNTS, COUNTS))
    names = ("input_tokens", "output_tokens", "cached_input_tokens", "reasoning_output_tokens")
    said = dict(zip(names, counts, strict=True))
    return messages.Usage(**said), {**said, "usage_source": "response"}


@st.composite
def chunks(draw: st.DrawFn, text: str) -> list[str]:
    """``text`` cut anywhere, any number of times."""
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=6)))
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


@given(asked(), spent(), WORDS, WORDS, WORDS, st.none() | st.sampled_from(sorted(REASONS)))
def test_a_unary_exchange_reads_as_it_was_sent(
    asked: tuple[bytes, dict[str, Any]],
    spent: tuple[Any, dict[str, Any]],
    text: str,
    model: str,
    request_id: str,
    reason: messages.FinishReason | None,
) -> None:
    sent, wants = asked
    usage, counts = spent
    answer = response(text, model=model, request_id=request_id, finish_reason=reason, usage=usage)
    reading = read(reference("Generate"), [sent], [answer])
    assert reading.fields == Fields(
        operation="chat",
        provider="shadowmesh",
        response_model=model or None,
        response_id=request_id or None,
        finish_reasons=(REASONS[reason],) if reason else (),
        **wants,
        **counts,
    )
    assert reading.output == (text.encode(),)


@pytest.mark.parametrize("method", ["StreamGenerate", "Converse"])
@given(st.data(), asked(), spent(), WORDS, st.lists(st.tuples(WORDS, WORDS), max_size=3))
def test_a_stream_reads_the_same_however_its_text_is_cut_into_deltas(
    method: str,
    data: st.DataObject,
    asked: tuple[bytes, dict[str, Any]],
    spent: tuple[Any, dict[str, Any]],
    text: str,
    calls: list[tuple[str, str]],
) -> None:
    sent, wants = asked
    usage, counts = spent
    tools = [messages.ToolCall(name=name, arguments_json=arguments) for name, arguments in calls]
    deltas = [delta(part, model="m") for part in data.draw(chunks(text))]
    end = delta("", model="m-1", tool_calls=tools, usage=usage, finish_reason=messages.FINISH_REASON_LENGTH)
    reading = read(reference(method), [sent], [*deltas, end])
    assert reading.fields == Fields(
        operation="chat",
        provider="shadowmesh",
        response_model="m-1",
        response_id="r",
        finish_reasons=("length",),
        **wants,
        **counts,
    )
    whole = read(reference(method), [sent], [delta(text), end])
    assert reading.output == whole.output
    assert reading.output is not None
    assert reading.output[0] == text.encode()
    assert list(reading.output[1:]) == [part.encode() for call in calls for part in call]


@given(spent(), WORDS, WORDS)
def test_an_ingest_reads_its_first_chunk_and_the_summary(
    spent: tuple[Any, dict[str, Any]], model: str, answered: str
) -> None:
    usage, counts = spent
    counts.pop("reasoning_output_tokens", None)
    sent = [
        messages.IngestRequest(model=model, document_id="d", text="one").SerializeToString(),
        messages.IngestRequest(model="another", document_id="d", text="two").SerializeToString(),
    ]
    answer = messages.IngestResponse(request_id="r", model=answered, usage=usage).SerializeToString()
    reading = read(reference("Ingest"), sent, [answer])
    assert reading.fields == Fields(
        operation="ingest",
        provider="shadowmesh",
        request_model=model or None,
        response_model=answered or None,
        response_id="r",
        **counts,
    )


MESSY = st.lists(st.one_of(st.binary(max_size=40), st.just(delta("x")), st.just(request())), max_size=4)


@pytest.mark.parametrize("method", METHODS)
@given(MESSY, MESSY)
def test_no_bytes_raise(method: str, requests: Sequence[bytes], responses: Sequence[bytes]) -> None:
    reading = read(reference(method), requests, responses)
    for name in ("request_model", "response_model", "response_id"):
        value = getattr(reading.fields, name)
        assert value is None or len(value) <= 256


@pytest.mark.parametrize("method", METHODS)
def test_bytes_that_do_not_parse_say_nothing_and_make_the_answer_unknown(method: str) -> None:
    reading = read(reference(method), [b"\xff"], [b"\xff", last_delta("kept")])
    assert reading.fields.request_model is None
    assert reading.output is None
    assert reading.fields.input_tokens == 1, "what does parse is still read"


def test_what_was_read_is_frozen_and_equal_to_what_its_class_makes() -> None:
    fields = read(reference("Generate"), [request(model="m")], [response(model="n")]).fields
    assert fields == Fields(operation="chat", provider="shadowmesh", request_model="m", response_model="n")
    assert (type(fields), hash(fields)) == (Fields, hash(replace(fields)))
    with pytest.raises(FrozenInstanceError):
        fields.seed = 1  # type: ignore[misc]  # that is what is tried


def test_an_exchange_without_any_message_is_read_too() -> None:
    reading = read(reference("StreamGenerate"), [], [])
    assert reading.fields == Fields(operation="chat", provider="shadowmesh")


def test_without_a_map_every_field_is_unknown_and_the_messages_are_the_answer() -> None:
    assert read(None, [b"q"], [b"a", b"b"]) == (NO_FIELDS, (b"a", b"b"))
    assert method_map("/shadowmesh.v1.Inference/Generate", "raw") is None


def test_answers_that_differ_only_in_where_text_ends_and_a_tool_call_begins_are_told_apart() -> None:
    one = delta("ab", tool_calls=[messages.ToolCall(name="c")])
    other = delta("a", tool_calls=[messages.ToolCall(name="bc")])
    assert read(reference("StreamGenerate"), [], [one]).output != read(reference("StreamGenerate"), [], [other]).output


def test_a_tool_without_arguments_is_told_apart_from_arguments_without_a_tool() -> None:
    outputs = [
        read(reference("Generate"), [], [response(tool_calls=[messages.ToolCall(**{part: "x"})])]).output
        for part in ("name", "arguments_json")
    ]
    assert outputs[0] != outputs[1]


def test_of_several_deltas_the_last_that_says_something_decides() -> None:
    deltas = [delta("a", model="one", usage={"input_tokens": 1}), delta("b", model="two"), delta("c", "")]
    fields = read(reference("StreamGenerate"), [], deltas).fields
    assert (fields.response_model, fields.response_id, fields.input_tokens) == ("two", "r", 1)


# --- what a hostile peer may write into our spans -------------------------------------------------------------

LONG = "ü" * 10_000


def test_texts_from_the_wire_are_cut_to_a_size() -> None:
    sent = request(model=LONG, sampling={"stop": [LONG] * 1000})
    answer = response(LONG, model=LONG, request_id=LONG)
    reading = read(reference("Generate"), [sent], [answer])
    fields = reading.fields
    assert fields.request_model == fields.response_model == fields.response_id == LONG[:256]
    assert fields.stop_sequences == (LONG[:256],) * 16
    assert reading.output == (LONG.encode(),), "the answer itself stays whole: it goes into no span"


def test_a_finish_reason_no_map_knows_is_kept_as_it_is() -> None:
    answer = delta() + bytes([4 << 3, 99])
    assert read(reference("StreamGenerate"), [], [answer]).fields.finish_reasons == ("99",)


@pytest.mark.parametrize("seed", [2**63, 2**64 - 1])
def test_an_integer_that_fits_no_span_is_unknown(seed: int) -> None:
    usage = messages.Usage(input_tokens=seed, output_tokens=seed)
    fields = read(reference("Generate"), [request(seed=seed)], [response(usage=usage)]).fields
    assert (fields.seed, fields.input_tokens, fields.output_tokens) == (None, None, None)
    assert fields.usage_source == "response", "the counts that are there were said"
    assert fields.cached_input_tokens == 0


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_none_is_unknown(value: float) -> None:
    fields = read(reference("Generate"), [request(sampling={"temperature": value, "top_p": value})], []).fields
    assert (fields.temperature, fields.top_p) == (None, None)
