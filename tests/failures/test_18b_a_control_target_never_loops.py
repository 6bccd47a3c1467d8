"""18b. A control target is the live model reached as a shadow: what arrives there is answered and mirrored no more."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import grpc
import grpc.aio
import pytest
from support.calls import ARITIES, SCENARIOS, see
from support.meshes import config, running_mesh, target
from support.resources import until
from support.servers import interceptor_of, is_aio, live_server
from support.worlds import WORLDS, World, with_mirror, world

from shadowmesh.names import META_ROLE, Decision, DropReason, Role
from shadowmesh.policy.marker import instances

NOWHERE = "127.0.0.1:1"
MIRRORED, MARKED = (Decision.MIRRORED, ""), (Decision.DISABLED, DropReason.MARKED)


class Arrivals:
    """The metadata of every call that arrives at a server."""

    def __init__(self) -> None:
        self.calls: list[tuple[tuple[str, str | bytes], ...]] = []

    def note(self, details: Any) -> None:
        self.calls.append(tuple(details.invocation_metadata))

    def shadows(self) -> int:
        return sum((META_ROLE, Role.SHADOW) in call for call in self.calls)


class SyncArrivals(Arrivals, grpc.ServerInterceptor):
    def intercept_service(self, continuation: Callable[[Any], Any], handler_call_details: Any) -> Any:
        self.note(handler_call_details)
        return continuation(handler_call_details)


class AioArrivals(Arrivals, grpc.aio.ServerInterceptor):
    async def intercept_service(self, continuation: Callable[[Any], Any], handler_call_details: Any) -> Any:
        self.note(handler_call_details)
        return await continuation(handler_call_details)


def arrivals(kind: str) -> Any:
    return AioArrivals() if is_aio(kind) else SyncArrivals()


def control_of(it: World, **more: Any) -> None:
    """Let the live server be its own control target, now that it is known where it listens."""
    it.mesh.reload(config(target(f"127.0.0.1:{it.server.port}", kind="control"), **more))


@pytest.mark.parametrize("trusted", [True, False])
@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_each_call_has_one_control_shadow_at_the_server_it_came_from_and_that_is_the_end_of_it(
    kind: str, carrier: str, trusted: bool
) -> None:
    calls = 2 * len(ARITIES)
    here = arrivals(kind)
    with world(kind, carrier, target(NOWHERE, kind="control"), before=[here]) as it:
        control_of(it, trust_marker=trusted)
        for arity in ARITIES * 2:
            see(it.server, arity, SCENARIOS["answers"])
        legs = it.sink.wait_for_legs(2 * calls)
        assert until(lambda: it.decided() == {MIRRORED: calls, MARKED: calls}), it.decided()
        it.mesh.drain(5)
        assert it.decided() == {MIRRORED: calls, MARKED: calls}
    assert (len(here.calls), here.shadows()) == (2 * calls, calls)
    assert {(leg.role, leg.status) for leg in legs} == {(Role.LIVE, "OK"), (Role.SHADOW, "OK")}
    assert {leg.target_kind for leg in legs if leg.role == Role.SHADOW} == {"control"}
    assert len(it.sink.legs()) == 2 * calls


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_two_servers_that_are_each_other_s_control_and_trust_no_marker_end_after_one_round(
    kind: str, carrier: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = 3
    at_a, at_b = arrivals(kind), arrivals(kind)
    with ExitStack() as stack:
        a = stack.enter_context(world(kind, carrier, target(NOWHERE, kind="control"), before=[at_a]))
        back = with_mirror(config(target(f"127.0.0.1:{a.server.port}", kind="control"), trust_marker=False))
        mesh, _ = stack.enter_context(running_mesh(back, "thread"))
        b = stack.enter_context(live_server(kind, lambda: [at_b, interceptor_of(kind, mesh)]))
        with monkeypatch.context() as elsewhere:
            # Servers of one process have one id, by the SDK; these are to be two.
            elsewhere.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.instance.id=b")
            mesh.start()
        a.mesh.reload(config(target(f"127.0.0.1:{b.port}", kind="control"), trust_marker=False))
        for _ in range(calls):
            see(a.server, "unary_unary", SCENARIOS["answers"])
        assert until(lambda: a.decided() == {MIRRORED: calls, MARKED: calls}), a.decided()
    # A's own calls, B's copies of them, and A's copies of those, which are known by A's id and copied no further.
    assert (len(at_a.calls), len(at_b.calls)) == (2 * calls, calls)
    chains = sorted(len(found) for call in (*at_a.calls, *at_b.calls) if (found := instances(call)))
    assert chains == [1] * calls + [2] * calls
