"""The live side and the harm guard: what is timed, what is switched off, and how mirroring ends itself."""

from __future__ import annotations

import logging
from collections import Counter
from itertools import count

import pytest
from support.experiments import GENERATE, experiment, target

from shadowmesh.mirror.admission import HandOver, Opened
from shadowmesh.mirror.carrier import Carrier, MirrorSettings
from shadowmesh.mirror.frames import Frame, LiveDone
from shadowmesh.mirror.live import LiveSide
from shadowmesh.mirror.tap import Room
from shadowmesh.names import CallEnd, Decision, DropReason
from shadowmesh.rpc import Arity
from shadowmesh.telemetry.faults import Faults
from shadowmesh.testing import FakeClock

MS = 1_000_000
GUARD = {"slot": "10ms", "one_off_in": 4, "alpha": 0.01, "latency_floor": "1ms"}


class Taking:
    """A carrier that admits what it is given at once, and answers as an engine would."""

    bound = True

    def __init__(self) -> None:
        self.live: LiveSide | None = None
        self.opened = 0

    def start(self) -> None: ...

    def offer(self, frame: HandOver, room: Room) -> bool:
        assert self.live is not None
        if isinstance(frame, Opened):
            self.opened += 1
            begin = self.live.admit(frame)
            assert begin is not None
            self.live._credit.give(begin.pages)
            for state in frame.ticket.plan.states.values():
                state.tokens.give()
        elif isinstance(frame, LiveDone):
            self.live._credit.give(frame.pages)
        return True

    def reload(self, frame: Frame) -> None: ...

    def queued(self) -> int:
        return 0

    async def drain(self, grace: float) -> None: ...

    def drain_blocking(self, grace: float) -> None: ...

    def forget(self) -> None: ...


class World:
    """A live side under a clock of the test's own."""

    def __init__(self, **guard: object) -> None:
        self.clock = FakeClock()
        self.carrier = Taking()
        settings = MirrorSettings.model_validate({"harm_guard": {**GUARD, **guard}})
        self.live = LiveSide((experiment(target("a")),), settings, faults=Faults(), monotonic_ns=self.clock)
        carrier: Carrier = self.carrier
        self.live.attach(carrier)
        self.carrier.live = self.live
        self.number = count()

    def call(self, on_ms: float, off_ms: float, *, status: str = "OK") -> bool:
        """Make a call that takes longer where it is mirrored; return whether it was."""
        before = self.carrier.opened
        ticket = self.live.decide(GENERATE, ())
        if ticket is None:
            return False
        tap = self.live.begin(ticket, GENERATE, Arity.UNARY_UNARY, (), b"prompt", None)
        assert tap is not None
        mirrored = self.carrier.opened > before
        # Not all alike, so that a quantile is one.
        self.clock.now_ns += round((on_ms if mirrored else off_ms) * MS * (1 + next(self.number) % 7 / 20))
        tap.response(b"answer", self.clock())
        tap.done(self.clock(), status, CallEnd.COMPLETED)
        return mirrored

    def decided(self) -> Counter[tuple[str, str]]:
        return Counter({(key.decision, key.drop_reason): times for key, times in self.live.figures.funnel().items()})


def test_one_slot_in_so_many_is_off_its_calls_are_not_mirrored_and_the_funnel_says_so() -> None:
    world = World()
    mirrored = Counter(world.call(1, 1) for _ in range(4_000))
    assert world.decided() == {
        (Decision.MIRRORED, ""): mirrored[True],
        (Decision.DISABLED, DropReason.OFF_SLOT): mirrored[False],
    }
    assert 0.15 < mirrored[False] / 4_000 < 0.35
    assert world.live.guard.report.calls_on > world.live.guard.report.calls_off > 0
    assert world.live.guard.harm == ""
    assert world.live.credit_taken() == 0


def test_mirroring_that_slows_live_calls_stops_itself_for_good_and_says_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    with caplog.at_level(logging.WARNING, "shadowmesh"):
        calls = next((number for number in range(60_000) if not world.call(3, 1) and world.live.guard.harm), None)
        assert calls is not None, world.live.guard.report
        assert not any(world.call(3, 1) for _ in range(100))
    assert world.live.guard.harm == "latency"
    assert world.decided()[Decision.DISABLED, DropReason.HARM] >= 100
    assert [record.message for record in caplog.records] == [
        "mirroring has stopped itself: it harms live calls (latency)"
    ]


def test_mirroring_that_costs_less_than_the_margin_goes_on() -> None:
    world = World()
    for _ in range(6_000):
        world.call(1.02, 1)
    assert world.live.guard.harm == ""


def test_without_the_guard_no_slot_is_off() -> None:
    world = World(enabled=False)
    assert all(world.call(9, 1) for _ in range(500))
    assert world.live.guard.harm == ""
