"""A request's id: read wherever it stands, replaced by another one, and every other byte stays what it was."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shadowmesh.catalog.builtin import builtin
from shadowmesh.errors import DecodeError, ProtocolMapError
from shadowmesh.protocols import wire
from shadowmesh.protocols.identity import Identity, IdentitySettings
from shadowmesh.protocols.map_settings import MethodSettings
from shadowmesh.protocols.paths import descriptor_of
from shadowmesh.schema.descriptors import message_class

VLLM = message_class("shadowmesh.views.smg.VllmGenerateRequest")
SGLANG = message_class("shadowmesh.views.sglang.GenerateRequest")
NUMBER = VLLM.DESCRIPTOR.fields_by_name["request_id"].number
IDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
OTHERS = st.lists(
    st.builds(wire.field, st.integers(3, 1000), st.binary(max_size=20)) | st.just(b"\x28\x96\x01"), max_size=6
).map(b"".join)
"""Fields beside the id, known to nobody."""


def identity(settings: Any = "request_id", message: type[Any] = VLLM) -> Identity:
    return Identity(IdentitySettings.model_validate(settings), descriptor_of(message))


def test_a_path_alone_stands_for_all_of_it() -> None:
    assert IdentitySettings.model_validate("rid") == IdentitySettings(id="rid", always=False)


@given(OTHERS, IDS, OTHERS, IDS)
def test_the_id_is_replaced_and_every_other_byte_stays(before: bytes, live: str, after: bytes, own: str) -> None:
    data = before + wire.field(NUMBER, live.encode()) + after
    replaced = identity().replaced(data, own)
    assert replaced == before + after + wire.field(NUMBER, own.encode())
    assert (identity().of(data, ()), identity().of(replaced, ())) == (live, own)


@given(OTHERS, IDS)
def test_where_there_is_none_there_is_none_after_it_unless_there_is_always_one(others: bytes, own: str) -> None:
    for data in (others, others + wire.field(NUMBER, b"")):
        assert identity().of(data, ()) == ""
        assert identity().replaced(data, own) == data
        made = others + wire.field(NUMBER, own.encode())
        assert identity({"id": "request_id", "always": True}).replaced(data, own) == made
        assert identity().replaced(data, own, always=True) == made


RID = "json(json_body, rid, text)"
OPENAI = message_class("shadowmesh.views.sglang.OpenAiRequest")


def in_json(text: str) -> bytes:
    return wire.field(9, b"kept") + wire.field(1, text.encode())


@given(IDS, IDS)
def test_an_id_in_json_is_replaced_and_every_other_character_stays(live: str, own: str) -> None:
    one = identity(RID, OPENAI)
    before, after = '{"n" :1.0 , "rid": ', ', "user" : "a"}'
    data = in_json(before + json.dumps(live) + after)
    replaced = one.replaced(data, own)
    assert replaced == in_json(before + json.dumps(own, ensure_ascii=False) + after)
    assert (one.of(data, ()), one.of(replaced, ())) == (live, own)


@pytest.mark.parametrize("text", ["{}", '{"rid":null}', '{"rid":""}', '{"rid":7}', "[]", "no json", ""])
def test_json_without_an_id_has_none_after_it_unless_there_is_always_one(text: str) -> None:
    one, data = identity(RID, OPENAI), in_json(text)
    assert (one.of(data, ()), one.replaced(data, "own")) == ("", data)
    if text.startswith("{"):
        assert one.of(one.replaced(data, "own", always=True), ()) == "own"


def test_several_ids_in_json_are_left_to_the_server() -> None:
    one, data = identity(RID, OPENAI), in_json('{"prompt": ["a", "b"], "rid": ["1", "2"]}')
    assert (one.of(data, ()), one.replaced(data, "own")) == ("", in_json('{"prompt": ["a", "b"]}'))


@pytest.mark.parametrize("settings", ["json(json_body, n, integer)", "json(json_body, ids[*], text)", "json(rid)"])
def test_what_is_no_one_text_in_json_is_no_id(settings: str) -> None:
    with pytest.raises(ProtocolMapError):
        identity(settings, OPENAI)


@given(st.binary(max_size=60), IDS)
def test_arbitrary_bytes_have_an_id_or_none_and_are_refused_or_changed(data: bytes, own: str) -> None:
    always = [identity({"id": "request_id", "always": True}), identity({"id": RID, "always": True}, OPENAI)]
    for one in (identity(), *always, identity(RID, OPENAI), identity("md:x-id")):
        assert isinstance(one.of(data, ()), str)
        try:
            replaced = one.replaced(data, own)
        except DecodeError:
            continue
        assert replaced == data or one.of(replaced, ()) == own


def test_the_last_of_several_is_the_one_that_counts() -> None:
    data = wire.field(NUMBER, b"one") + wire.field(NUMBER, b"two")
    assert identity().of(data, ()) == VLLM.FromString(data).request_id == "two"  # type: ignore[attr-defined]
    assert identity().replaced(data, "own") == wire.field(NUMBER, b"own")


@given(OTHERS, IDS, IDS)
def test_inside_a_message_it_is_found_and_replaced_as_well(others: bytes, live: str, own: str) -> None:
    inner = identity("tokenized.original_text", message_class("shadowmesh.views.smg.SglangGenerateRequest"))
    data = others + wire.field(2, wire.field(1, live.encode()) + wire.field(9, b"more"))
    assert inner.of(data, ()) == live
    assert inner.of(inner.replaced(data, own), ()) == own


def test_an_id_in_the_metadata_is_not_looked_for_in_the_message() -> None:
    one = identity("md:x-correlation-id")
    assert one.of(wire.field(NUMBER, b"r"), (("x", "1"), ("x-correlation-id", "live"))) == "live"
    assert one.replaced(b"\xff", "own") == b"\xff"


def test_metadata_is_said_where_the_live_call_has_said_it_or_always() -> None:
    one, always = identity("md:x-id"), identity({"id": "md:x-id", "always": True})
    assert one.entries((("x-id", "live"),), "own") == (("x-id", "own"),)
    assert one.entries((("x-other", "live"),), "own") == ()
    assert always.entries((), "own") == (("x-id", "own"),)
    assert identity().entries((("request_id", "live"),), "own") == ()


@pytest.mark.parametrize(
    ("settings", "message", "problem"),
    [
        ("nothing", VLLM, "no field"),
        ("stream", VLLM, "'stream' is bool, and an id is text"),
        ("sampling_params.stop[*]", VLLM, "several values"),
        ("tokenized", VLLM, "is message"),
        ("text", VLLM, "oneof"),
        ("md:X-Id", VLLM, "lower case"),
        ("md:", VLLM, "names no metadata"),
        ("md:grpc-timeout", VLLM, "names no metadata"),
        ("md:x-id-bin", VLLM, "is bytes"),
    ],
)
def test_what_could_not_be_an_id_or_not_be_replaced_is_refused(settings: str, message: Any, problem: str) -> None:
    with pytest.raises(ProtocolMapError, match=problem):
        identity(settings, message)


def test_what_tells_exchanges_of_a_call_apart_is_no_identity() -> None:
    rule = {"request": "request_id", "response": "request_id"}
    with pytest.raises(ValidationError, match="tells the exchanges of a call apart"):
        MethodSettings.model_validate({"identity": "request_id", "exchanges": rule})


ENGINES = {
    name: method_map
    for name, maps in builtin().protocols.items()
    for method, method_map in maps.items()
    if method_map.identity is not None and method_map.identity.key is None and method.endswith("/Generate")
}


@pytest.mark.parametrize("name", sorted(ENGINES))
def test_every_engine_s_request_gets_an_id_that_its_map_reads(name: str) -> None:
    method_map = ENGINES[name]
    assert method_map.identity is not None
    live = "live"
    data = method_map.identity.replaced(wire.field(1, live.encode()) if name != "sglang" else _rid(live), "own")
    assert method_map.identity.of(data, ()) == "own"
    assert live.encode() not in data
    assert method_map.identified(data, "another") == method_map.identity.replaced(data, "another")


def _rid(value: str) -> bytes:
    data: bytes = SGLANG(rid=value).SerializeToString()
    return data


def test_a_method_without_ids_keeps_its_requests() -> None:
    tei = builtin().protocols["tei"]["/tei.v1.Embed/Embed"]
    assert (tei.identity, tei.identified(b"\xff", "own")) == (None, b"\xff")


@pytest.mark.parametrize("protocol", ["oip_triton", "oip_mlserver", "oip_kserve", "oip_dynamo"])
def test_an_id_by_which_a_client_tells_its_answers_apart_stays(protocol: str) -> None:
    assert all(one.identity is None for one in builtin().protocols[protocol].values())
