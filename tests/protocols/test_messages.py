"""The messages of an exchange are parsed once, as far as somebody reads them."""

from __future__ import annotations

from support.parsing import Counted
from support.wire import delta, last_delta, reference, request

from shadowmesh.protocols.content import read_input, read_instructions
from shadowmesh.protocols.content import read_output as read_content
from shadowmesh.protocols.messages import Answer, Requests
from shadowmesh.protocols.reading import failure, first_content, read_cost, read_fields, read_output, read_request

TORN = b"\xff"


def test_an_answer_is_parsed_once_whatever_is_read_of_it() -> None:
    counted = Counted(reference("StreamGenerate"))
    said = [delta("a"), delta("b"), last_delta("c")]
    answer = Answer(counted.as_map, said)
    assert read_fields({}, answer).finish_reasons == ("stop",)
    assert read_output(answer) == (b"abc",)
    assert read_content(answer, "stop", 1000).items[0]["parts"] == [{"type": "text", "content": "abc"}]
    assert (failure(answer), read_cost(answer), first_content(answer)) == ("", None, 0)
    assert sorted(counted.parsed) == sorted(said)


def test_so_is_a_request() -> None:
    counted = Counted(reference("Generate"))
    requests = Requests(counted.as_map, [request(model="m", prompt="Why?")])
    assert read_request(requests)["request_model"] == "m"
    assert read_input(requests, 1000).items[0]["role"] == "user"
    assert read_instructions(requests, 1000).items == []
    assert counted.parsed == list(requests.data)


def test_what_stands_at_the_end_is_read_without_what_came_before() -> None:
    counted = Counted(reference("StreamGenerate"))
    answer = Answer(counted.as_map, [delta("a"), delta("b")])
    assert next(answer.backwards()) is not None
    assert counted.parsed == [delta("b")]


def test_bytes_that_are_no_message_are_left_out_and_known_to_be() -> None:
    answer = Answer(reference("StreamGenerate"), [delta("a"), TORN, delta("c")])
    assert (answer.whole, answer.at(1)) == (False, None)
    assert list(answer.some) == [answer.at(0), answer.at(2)]
    assert list(answer.unbroken) == [answer.at(0)]
    assert list(answer.backwards()) == [answer.at(2), None, answer.at(0)]
    whole = Answer(reference("StreamGenerate"), [delta("a")])
    assert (whole.whole, list(whole.unbroken)) == (True, [whole.at(0)])


def test_without_a_map_nobody_knows_what_the_bytes_are() -> None:
    answer = Answer(None, [delta("a")])
    assert (answer.at(0), answer.whole, list(answer.unbroken), list(answer.data)) == (None, False, [], [delta("a")])
    assert read_output(answer) == (delta("a"),)
    assert read_input(Requests(None, [request()]), 1000).items == []
