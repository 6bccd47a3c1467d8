"""Methods that end others: the ids they name, and what a shadow's server is asked instead."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shadowmesh.catalog.builtin import builtin
from shadowmesh.errors import ProtocolMapError
from shadowmesh.protocols import wire
from shadowmesh.protocols.aborts import Abort, AbortSettings
from shadowmesh.protocols.map_settings import ProtocolMapSettings
from shadowmesh.protocols.protocol_map import bind
from shadowmesh.schema.descriptors import message_class

ONE = message_class("shadowmesh.views.smg.AbortRequest")
SEVERAL = message_class("shadowmesh.views.smg.AbortRequests")
IDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
ENGINE = {
    "version": 1,
    "protocol": "engine",
    "methods": {
        "/e.E/Run": {
            "messages": {
                "request": "shadowmesh.views.smg.VllmGenerateRequest",
                "response": "shadowmesh.views.smg.VllmGenerateResponse",
            },
            "identity": "request_id",
        },
    },
}


def abort(ids: str = "request_id", message: type[Any] = ONE) -> Abort:
    return Abort("/e.E/Abort", AbortSettings(ids=ids, of=("/e.E/Run",)), message)


def bound(**aborts: Any) -> Any:
    return bind(ProtocolMapSettings.model_validate(ENGINE | {"aborts": aborts}), {}, message_class)


@given(st.lists(IDS, max_size=5))
def test_every_id_is_read_once(ids: list[str]) -> None:
    data = b"".join(wire.field(1, one.encode()) for one in ids)
    assert list(abort("request_ids[*]", SEVERAL).ids(data)) == list(dict.fromkeys(ids))


@given(IDS)
def test_what_is_asked_instead_names_one_id_and_nothing_else(own: str) -> None:
    for one in (abort(), abort("request_ids[*]", SEVERAL)):
        assert list(one.ids(one.request(own))) == [own]
        assert one.request(own) == wire.field(1, own.encode())


def test_a_field_that_would_end_more_does_not_travel() -> None:
    native = builtin().protocols["sglang"]["/sglang.runtime.v1.SglangService/Generate"].abort
    assert native is not None
    everything = b"\x10\x01"
    assert list(native.ids(wire.field(1, b"r") + everything)) == ["r"]
    assert native.request("own") == wire.field(1, b"own")
    assert list(native.ids(everything)) == []


@given(st.binary(max_size=80))
def test_arbitrary_bytes_name_ids_or_none(data: bytes) -> None:
    for one in (abort(), abort("request_ids[*]", SEVERAL)):
        assert all(isinstance(found, str) for found in one.ids(data))


def test_of_very_many_ids_the_first_thousand_are_read() -> None:
    data = b"".join(wire.field(1, b"%d" % number) for number in range(5000))
    assert list(abort("request_ids[*]", SEVERAL).ids(data)) == [str(number) for number in range(1024)]


@pytest.mark.parametrize(
    ("ids", "message"),
    [("request_ids", SEVERAL), ("request_id[*]", ONE), ("request_ids[0]", SEVERAL), ("nothing", ONE), ("md:x-id", ONE)],
)
def test_what_is_no_id_nor_a_list_of_them_is_refused(ids: str, message: Any) -> None:
    with pytest.raises(ProtocolMapError):
        abort(ids, message)


def test_the_methods_it_ends_know_how_they_are_ended() -> None:
    maps = bound(
        **{"/e.E/Abort": {"message": "shadowmesh.views.smg.AbortRequest", "ids": "request_id", "of": ["/e.E/Run"]}}
    )
    assert list(maps) == ["/e.E/Run"]
    assert maps["/e.E/Run"].abort.method == "/e.E/Abort"


@pytest.mark.parametrize(
    ("method", "changes", "problem"),
    [
        ("/e.E/Run", {}, "is no exchange beside that"),
        ("/e.E/Abort", {"of": ["/e.E/Other"]}, "the map names no identity"),
        ("/e.E/Abort", {"of": []}, "at least 1"),
    ],
)
def test_it_ends_methods_of_the_same_map_that_have_ids(method: str, changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        bound(**{method: {"ids": "request_id", "of": ["/e.E/Run"]} | changes})


@pytest.mark.parametrize("message", [None, "shadowmesh.views.smg.Nothing"])
def test_a_request_that_nobody_has_described_is_refused(message: str | None) -> None:
    with pytest.raises(ProtocolMapError, match=r"engine: /e\.E/Abort: no message"):
        bound(**{"/e.E/Abort": {"message": message, "ids": "request_id", "of": ["/e.E/Run"]}})


def test_every_engine_that_routers_speak_to_has_one_for_all_its_methods() -> None:
    for name in ("vllm_smg", "sglang_smg", "trtllm", "mlx", "tokenspeed", "openengine"):
        for method, method_map in builtin().protocols[name].items():
            assert method_map.abort is not None, method
            assert method_map.identity is not None
            assert method_map.identity.always
