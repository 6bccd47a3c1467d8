"""Every protocol over a real wire: the fields of both legs are those that client, live server and shadow have said."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pytest
from google.protobuf.message import Message
from support.dialects import CALLS, UNSHADOWABLE
from support.dialects.spoken import BIDI, Said, Spoken, mirrored
from support.servers import PROXY

from shadowmesh.catalog.builtin import builtin
from shadowmesh.model import Cost, Fields
from shadowmesh.names import CostSource, DropReason
from shadowmesh.protocols.protocol_map import MethodMap
from shadowmesh.protocols.reading import tool_calls


@pytest.mark.parametrize("kind", ["sync", "aio", PROXY])
@pytest.mark.parametrize("name", sorted(CALLS))
def test_both_legs_have_what_was_said(name: str, kind: str) -> None:
    spoken = CALLS[name]
    live, shadow = mirrored(kind, spoken)
    for place, (one, other) in enumerate(zip(live, shadow, strict=True)):
        asked = spoken.asked[place]
        assert one.fields == Fields(**asked, **spoken.answered[place])
        assert other.fields == Fields(**asked, **spoken.answered_by_shadow[place])
        assert (one.status, other.status) == (spoken.status, spoken.status_of_shadow)
        assert other.cost is None
        assert one.cost == (None if spoken.costs is None else _reported(spoken.costs))
        assert (one.output_digest == other.output_digest) is spoken.alike
        # What is not read is not the same: it is unknown.
        assert (one.output_digest is not None) is bool(spoken.reads & {"text", "ids"})


def test_every_method_of_every_map_is_called() -> None:
    called = {(spoken.protocol, spoken.method) for spoken in CALLS.values()}
    mapped = {(name, method) for name, maps in builtin().protocols.items() for method in maps}
    assert called == mapped


def _ways(name: str) -> set[str]:
    """Return in which ways a call is made: what of a protocol it shows."""
    spoken = CALLS[name]
    method_map = builtin().protocols[spoken.protocol][spoken.method]
    found = set()
    for said, status, answered in (
        (spoken.live, spoken.status, spoken.answered),
        (spoken.shadow, spoken.status_of_shadow, spoken.answered_by_shadow),
    ):
        answers = [one for one in map(method_map.parse_response, [m.SerializeToString() for m in said.messages]) if one]
        if status != "OK":
            found.add("an error" if said.status != "OK" else "an error inside a message")
        elif all("usage_source" not in fields for fields in answered):
            found.add("no counts")
        sources = [method_map.response[name] for name in ("text", "ids") if name in method_map.response]
        if any(len(method_map.pieces.outputs(source, answers)) > 1 for source in sources):
            found.add("several outputs")
        if tool_calls(method_map, answers):
            found.add("calls of tools")
    if len(spoken.requests) > 1:
        found.add("several exchanges")
    return found


def _ways_of(maps: Iterable[MethodMap]) -> set[str]:
    """Return in which ways a protocol can be spoken."""
    ways = {"an error"}
    for one in maps:
        ways |= {"no counts"} if "input_tokens" in one.response else set()
        ways |= {"several outputs"} if one.pieces.several else set()
        ways |= {"calls of tools"} if one.tool_calls is not None else set()
        ways |= {"an error inside a message"} if one.pieces.error is not None else set()
        ways |= {"several exchanges"} if one.exchanges is not None else set()
    return ways


@pytest.mark.parametrize("protocol", sorted(builtin().protocols))
def test_a_protocol_is_spoken_in_every_way_that_it_has(protocol: str) -> None:
    spoken = {way for name in CALLS if CALLS[name].protocol == protocol for way in _ways(name)}
    assert _ways_of(builtin().protocols[protocol].values()) - spoken == set()


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


def _reported(dollars: float) -> Cost:
    return Cost(amount=dollars, currency="USD", source=CostSource.PROVIDER)


def _with_request(spoken: Spoken, request: Message) -> Spoken:
    requests = [request] if spoken.arity != BIDI else [request, request]
    return replace(spoken, requests=requests[:1], shadow=Said([]), asked=spoken.asked[:1])
