"""A live server with a mesh, over every carrier: what a failure does to the live call, and how it is accounted for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from queue import SimpleQueue
from time import monotonic
from typing import Any, NamedTuple

import grpc
from support.meshes import CARRIERS, config, running_mesh
from support.resources import polls, until
from support.scripts import script
from support.servers import PROXY, Server, interceptor_of, live_server

from shadowmesh.build import Mesh
from shadowmesh.config import Config
from shadowmesh.mirror.carrier import MirrorSettings
from shadowmesh.mirror.process import ProcessCarrier
from shadowmesh.model import Leg
from shadowmesh.names import Role
from shadowmesh.policy.experiment import TargetSettings
from shadowmesh.testing import SpanSink

WORLDS = (
    *((kind, carrier) for kind, carrier in CARRIERS if kind in ("sync", "aio") and carrier != "wire"),
    ("sync", "process"),
    ("aio", "process"),
    (PROXY, "loop"),
)
"""A synchronous and an asynchronous server, with every carrier users can choose, and a proxy in front of one."""
LIVE = ""
"""The live legs' place among legs by target."""


class World(NamedTuple):
    """Everything of one running server."""

    server: Server
    mesh: Mesh
    sink: SpanSink
    targets: tuple[str, ...]

    def drain(self, grace: float = 0.0) -> None:
        """Drain, once the workers are there: one that starts for longer than it is waited for records nothing."""
        mirroring = self.mesh._mirroring
        carrier = mirroring.engines.carrier
        if isinstance(carrier, ProcessCarrier) and carrier.bound and mirroring.live.accepting:
            assert until(lambda: all(link.pid is not None and polls(link.pid) for link in carrier.links))
        self.mesh.drain(grace)

    def settle(self, calls: int, *, grace: float = 0.0) -> dict[str, list[Leg]]:
        """Drain, check what must hold after any failure, and return the legs by target, in the order of their calls."""
        self.drain(grace)
        legs = self.sink.wait_for_legs(calls * (1 + len(self.targets)))
        by_target: dict[str, list[Leg]] = defaultdict(list)
        for leg in legs:
            by_target[leg.target if leg.role == Role.SHADOW else LIVE].append(leg)
        assert {name: len(found) for name, found in by_target.items()} == dict.fromkeys((LIVE, *self.targets), calls)
        pairs = {leg.pair_id for leg in by_target[LIVE]}
        assert len(pairs) == calls
        assert all({leg.pair_id for leg in found} == pairs for found in by_target.values())
        assert len({leg.span_id for leg in legs}) == len(legs)
        assert self.counted() == dict.fromkeys(self.targets, calls)
        assert set(self.mesh.active().values()) == {0}
        assert self.mesh.captured_bytes() == 0
        order = {leg.pair_id: leg.started_ns for leg in by_target[LIVE]}
        return {name: sorted(found, key=lambda leg: order[leg.pair_id]) for name, found in by_target.items()}

    def counted(self) -> dict[str, int]:
        """Return how many exchanges the funnel knows of, per target, whatever became of them."""
        counts: dict[str, int] = defaultdict(int)
        for key, count in self.mesh.funnel().items():
            counts[key.target] += count
        return dict(counts)

    def decided(self, target: str = "candidate") -> dict[tuple[str, str], int]:
        """Return the funnel of one target: counts by decision and reason."""
        return {
            (key.decision, key.drop_reason): count for key, count in self.mesh.funnel().items() if key.target == target
        }


@contextmanager
def world(
    kind: str,
    carrier: str,
    *targets: dict[str, Any],
    handler: grpc.GenericRpcHandler | None = None,
    mirror: dict[str, Any] | None = None,
    before: Sequence[Any] = (),
    **more: Any,
) -> Iterator[World]:
    """
    Run a live server of ``kind`` that mirrors to ``targets``; ``mirror`` and ``more`` go into the settings, and the
    interceptors ``before`` in front of ours.
    """
    with ExitStack() as stack:
        settings = with_mirror(config(*targets, **more), **(mirror or {}))
        mesh, sink = stack.enter_context(running_mesh(settings, carrier, grace=0.0))
        server = stack.enter_context(live_server(kind, lambda: [*before, interceptor_of(kind, mesh)], handler=handler))
        yield World(server, mesh, sink, tuple(target["name"] for target in targets))
        # While the server's loop still runs: with the carrier `loop` it is the mirror's as well.
        mesh.drain(0.0)


def with_mirror(settings: Config, **changes: Any) -> Config:
    """Return the configuration with other settings of the mirror, and no slot in which it pauses by chance."""
    unpaused = {"harm_guard": {"enabled": False}}
    return settings.model_copy(update={"mirror": MirrorSettings.model_validate(unpaused | changes)})


def unguarded(one: dict[str, Any]) -> dict[str, Any]:
    """Return a target without a breaker: every call is to reach it, however often it failed before."""
    return one | {"breaker": {"enabled": False}} if "breaker" in TargetSettings.model_fields else one


class Conversation:
    """
    A bidirectional call in lock step: a message goes out only when the one before it was answered. The handler ends
    after so many ``messages``; ``None``: when there are no more.
    """

    def __init__(self, server: Server, messages: int | None, *, timeout: float = 30.0) -> None:
        self._outbox: SimpleQueue[bytes | None] = SimpleQueue()
        self.slowest = 0.0
        self.call: Any = server.call("stream_stream")(iter(self._outbox.get, None), timeout=timeout)
        self._outbox.put(script(["read_all"]) if messages is None else script(*[["read"]] * messages))

    def say(self, message: bytes) -> bytes:
        """Send a message and return the answer."""
        began = monotonic()
        self._outbox.put(message)
        try:
            answer: bytes = next(self.call)
        except grpc.RpcError:
            self._outbox.put(None)
            raise
        self.slowest = max(self.slowest, monotonic() - began)
        return answer

    def end(self) -> grpc.StatusCode:
        """Half-close and return the status."""
        self._outbox.put(None)
        assert list(self.call) == []
        code: grpc.StatusCode = self.call.code()
        return code
