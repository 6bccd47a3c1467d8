"""A live side and whoever takes what it has handed over, as an engine would, when a test says so."""

from __future__ import annotations

from typing import Any

from support.experiments import CONVERSE, GENERATE, experiment, target

from shadowmesh.mirror.admission import HandOver
from shadowmesh.mirror.arrivals import Arrivals
from shadowmesh.mirror.carrier import MirrorSettings
from shadowmesh.mirror.frames import Begin, Credit, Frame, Outcome
from shadowmesh.mirror.live import LiveSide
from shadowmesh.mirror.tap import Room, Tap
from shadowmesh.names import Decision
from shadowmesh.policy.experiment import ExperimentSettings
from shadowmesh.policy.funnel import FunnelKey
from shadowmesh.rpc import Arity
from shadowmesh.telemetry.faults import Faults
from shadowmesh.testing import FakeClock

LLAMA = experiment(target("a1"), target("a2", rate=0), name="a", when={"models": ["llama-*"]})
STICKY = experiment(
    target("b", rate=0.5), name="b", when={"models": ["mistral"]}, sampling={"by": {"field": "request_id"}}
)
REST = experiment(target("r", max_in_flight=2), name="r")


class HandOvers:
    """A live side, whatever it has handed over, and somebody who takes it as an engine would."""

    def __init__(self, *experiments: ExperimentSettings, at_once: bool = False, **mirror: Any) -> None:
        """Begin; ``at_once``: what is handed over is taken before the hand-over returns."""
        settings = MirrorSettings.model_validate({"harm_guard": {"enabled": False}} | mirror)
        self.clock = FakeClock()
        self.live = LiveSide(experiments, settings, faults=Faults(), monotonic_ns=self.clock)
        self.live.attach(self)
        self.arrivals = Arrivals(self.live.admit, settings.queue_items)
        self.box: list[HandOver] = []
        self.at_once = at_once
        self.known: dict[int, list[Frame]] = {}
        self.strange: list[Frame] = []

    # --- as a carrier ----------------------------------------------------------------------------------------------

    bound = True

    def start(self) -> None: ...

    def offer(self, frame: HandOver, room: Room) -> bool:
        self.box.append(frame)
        if self.at_once:
            self.take()
        return True

    def reload(self, frame: Frame) -> None: ...

    def queued(self) -> int:
        return len(self.box)

    async def drain(self, grace: float) -> None: ...

    def drain_blocking(self, grace: float) -> None: ...

    def forget(self) -> None: ...

    # --- as an engine ----------------------------------------------------------------------------------------------

    def take(self, most: int | None = None) -> None:
        taken, self.box = self.box[:most], self.box[len(self.box) if most is None else most :]
        handed = iter(taken)
        while self.arrivals.pass_on(handed, self.feed):
            pass

    def feed(self, frame: Frame) -> None:
        if isinstance(frame, Begin):
            assert frame.call not in self.known
            self.known[frame.call] = [frame]
        elif frame.call in self.known:
            self.known[frame.call].append(frame)
        else:
            # As engine and worker do with what they do not know.
            self.strange.append(frame)
            self.give_back(frame)

    def give_back(self, *frames: Frame) -> None:
        for frame in frames:
            self.live.receive(Credit(frame.call, getattr(frame, "pages", 0)))

    def settle(self) -> None:
        """Take everything, and let every call that began come to its end."""
        self.take()
        self.arrivals.end(self.feed)
        for frames in self.known.values():
            begin = frames[0]
            assert isinstance(begin, Begin)
            for admission in begin.admissions:
                if not admission.drop_reason:
                    self.live.receive(Outcome(begin.call, begin.experiment, admission.target))
            self.give_back(*frames)

    # --- as a server -----------------------------------------------------------------------------------------------

    def call(self, data: bytes | None = None, *, metadata: Any = ()) -> Tap:
        """Open a call, of one request message or of a stream of them."""
        method, arity = (GENERATE, Arity.UNARY_UNARY) if data is not None else (CONVERSE, Arity.STREAM_STREAM)
        ticket = self.live.decide(method, metadata)
        assert ticket is not None
        assert ticket.undecided is not None
        return self.live.begin(ticket, method, arity, metadata, data, None)

    def lines(self) -> dict[FunnelKey, int]:
        return self.live.figures.funnel()


def line(experiment: str, target: str, decision: Decision, reason: str = "") -> FunnelKey:
    return FunnelKey(experiment, target, decision.value, reason)


MIRRORED, DROPPED, DISABLED, NOT_SAMPLED = (
    Decision.MIRRORED,
    Decision.DROPPED,
    Decision.DISABLED,
    Decision.NOT_SAMPLED,
)
