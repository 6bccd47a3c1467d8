"""18. Shadows of shadows and loops: a marker travels on as we write it, and never as somebody sent it."""

from __future__ import annotations

import pytest
from support.engines import answer, at, mirror
from support.experiments import CONVERSE, GENERATE

from shadowmesh.names import META_INSTANCE, META_ROLE
from shadowmesh.policy.marker import refusal
from shadowmesh.testing import Backend

FORGED = ((META_ROLE, "live"), (META_INSTANCE, "forged"), ("x-shadowmesh-pair-id", "f" * 32), ("traceparent", "00-bad"))


@pytest.mark.parametrize("method", [GENERATE, CONVERSE])
async def test_a_shadow_bears_one_marker_of_our_own_making_whatever_its_call_came_with(method: str) -> None:
    with Backend(answer) as backend:
        async with mirror(at(backend, metadata=["x-*", "trace*"])) as mirrored:
            await mirrored.play(1, method=method, metadata=(*FORGED, ("x-a", "1")))
    sent = backend.calls[0].metadata
    assert [value for key, value in sent if key == META_ROLE] == ["shadow"]
    assert [value for key, value in sent if key == META_INSTANCE] == ["forged", "instance-1"]
    assert len([value for key, value in sent if key in ("x-shadowmesh-pair-id", "traceparent")]) == 2
    assert ("x-a", "1") in sent


async def test_a_shadow_that_comes_back_to_its_sender_is_known_by_its_id_even_where_no_marker_is_trusted() -> None:
    with Backend(answer) as backend:
        async with mirror(at(backend)) as mirrored:
            await mirrored.play(1)
    (call,) = backend.calls
    assert refusal(call.metadata, own="instance-1", trusted=False) == "marked"
    assert refusal(call.metadata, own="instance-2", trusted=False) == ""
    assert refusal(call.metadata, own="instance-2", trusted=True) == "marked"
