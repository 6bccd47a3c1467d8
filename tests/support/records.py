"""Recorded calls, made by hand: what an engine leaves behind for the recorder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from support.experiments import GENERATE, experiment, target

from shadowmesh.catalog.builtin import method_map
from shadowmesh.mirror.call_record import CallRecord
from shadowmesh.mirror.frames import Begin, Caller
from shadowmesh.mirror.observation import Observation
from shadowmesh.model import TraceContext
from shadowmesh.names import CallEnd
from shadowmesh.policy.experiment import ExperimentSettings
from shadowmesh.policy.plan import Admission
from shadowmesh.rpc import Arity

MONOTONIC = 5_000_000_000
WALL = 1_700_000_000_000_000_000
TRACE = TraceContext(trace_id=1 << 100, inbound_span_id=11, remote_span_id=0, inbound_is_ours=True, flags=1)


def begin(**changes: Any) -> Begin:
    """Return the beginning of a unary call with one admitted target."""
    facts: dict[str, Any] = {
        "call": 1,
        "method": GENERATE,
        "arity": Arity.UNARY_UNARY,
        "experiment": "summaries",
        "at_ns": MONOTONIC,
        "wall_ns": WALL,
        "deadline": None,
        "caller": Caller(),
        "metadata": (),
        "admissions": (Admission("candidate", 1.0),),
    }
    return Begin(**facts | changes)


@dataclass
class Seen:
    """One leg as its runner saw it; times are milliseconds after the beginning of the call."""

    responses: Sequence[bytes] = ()
    at: Sequence[float] = ()
    start: float = 0
    end: float = 100
    status: str = "OK"
    how: str = CallEnd.COMPLETED
    asked: Sequence[float] = (0,)
    captured: bool = True
    more: dict[str, Any] = field(default_factory=dict)

    def observation(self, span_id: int) -> Observation:
        """Return it on the monotonic clock."""
        seen = Observation(
            span_id=span_id,
            started_ns=at(self.start),
            ended_ns=at(self.end),
            status=self.status,
            end=self.how,
            request_times=[at(moment) for moment in self.asked],
            **self.more,
        )
        seen.add_responses([at(moment) for moment in self.at], self.responses if self.captured else ())
        return seen


def at(milliseconds: float) -> int:
    """Return a moment of the call on the monotonic clock."""
    return MONOTONIC + round(milliseconds * 1e6)


def wall(milliseconds: float) -> int:
    """Return the same moment on the wall clock."""
    return WALL + round(milliseconds * 1e6)


def record(
    requests: Sequence[bytes],
    live: Seen,
    *shadows: Seen,
    settings: ExperimentSettings | None = None,
    complete: bool = True,
    trace: TraceContext = TRACE,
    **changes: Any,
) -> CallRecord:
    """Return a call; the shadows are those of the admitted targets, in their order."""
    start = begin(**changes)
    settings = settings or experiment(*(target(admission.target) for admission in start.admissions))
    seen = {
        admission.target: shadow.observation(31 + number)
        for number, (admission, shadow) in enumerate(zip(start.admissions, shadows, strict=True))
    }
    return CallRecord(
        begin=start,
        pair_id=0xABC,
        trace=trace,
        experiment=settings,
        method_map=method_map(start.method, settings.protocol),
        live=live.observation(21),
        requests=list(requests),
        requests_complete=complete,
        shadows=seen,
    )
