"""Fields that are found together are those that are found one by one."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from support.dialects.spoken import view
from support.wire import delta, reference, request

from shadowmesh.catalog.builtin import builtin
from shadowmesh.protocols.fields import answer_fields, request_fields
from shadowmesh.schema import messages

ANSWER = reference("StreamGenerate")
FIELDS = {"id": "response_id", "model": "response_model", "finish_reason": "finish_reasons"}
COUNTS = st.none() | st.integers(0, 3)


@st.composite
def deltas(draw: st.DrawFn) -> bytes:
    """A message that says some of its fields, in a usage that may be empty."""
    counts = {name: draw(COUNTS) for name in ("input_tokens", "output_tokens", "cached_input_tokens")}
    return delta(
        request_id=draw(st.sampled_from(["", "a", "b"])),
        model=draw(st.sampled_from(["", "m", "n"])),
        finish_reason=draw(st.sampled_from([0, 1, 99])),
        usage=draw(st.none() | st.just({name: count for name, count in counts.items() if count is not None})),
    )


@given(st.lists(deltas(), max_size=4))
def test_the_last_word_on_each_field_is_the_one_its_own_source_finds_last(said: list[bytes]) -> None:
    parsed = [ANSWER.parse_response(one) for one in said]
    expected: dict[str, Any] = {}
    sources = {name: source for name, source in ANSWER.response.items() if name not in ("text", "tool_calls")}
    for name, source in sources.items():
        for message in filter(None, parsed):
            if found := source.find(message):
                expected[FIELDS.get(name, name)] = (found[-1],) if name == "finish_reason" else found[-1]
    assert answer_fields(sources.items(), {}).last_words(reversed(parsed)) == expected


def test_a_message_that_is_none_says_nothing() -> None:
    table = answer_fields(ANSWER.response.items(), {})
    assert table.last_words([None, ANSWER.parse_response(delta(model="m"))])["response_model"] == "m"
    assert table.last_words([]) == {}


def test_a_number_that_no_span_can_carry_is_unknown_and_a_text_is_cut() -> None:
    method_map = reference("Generate")
    message = method_map.parse_request(request(model="m" * 1000, max_tokens=2**32 - 1, seed=2**64 - 1))
    assert message is not None
    found = request_fields(method_map.request).read(message, ())
    assert found == {"request_model": "m" * 256, "max_tokens": 2**32 - 1, "seed": None}
    large = messages.Usage(input_tokens=2**63, output_tokens=2**63 - 1)
    answer = ANSWER.parse_response(delta(usage=large))
    counts = answer_fields(ANSWER.response.items(), {}).last_words([answer])
    assert (counts["input_tokens"], counts["output_tokens"]) == (None, 2**63 - 1)


def test_less_than_no_tokens_is_no_count() -> None:
    chat = builtin().protocols["xai"]["/xai_api.Chat/GetCompletion"]
    usage = {"completion_tokens": -4, "prompt_tokens": 5}
    answer = chat.parse_response(view("xai.CompletionResponse", usage=usage).SerializeToString())
    counts = answer_fields(chat.response.items(), {}).last_words([answer])
    assert (counts["input_tokens"], counts["output_tokens"]) == (5, None)
