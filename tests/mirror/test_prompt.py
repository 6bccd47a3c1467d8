"""The bucket of a prompt: equal for equal prompts, in every replica, and little else can be told from it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.dialects import CALLS
from support.dialects.spoken import Spoken, view
from support.experiments import CONVERSE, experiment
from support.records import Seen, record
from support.wire import last_delta, reference, request, response

from shadowmesh.catalog.builtin import method_map
from shadowmesh.mirror.legs import assemble
from shadowmesh.mirror.prompt import prompt_bucket
from shadowmesh.model import PROMPT_BUCKETS, PROMPT_RANKS, Leg
from shadowmesh.protocols.messages import Requests
from shadowmesh.rpc import Arity
from shadowmesh.schema import messages

UNARY = Seen([response("four")], at=[90])
WITHOUT = frozenset({"embeddings", "classify", "rerank", "ingest"})


def bucket(data: bytes, experiment: str = "summaries", method: str = "Generate") -> int | None:
    return prompt_bucket(experiment, Requests(reference(method), [data]))


def lives(*args: Any, **changes: Any) -> list[Leg]:
    span_ids = count(100)
    found = assemble(record(*args, **changes), new_span_id=lambda: next(span_ids), digest_key=bytes(32))
    assert all(shadow.prompt_bucket is None for exchange in found for shadow in exchange.shadows)
    return [exchange.live for exchange in found]


def test_it_is_the_same_wherever_the_prompt_is_asked_and_another_one_in_another_experiment() -> None:
    asked = request(prompt="why?")
    assert bucket(asked) == bucket(request("other", prompt="why?", model="m", seed=7, max_tokens=9)) == 1697
    assert bucket(asked) != bucket(asked, "chat")
    assert bucket(asked) != bucket(request(prompt="why"))


def test_a_conversation_is_one_prompt_and_who_said_what_is_part_of_it() -> None:
    def said(*turns: tuple[messages.Role, str]) -> bytes:
        return request(messages={"messages": [messages.Message(role=role, content=text) for role, text in turns]})

    user, assistant = messages.ROLE_USER, messages.ROLE_ASSISTANT
    found = [
        bucket(said((user, "a"), (user, "b"))),
        bucket(said((user, "a"), (assistant, "b"))),
        bucket(said((user, "ab"))),
        bucket(said((user, "b"), (user, "a"))),
    ]
    assert None not in found
    assert len(set(found)) == 4
    assert bucket(said((user, "a"), (user, "b"))) == found[0]


def test_the_ids_of_calls_are_new_each_time_and_what_is_called_is_not() -> None:
    def called(id_: str, name: str = "look", result: str = "found") -> bytes:
        call = messages.ToolCall(id=id_, name=name, arguments_json="{}")
        turns = [
            messages.Message(role=messages.ROLE_ASSISTANT, tool_calls=[call]),
            messages.Message(role=messages.ROLE_TOOL, content=result, tool_call_id=id_),
        ]
        return request(messages={"messages": turns})

    assert bucket(called("1")) == bucket(called("2")) is not None
    assert bucket(called("1")) not in (bucket(called("1", name="see")), bucket(called("1", result="lost")))


def test_of_a_very_long_prompt_beginning_end_and_length_count() -> None:
    middle = "x" * 200_000
    found = [bucket(request(prompt=prompt)) for prompt in (f"a{middle}b", f"c{middle}b", f"a{middle}d", f"a{middle}xb")]
    assert None not in found
    assert len(set(found)) == 4
    assert bucket(request(prompt=f"a{middle}y{middle}b")) == bucket(request(prompt=f"a{middle}z{middle}b"))


def test_token_ids_are_a_prompt_where_there_is_no_text() -> None:
    found = method_map("/vllm.Generate/Generate")

    def asked(**prompt: Any) -> int | None:
        data = view("vllm.GenerateRequest", request_id="r", **prompt).SerializeToString()
        return prompt_bucket("summaries", Requests(found, [data]))

    one, other = asked(token_ids={"ids": [1, 23]}), asked(token_ids={"ids": [12, 3]})
    assert one is not None
    assert other is not None
    assert one != other
    assert asked() is None


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_of_every_protocol_that_generates_a_prompt_is_read(call: Spoken) -> None:
    found = method_map(call.method, call.protocol)
    assert found is not None
    for asked in call.requests:
        read = prompt_bucket("summaries", Requests(found, [asked.SerializeToString()]))
        assert (read is not None) is (found.operation not in WITHOUT)


@pytest.mark.parametrize("data", [b"", b"\xff\xff\xff", request()])
def test_where_there_is_no_prompt_none_is_known(data: bytes) -> None:
    assert bucket(data) is None


def test_without_a_map_or_a_message_none_is_known() -> None:
    assert prompt_bucket("summaries", Requests(None, [request(prompt="why?")])) is None
    assert prompt_bucket("summaries", Requests(reference("Generate"), [])) is None


@given(st.text(max_size=50), st.text(max_size=20))
def test_whatever_is_asked_it_is_a_bucket(prompt: str, experiment: str) -> None:
    found = bucket(request(prompt=prompt), experiment)
    assert found is not None
    assert 0 <= found < PROMPT_BUCKETS


def test_places_are_alike_and_every_rank_is_half_as_frequent_as_the_one_before() -> None:
    prompts = 20_000
    found = [bucket(request(prompt=str(number))) or 0 for number in range(prompts)]
    places = Counter(each // PROMPT_RANKS for each in found)
    assert max(places.values()) < 3 * prompts / 512
    assert len(places) == 512
    ranks = Counter(each % PROMPT_RANKS for each in found)
    for rank in range(6):
        assert ranks[rank] == pytest.approx(prompts / 2 ** (rank + 1), rel=0.2)


# --- legs -----------------------------------------------------------------------------------------------------


def test_the_live_leg_bears_it_and_no_shadow() -> None:
    (live,) = lives([request(prompt="why?")], UNARY, UNARY)
    assert live.prompt_bucket == bucket(request(prompt="why?"))


def test_where_requests_were_let_go_nobody_knows_what_was_asked() -> None:
    call = record([request(prompt="why?")], UNARY, UNARY)
    whole = replace(call, requests_complete=False)
    ((live, *_),) = assemble(whole, new_span_id=lambda: 1, digest_key=bytes(32))
    assert live.prompt_bucket is None


def test_every_exchange_of_a_call_has_its_own() -> None:
    answers = Seen([last_delta("1", "a"), last_delta("2", "b")], at=[10, 20], asked=[0, 5])
    asked = [request("a", prompt="why?"), request("b", prompt="how?")]
    found = lives(
        asked, answers, answers, method=CONVERSE, arity=Arity.STREAM_STREAM, settings=experiment(name="summaries")
    )
    assert [live.prompt_bucket for live in found] == [bucket(each, method="Converse") for each in asked]
    assert len({live.prompt_bucket for live in found}) == 2
