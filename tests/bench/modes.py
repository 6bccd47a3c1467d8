"""The ways to run the live server that are compared, as data."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from bench.policies import write

Shadow = Literal["healthy", "slow", "hanging", "dead"]
"""The kinds of shadow backend; all but the first only for the shapes whose subject they are."""


@dataclass(frozen=True, slots=True)
class Mode:
    """
    One way to run the live server.

    Args:
        rate: the sampling rate of a mesh, ``None`` without one.
        hop: what stands between the clients and the live server.
        workers: processes of the hop, where it is the proxy.
        apart: whether they are proxies of their own, with ports of their own.
        policies: of a mode that is there for their sake: whether they are on.
    """

    name: str
    about: str
    noop: bool = False
    carrier: Literal["loop", "thread", "process"] = "loop"
    rate: float | None = None
    hop: Literal["", "plain", "mirror", "proxy"] = ""
    workers: int = 1
    apart: bool = False
    shadow: Shadow = "healthy"
    policies: Literal["", "off", "on"] = ""

    @property
    def mirrors(self) -> bool:
        """Whether shadow calls are to be expected."""
        return bool(self.rate) or self.hop == "mirror"

    @property
    def records(self) -> bool:
        """Whether spans are to be expected."""
        return bool(self.rate)

    @property
    def has_children(self) -> bool:
        """Whether the live process runs the mirror in processes of its own."""
        return self.records and self.carrier == "process"

    def arguments(self, shadow_port: int, sink_port: int, directory: Path) -> list[str]:
        """Return the arguments of the live server; what it reads from files is written into ``directory``."""
        if self.rate is None:
            return ["--noop"] if self.noop else []
        config = self._config(shadow_port, sink_port)
        if self.policies == "on":
            return ["--config-file", str(write(config, directory))]
        return ["--config", json.dumps(config)]

    def _config(self, shadow_port: int, sink_port: int) -> dict[str, Any]:
        """Defaults wherever there is one: what a user gets."""
        target = {"name": "candidate", "address": f"127.0.0.1:{shadow_port}", "rate": self.rate}
        experiment = {"name": "bench", "methods": ["/shadowmesh.v1.Inference/*"], "targets": [target]}
        return {
            "experiments": [experiment],
            # The first block of slots is mirrored throughout, and with this many it outlasts every round: the guard is
            # on and costs what it costs, and no window of 100 % falls into a slot of 0 %.
            "mirror": {"carrier": self.carrier, "harm_guard": {"one_off_in": 100}},
            "telemetry": {"service_name": "bench", "otlp": {"endpoint": f"http://127.0.0.1:{sink_port}"}},
        }


REFERENCE: Final = "bare"
"""The mode every other is compared with, window by window."""
AGAIN: Final = "bare_again"
"""The same in a process of its own: what lies within its difference is noise."""
SLOW_SECONDS: Final = 0.2
"""What the slow shadow takes for an answer; the hanging one takes for ever."""

MODES: Final = (
    Mode(REFERENCE, "grpc.aio server without interceptor"),
    Mode(AGAIN, "the same once more, in a process of its own (A/A): what lies within its difference is noise"),
    Mode("noop", "an interceptor that only passes the call on", noop=True),
    Mode("off", "ShadowMesh, 0 % sampled", rate=0.0),
    Mode("loop", "ShadowMesh, 100 % mirrored, carrier loop", rate=1.0, carrier="loop"),
    Mode("thread", "ShadowMesh, 100 % mirrored, carrier thread", rate=1.0, carrier="thread"),
    Mode("process", "ShadowMesh, 100 % mirrored, carrier process", rate=1.0, carrier="process"),
    Mode("envoy", "Envoy as a plain hop before a bare server", hop="plain"),
    Mode("envoy_mirror", "the same, Envoy mirrors 100 % (request_mirror_policies)", hop="mirror"),
    Mode("process_slow", f"process, the shadow answers after {SLOW_SECONDS * 1e3:.0f} ms",
         rate=1.0, carrier="process", shadow="slow"),
    Mode("process_hanging", "process, the shadow takes calls and never answers",
         rate=1.0, carrier="process", shadow="hanging"),
    Mode("process_dead", "process, the shadow's port refuses connections",
         rate=1.0, carrier="process", shadow="dead"),
    Mode("policies_off", "process, for comparison with policies_on", rate=1.0, carrier="process", policies="off"),
    Mode("policies_on", "process, with every policy on (policies.py)", rate=1.0, carrier="process", policies="on"),
)  # fmt: skip
