"""The live call is the same with mirroring on, off, and with a broken shadow: the first law."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest
from support.calls import SCENARIOS, Seen, scenarios, see
from support.meshes import CARRIERS, config, refusing_address, running_mesh, target
from support.servers import behind, interceptor_of, live_server
from support.shadows import SCRIPTS

from shadowmesh.mirror.capture_files import read_calls
from shadowmesh.mirror.capture_settings import CaptureSettings
from shadowmesh.testing import Backend


@pytest.fixture(scope="module")
def bare() -> dict[tuple[str, str, str], Seen]:
    """What clients see without ShadowMesh, by kind of server, scenario and arity; filled as it is asked for."""
    return {}


def without(bare: dict[tuple[str, str, str], Seen], kind: str) -> dict[tuple[str, str, str], Seen]:
    if not any(key[0] == kind for key in bare):
        with live_server(kind) as server:
            for name, arity in scenarios(kind):
                bare[kind, name, arity] = see(server, arity, SCENARIOS[name])
    return bare


@pytest.mark.parametrize("shadow", ["answering", "off", "refusing", "hanging", "resetting", "erroring"])
@pytest.mark.parametrize(("kind", "carrier"), CARRIERS)
def test_a_client_sees_the_same_whatever_the_shadow_does(
    kind: str, carrier: str, shadow: str, bare: dict[tuple[str, str, str], Seen]
) -> None:
    direct = behind(kind)
    expected = without(bare, direct)
    with ExitStack() as stack:
        if shadow in SCRIPTS:
            backend = stack.enter_context(Backend(SCRIPTS[shadow], workers=128))
            settings = config(target(backend.address, max_in_flight=1000))
        elif shadow == "refusing":
            settings = config(target(stack.enter_context(refusing_address()), max_in_flight=1000))
        else:
            settings = config(target("127.0.0.1:1", rate=0.0))
        mesh, sink = stack.enter_context(running_mesh(settings, carrier, grace=0.0 if shadow == "hanging" else 10.0))
        server = stack.enter_context(live_server(kind, lambda: [interceptor_of(kind, mesh)]))
        for name, arity in scenarios(kind):
            assert see(server, arity, SCENARIOS[name]) == expected[direct, name, arity], f"{name}, {arity}"
        server.stop(5)
        mesh.drain(0.0 if shadow == "hanging" else 10.0)
        assert mesh.faults() == {}
        assert len(sink.legs()) == (0 if shadow == "off" else 2 * len(list(scenarios(kind))))


@pytest.mark.parametrize("mirrored", [False, True], ids=["captured", "captured and mirrored"])
@pytest.mark.parametrize(("kind", "carrier"), CARRIERS)
def test_a_client_sees_the_same_where_its_calls_are_captured(
    kind: str, carrier: str, mirrored: bool, tmp_path: Path, bare: dict[tuple[str, str, str], Seen]
) -> None:
    direct = behind(kind)
    expected = without(bare, direct)
    asked = list(scenarios(kind))
    with Backend(SCRIPTS["answering"], workers=128) as backend:
        settings = config(target(backend.address, max_in_flight=1000, rate=float(mirrored)))
        settings = settings.model_copy(update={"capture": CaptureSettings(to=str(tmp_path))})
        with (
            running_mesh(settings, carrier) as (mesh, sink),
            live_server(kind, lambda: [interceptor_of(kind, mesh)]) as server,
        ):
            for name, arity in asked:
                assert see(server, arity, SCENARIOS[name]) == expected[direct, name, arity], f"{name}, {arity}"
            server.stop(5)
            mesh.drain(10.0)
            assert mesh.faults() == {}
            assert len(sink.legs()) == (2 * len(asked) if mirrored else 0)
            statuses = {leg.status for leg in sink.legs()}
            captured = mesh.captured_calls()
    assert sum(captured.values()) == len(asked)
    calls = list(read_calls(tmp_path))
    assert sum(count for (result, _), count in captured.items() if result in ("written", "incomplete")) == len(calls)
    if mirrored:
        assert {call.status for call in calls if call.status} == {status for status in statuses if status}
