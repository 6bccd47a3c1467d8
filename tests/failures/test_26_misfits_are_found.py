"""26. Arms that are wired wrong are found: a candidate that is the live server, and a shadow that never fires."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from typing import Any

import pytest
from support.calls import SCENARIOS, see
from support.experiments import GENERATE
from support.meshes import config, running_mesh, target
from support.models import Model
from support.resources import until
from support.servers import interceptor_of, live_server
from support.shadows import answering
from support.wire import request, response
from support.worlds import WORLDS, World, with_mirror, world

from shadowmesh.build import Mesh
from shadowmesh.names import Misfit
from shadowmesh.policy.self_check import SelfCheck
from shadowmesh.schema import messages
from shadowmesh.testing import Backend

MINUTE = 60.0
NOWHERE = "127.0.0.1:1"


def misfits(mesh: Mesh) -> dict[str, dict[str, str]]:
    """Return what the status says was found, by target."""
    targets = mesh.status()["experiments"][0]["targets"]
    return {one["name"]: one["misfits"] for one in targets if one["misfits"]}


def call(it: World, times: int = 1) -> None:
    for _ in range(times):
        see(it.server, "unary_unary", SCENARIOS["answers"])


def counted(mesh: Mesh) -> int:
    return sum(mesh.funnel().values())


def has_counted(mesh: Mesh, calls: int) -> bool:
    return counted(mesh) >= calls


def intercepted(mesh: Mesh) -> list[Any]:
    return [interceptor_of("aio", mesh)]


def replicas(stack: ExitStack, elsewhere: pytest.MonkeyPatch) -> list[Mesh]:
    """Return meshes that get the shadows of another replica, one that trusts their marker and one that does not."""
    meshes = []
    for trusted in (True, False):
        one = stack.enter_context(world("sync", "thread", target(NOWHERE)))
        settings = with_mirror(config(target(NOWHERE), trust_marker=trusted))
        mesh, _ = stack.enter_context(running_mesh(settings, "loop"))
        other = stack.enter_context(live_server("aio", partial(intercepted, mesh)))
        with elsewhere.context() as environment:
            # Servers of one process have one id, by the SDK; these are to be two.
            environment.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.instance.id=other")
            see(other, "unary_unary", SCENARIOS["answers"])
        one.mesh.reload(config(target(f"127.0.0.1:{other.port}"), trust_marker=trusted))
        call(one, 5)
        meshes.append(mesh)
    return meshes


def test_a_candidate_that_is_the_live_server_or_a_replica_of_it_is_reported_and_a_control_is_not(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    cause = "self-check: x/candidate its shadows arrive at a live server of its own"
    # All at once: each looks every ten seconds.
    with caplog.at_level(logging.WARNING, "shadowmesh"), ExitStack() as stack:
        others = replicas(stack, monkeypatch)
        worlds = [stack.enter_context(world(kind, carrier, target(NOWHERE))) for kind, carrier in WORLDS]
        for it in worlds:
            here = f"127.0.0.1:{it.server.port}"
            it.mesh.reload(config(target(here), target(here, "control", kind="control")))
            call(it, 5)
        meshes = [*others, *(it.mesh for it in worlds)]
        found = [{"candidate": {Misfit.OWN_BACKEND: "its shadows arrive at a live server of its own"}}] * len(meshes)
        assert until(lambda: [misfits(mesh) for mesh in meshes] == found, MINUTE), [misfits(mesh) for mesh in meshes]
        for mesh in meshes:
            assert mesh.faults()[cause] == 1
            assert cause in [one["cause"] for one in mesh.status()["errors"]]
    assert sum(record.message.startswith(cause) for record in caplog.records) == len(meshes)


SILENT: dict[str, dict[str, Any]] = {
    "oversize": {"mirror": {"max_message_bytes": 1, "max_call_bytes": 1}},
    "capture_full": {"mirror": {"capture_bytes": "16KiB"}, "busy": True},
    "rate_limit": {"policy": {"max_rate": 0.001, "burst": 1}, "busy": True},
}
"""What lets no call through, each by its own reason; where it is ``busy``, one call was let through before."""


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
@pytest.mark.parametrize("reason", SILENT)
def test_a_target_that_no_call_gets_through_to_is_found_within_a_minute_with_the_reason(
    reason: str, kind: str, carrier: str
) -> None:
    def hangs(received: Any, requests: Any, context: Any) -> Any:
        received.ended.wait(20)
        yield b""

    case = SILENT[reason]
    with (
        Backend(hangs) as backend,
        world(kind, carrier, target(backend.address, **case.get("policy", {})), mirror=case.get("mirror")) as it,
    ):
        if case.get("busy"):
            call(it)
            backend.wait_for_calls(1)
        # The funnel is the server's, and the clock the test's: it looks every ten seconds.
        check = SelfCheck()
        check.watch(config(target(backend.address)).experiments)
        found = []
        for seconds in range(0, 61, 10):
            found += check.look(it.mesh.funnel().items(), seconds * 1_000_000_000)
            made = counted(it.mesh) + 5
            call(it, 5)
            # They are counted a moment after they were made.
            assert until(partial(has_counted, it.mesh, made))
        (finding,) = found
        assert (finding.target, finding.misfit) == ("candidate", Misfit.NEVER_FIRES)
        assert reason in finding.detail


@pytest.mark.soak
def test_by_the_clock_on_the_wall_whatever_never_fires_is_reported_within_a_minute() -> None:
    tools = request(tools=[messages.Tool(name="pay")])
    with ExitStack() as stack:
        backend = stack.enter_context(Backend(answering))
        tight = {"max_message_bytes": 1, "max_call_bytes": 1}
        shut = [stack.enter_context(world(*one, target(backend.address), mirror=tight)) for one in WORLDS]
        unsafe = [
            stack.enter_context(world(*one, target(backend.address), handler=Model(one[0], lambda _: response())))
            for one in WORLDS
        ]
        calls: list[Callable[[], object]] = [partial(call, it) for it in shut]
        for it in unsafe:
            generate: Any = it.server.channel.unary_unary(GENERATE)
            calls.append(partial(generate, tools, timeout=20))

        def found() -> bool:
            for one in calls:
                one()
            return all(Misfit.NEVER_FIRES in misfits(it.mesh).get("candidate", {}) for it in shut) and all(
                any(cause.startswith("self-check: x/candidate none of") for cause in it.mesh.faults()) for it in unsafe
            )

        assert until(found, MINUTE)
        assert backend.calls == []
