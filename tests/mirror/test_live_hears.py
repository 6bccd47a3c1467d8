"""What the live side makes of the words that come back from an engine."""

from __future__ import annotations

from support.experiments import experiment, target

from shadowmesh.mirror.carrier import MirrorSettings
from shadowmesh.mirror.frames import Extra, Left
from shadowmesh.mirror.live import LiveSide
from shadowmesh.names import Decision, DropReason
from shadowmesh.policy.budget import Remaining
from shadowmesh.policy.funnel import FunnelKey
from shadowmesh.policy.plan import Admission
from shadowmesh.telemetry.faults import Faults

LIMITED = experiment(target(budget={"per_hour": 30.0}))


def live_side() -> LiveSide:
    return LiveSide((LIMITED,), MirrorSettings(), faults=Faults())


def said(live: LiveSide, left: float, worker: int) -> None:
    live.receive(Left(0, Remaining("summaries", "candidate", "per_hour", "USD", 15.0, left), worker))


def test_exchanges_beyond_the_first_are_counted_as_the_call_was_at_each_target() -> None:
    live = live_side()
    live.receive(Extra(1, "summaries", (Admission("a", 1.0), Admission("b", 0.5, DropReason.CAPTURE_FULL)), 3))
    assert live.figures.funnel() == {
        FunnelKey("summaries", "a", Decision.MIRRORED, ""): 3,
        FunnelKey("summaries", "b", Decision.DROPPED, "capture_full"): 3,
    }


def test_what_is_left_is_the_sum_over_the_workers_until_a_reload_removes_the_limit() -> None:
    live = live_side()
    said(live, 4.0, 0)
    said(live, 2.5, 1)
    assert live.figures.remaining() == [Remaining("summaries", "candidate", "per_hour", "USD", 30.0, 6.5)]
    live.reload((experiment(target()),))
    assert live.figures.remaining() == []


def test_a_forked_process_knows_nothing_of_what_its_parents_engines_had_left() -> None:
    live = live_side()
    said(live, 4.0, 0)
    live.forked()
    assert live.figures.remaining() == []
    said(live, 15.0, 0)
    assert [one.left for one in live.figures.remaining()] == [15.0]
