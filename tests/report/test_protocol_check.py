"""What a check says of captured calls, whatever is in them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.wire import request, response

from shadowmesh.catalog.builtin import builtin
from shadowmesh.mirror.capture_format import CapturedCall, CapturedMessage
from shadowmesh.report.protocol_check import MethodCheck, check

CONVERSE = "/shadowmesh.v1.Inference/Converse"
MESSAGES = st.lists(st.binary(max_size=60), max_size=4)
METHODS = sorted({(name, method) for name, maps in builtin().protocols.items() for method in maps})


def call(method: str, requests: list[bytes], responses: list[bytes]) -> CapturedCall:
    asked, said = (tuple(CapturedMessage(None, one) for one in side) for side in (requests, responses))
    return CapturedCall(method, "stream_stream", 0, 0, (), None, asked, said, True, "OK", "completed")


def checked(protocol: str, *calls: CapturedCall) -> dict[str, MethodCheck]:
    return {one.method: one for one in check(protocol, builtin().protocols[protocol], calls).methods}


@given(
    st.sampled_from(METHODS), st.lists(st.binary(max_size=60), max_size=4), st.lists(st.binary(max_size=60), max_size=4)
)
def test_any_bytes_are_counted_and_nothing_is_raised(
    which: tuple[str, str], requests: list[bytes], responses: list[bytes]
) -> None:
    protocol, method = which
    result = checked(protocol, call(method, requests, responses))[method]
    assert result.calls == 1
    assert all(one.found <= result.exchanges for one in result.fields)
    assert all((one.example is None) == (one.found == 0) for one in result.fields)


def test_each_exchange_of_a_call_is_counted() -> None:
    asked = [request(request_id=str(number), model="m") for number in range(3)]
    said = [response(request_id="1", text="x", finish_reason="FINISH_REASON_STOP")]
    result = checked("shadowmesh", call(CONVERSE, asked, said))[CONVERSE]
    found = {one.field: one.found for one in result.fields}
    assert (result.exchanges, found["request.model"], found["exchanges.request"]) == (3, 3, 3)


@pytest.mark.parametrize("example", ["\x1b[2J\x07 gone", "x" * 10_000])
def test_an_example_is_one_short_line_that_a_terminal_only_prints(example: str) -> None:
    result = checked("shadowmesh", call(CONVERSE, [request(model=example)], []))[CONVERSE]
    (shown,) = (one.example for one in result.fields if one.field == "request.model")
    assert shown is not None
    assert shown.isprintable()
    assert len(shown) <= 80


def test_what_stands_in_the_metadata_is_found_where_the_capture_has_it() -> None:
    method = "/fmaas.GenerationService/Generate"
    one = call(method, [b""], [])._replace(metadata=(("x-correlation-id", "r"), ("x-more", "secret")))
    result = checked("tgis", one, call(method, [b""], []))[method]
    found = {one.field: (one.path, one.found, one.example) for one in result.fields}
    assert found["identity"] == ("md:x-correlation-id", 1, "r")
    assert "secret" not in repr(result)


def test_what_ends_calls_is_read_for_their_ids() -> None:
    method = "/vllm.grpc.engine.VllmEngine/Abort"
    result = checked("vllm_smg", call(method, [b"\x0a\x01r\x0a\x01s"], [b""]), call(method, [b"\xff"], []))[method]
    assert (result.calls, result.unreadable, result.good) == (2, 1, False)
    assert [(one.field, one.path, one.found, one.example) for one in result.fields] == [
        ("aborts.ids", "request_ids[*]", 1, "r")
    ]


def test_without_a_call_of_its_own_a_map_is_not_good() -> None:
    nothing = check("shadowmesh", builtin().protocols["shadowmesh"], [call("/acme.Other/Ask", [b""], [])])
    assert (nothing.good, nothing.others) == (False, {"/acme.Other/Ask": 1})
