"""Every protocol over a real wire: the fields of both legs are those that client, live server and shadow have said."""

from __future__ import annotations

from dataclasses import replace

import pytest
from google.protobuf.message import Message
from support.dialects import CALLS, UNSHADOWABLE
from support.dialects.spoken import BIDI, Said, Spoken, mirrored

from shadowmesh.catalog.builtin import builtin
from shadowmesh.model import Fields
from shadowmesh.names import DropReason


@pytest.mark.parametrize("kind", ["sync", "aio"])
@pytest.mark.parametrize("name", sorted(CALLS))
def test_both_legs_have_what_was_said(name: str, kind: str) -> None:
    spoken = CALLS[name]
    live, shadow = mirrored(kind, spoken)
    for place, (one, other) in enumerate(zip(live, shadow, strict=True)):
        asked = spoken.asked[place]
        assert one.fields == Fields(**asked, **spoken.answered[place])
        assert other.fields == Fields(**asked, **spoken.answered_by_shadow[place])
        assert (one.status, other.status) == (spoken.status, spoken.status_of_shadow)
        assert (one.output_digest == other.output_digest) is spoken.alike
        # What is not read is not the same: it is unknown.
        assert (one.output_digest is not None) is bool(spoken.reads & {"text", "ids"})


def test_every_method_of_every_map_is_called() -> None:
    called = {(spoken.protocol, spoken.method) for spoken in CALLS.values()}
    mapped = {(name, method) for name, maps in builtin().protocols.items() for method in maps if name != "shadowmesh"}
    assert called == mapped


@pytest.mark.parametrize("name", sorted(UNSHADOWABLE))
def test_what_no_other_server_could_take_never_leaves(name: str) -> None:
    method, request = UNSHADOWABLE[name]
    protocol = name.partition(":")[0]
    alike = next(one for one in CALLS.values() if (one.protocol, one.method) == (protocol, method))
    _, (leg,) = mirrored("sync", _with_request(alike, request))
    assert leg.drop_reason == DropReason.UNSAFE
    assert leg.fields.response_id is None


def test_what_only_another_server_could_not_take_goes_out() -> None:
    for name in UNSHADOWABLE:
        protocol = name.partition(":")[0]
        maps = builtin().protocols[protocol]
        for spoken in CALLS.values():
            if spoken.protocol == protocol:
                refuses = maps[spoken.method].unshadowable
                assert not any(find(request) for find in refuses for request in spoken.requests)


def _with_request(spoken: Spoken, request: Message) -> Spoken:
    requests = [request] if spoken.arity != BIDI else [request, request]
    return replace(spoken, requests=requests[:1], shadow=Said([]), asked=spoken.asked[:1])
