"""One call → the exchanges inside it, however their answers interleave."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from support.dialects.spoken import view
from support.wire import delta, last_delta, reference, request

from shadowmesh.catalog.builtin import builtin
from shadowmesh.protocols.exchanges import Division, Slice, divide, split

CONVERSE = reference("Converse")
TRITON = builtin().protocols["oip_triton"]["/inference.GRPCInferenceService/ModelStreamInfer"]
IDS = ("a", "b", "c")


def test_a_method_without_a_rule_is_one_exchange() -> None:
    whole = [Slice(None, [0], [0, 1])]
    assert split(reference("StreamGenerate"), [request()], [delta(), last_delta()]) == whole
    assert split(None, [b"q"], [b"a", b"b"]) == whole
    assert split(None, [], []) == [Slice(None)]


def test_every_request_id_is_an_exchange_in_the_order_of_the_requests() -> None:
    responses = [delta("1", "b"), delta("1", "a"), last_delta("2", "b"), last_delta("2", "a")]
    assert split(CONVERSE, [request("a"), request("b")], responses) == [
        Slice("0", [0], [1, 3], ended=True),
        Slice("1", [1], [0, 2], ended=True),
    ]


def test_an_exchange_without_its_last_response_has_not_ended() -> None:
    (only,) = split(CONVERSE, [request("a")], [delta("1", "a")])
    assert only == Slice("0", [0], [0], ended=False)
    assert split(CONVERSE, [request("a")], []) == [Slice("0", [0], [], ended=False)]


def test_what_comes_after_the_end_of_an_exchange_belongs_to_none() -> None:
    (only,) = split(CONVERSE, [request("a")], [last_delta("1", "a"), delta("2", "a"), last_delta("3", "a")])
    assert only.responses == [0]


def test_an_answer_to_nobodys_request_belongs_to_no_exchange() -> None:
    (only,) = split(CONVERSE, [request("a")], [delta("1", "x"), b"\xff", last_delta("2", "a")])
    assert only == Slice("0", [0], [2], ended=True)


def test_requests_with_one_id_or_with_none_are_answered_one_after_the_other() -> None:
    responses = [delta("1", ""), last_delta("2", "b"), last_delta("2", ""), delta("3", ""), last_delta("4", "")]
    assert split(CONVERSE, [request(""), request("b"), request(""), request("")], responses) == [
        Slice("0", [0], [0, 2], ended=True),
        Slice("1", [1], [1], ended=True),
        Slice("2", [2], [3, 4], ended=True),
        Slice("3", [3], []),
    ]


def test_a_request_that_does_not_parse_is_one_without_an_id() -> None:
    assert split(CONVERSE, [b"\xff", request("")], [last_delta("1", "")]) == [
        Slice("0", [0], [0], ended=True),
        Slice("1", [1], []),
    ]


def test_a_call_in_which_nothing_was_asked_is_one_empty_exchange() -> None:
    assert split(CONVERSE, [], [last_delta("1", "a")]) == [Slice(None)]


def asked(*ids: str) -> list[bytes]:
    return [view("oip.ModelInferRequest", id=identity).SerializeToString() for identity in ids]


def error(identity: str = "") -> bytes:
    named: dict[str, Any] = {"infer_response": {"id": identity}} if identity else {}
    return view("oip.ModelStreamInferResponse", error_message="no", **named).SerializeToString()


def final(identity: str) -> bytes:
    ends = {"triton_final_response": {"bool_param": True}}
    answer = {"id": identity, "parameters": ends}
    return view("oip.ModelStreamInferResponse", infer_response=answer).SerializeToString()


def given_to(division: Division) -> list[list[int]]:
    return [one.responses for one in division.exchanges]


def test_an_error_without_an_id_belongs_to_the_only_request_that_waits() -> None:
    found = divide(TRITON, asked("a", "b"), [final("a"), error(), final("b")])
    assert found == Division([Slice("0", [0], [0], ended=True), Slice("1", [1], [1], ended=True)], 0)


def test_an_error_without_an_id_while_several_wait_belongs_to_none_and_is_counted() -> None:
    found = divide(TRITON, asked("a", "b", "c"), [error(), final("a"), error(), final("c"), final("b")])
    assert (given_to(found), found.nobodys) == ([[1], [4], [3]], 2)
    assert all(one.ended for one in found.exchanges)


def test_requests_that_came_after_an_error_did_not_wait_for_it() -> None:
    # One after the other: each is asked when the one before has been answered.
    responses = [final("a"), error(), final("c")]
    found = divide(TRITON, asked("a", "b", "c"), responses, lambda response: response + 1)
    assert (given_to(found), found.nobodys) == ([[0], [1], [2]], 0)
    assert divide(TRITON, asked("a", "b", "c"), responses).nobodys == 1


def test_requests_without_ids_are_failed_one_after_the_other_if_no_other_one_waits() -> None:
    found = divide(TRITON, asked("", ""), [error(), error(), error()])
    assert (given_to(found), found.nobodys) == ([[0], [1]], 1)
    mixed = divide(TRITON, asked("", "a"), [error(), final("a"), error()])
    assert (given_to(mixed), mixed.nobodys) == ([[2], [1]], 1)


def test_an_error_with_an_id_belongs_to_its_request_and_one_of_nobody_s_to_none() -> None:
    found = divide(TRITON, asked("a", "b"), [error("b"), error("x"), error("a")])
    assert (given_to(found), found.nobodys) == ([[2], [0]], 0)


def test_any_number_of_errors_takes_no_longer_than_that_many_answers() -> None:
    count = 4000
    ids = [str(at) for at in range(count)]
    found = divide(TRITON, asked(*ids), [error()] * count, lambda response: response + 1)
    assert (found.nobodys, all(one.ended for one in found.exchanges)) == (0, True)


@st.composite
def interleaved(draw: st.DrawFn) -> list[tuple[str, int]]:
    """For each exchange its answers in order, the exchanges interleaved anyhow."""
    lengths = {key: draw(st.integers(1, 4)) for key in IDS}
    order = draw(st.permutations([key for key in IDS for _ in range(lengths[key])]))
    seen = dict.fromkeys(IDS, 0)
    answers = []
    for key in order:
        seen[key] += 1
        answers.append((key, lengths[key] - seen[key]))
    return answers


@given(st.permutations(IDS), interleaved())
def test_any_interleaving_gives_every_exchange_the_same_answers(
    asked: list[str], answers: list[tuple[str, int]]
) -> None:
    responses = [delta(f"{left}", key) if left else last_delta("0", key) for key, left in answers]
    slices = split(CONVERSE, [request(key) for key in asked], responses)
    assert [part.key for part in slices] == ["0", "1", "2"]
    for number, part in enumerate(slices):
        assert part.requests == [number]
        assert part.ended
        assert [answers[at][0] for at in part.responses] == [asked[number]] * len(part.responses)
        assert [answers[at][1] for at in part.responses] == list(range(len(part.responses)))[::-1]
    assert sorted(at for part in slices for at in part.responses) == list(range(len(responses)))


@given(st.lists(st.binary(max_size=20), max_size=6), st.lists(st.binary(max_size=20), max_size=6))
def test_no_bytes_raise_and_every_request_belongs_to_exactly_one_exchange(
    requests: list[bytes], responses: list[bytes]
) -> None:
    slices = split(CONVERSE, requests, responses)
    assert sorted(at for part in slices for at in part.requests) == list(range(len(requests)))
    answered = [at for part in slices for at in part.responses]
    assert len(answered) == len(set(answered))


_TRITON_IDS = st.sampled_from(["", "a", "b", "c"])


@given(st.lists(_TRITON_IDS, max_size=5), st.lists(st.builds(error, _TRITON_IDS) | st.builds(final, _TRITON_IDS)))
def test_an_error_is_given_to_one_exchange_at_most_and_every_other_one_without_an_id_is_counted(
    ids: list[str], responses: list[bytes]
) -> None:
    found = divide(TRITON, asked(*ids), responses)
    given = [at for one in found.exchanges for at in one.responses]
    assert len(given) == len(set(given))
    assert found.nobodys == sum(data == error() for at, data in enumerate(responses) if at not in given)
