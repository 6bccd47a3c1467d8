"""No map raises, whatever the bytes are: what cannot be read is unknown."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.dialects import CALLS, UNSHADOWABLE

from shadowmesh.catalog.builtin import builtin
from shadowmesh.protocols import content
from shadowmesh.protocols.exchanges import split
from shadowmesh.protocols.messages import Answer, Requests
from shadowmesh.protocols.protocol_map import MethodMap
from shadowmesh.protocols.reading import failure, first_content, read

METHODS = sorted((protocol, method) for protocol, maps in builtin().protocols.items() for method in maps)


def _said(protocol: str) -> list[bytes]:
    """Return messages of this protocol, of requests and answers alike."""
    spoken = [one for one in CALLS.values() if one.protocol == protocol]
    messages = [message for one in spoken for message in (*one.requests, *one.live.messages, *one.shadow.messages)] + [
        message for name, (_, message) in UNSHADOWABLE.items() if name.startswith(f"{protocol}:")
    ]
    return [message.SerializeToString() for message in messages]


def _read_all(method_map: MethodMap, requests: Sequence[bytes], responses: Sequence[bytes]) -> None:
    for part in split(method_map, requests, responses):
        asked = [requests[place] for place in part.requests]
        answers = [responses[place] for place in part.responses]
        read(method_map, asked, answers)
        failure(Answer(method_map, answers))
        assert 0 <= first_content(Answer(method_map, answers)) <= len(answers)
        for found in (
            content.read_instructions(Requests(method_map, asked), 256),
            content.read_input(Requests(method_map, asked), 256),
            content.read_output(Answer(method_map, answers), "stop", 256),
        ):
            json.dumps(found.items)
    for request in filter(None, map(method_map.parse_request, requests)):
        for find in method_map.unshadowable:
            find(request)


@st.composite
def _torn(draw: st.DrawFn, messages: list[bytes]) -> bytes:
    """Draw a message that is whole, cut, or has other bytes somewhere in it."""
    data = draw(st.sampled_from(messages))
    begin = draw(st.integers(0, len(data)))
    end = draw(st.integers(begin, len(data)))
    return data[:begin] + draw(st.binary(max_size=8)) + data[draw(st.sampled_from([begin, end])) :]


@pytest.mark.parametrize(("protocol", "method"), METHODS)
@given(data=st.data())
def test_no_bytes_raise(protocol: str, method: str, data: st.DataObject) -> None:
    method_map = builtin().protocols[protocol][method]
    messages = st.lists(st.one_of(st.binary(max_size=40), _torn(_said(protocol))), max_size=4)
    _read_all(method_map, data.draw(messages), data.draw(messages))
