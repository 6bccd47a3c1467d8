"""
Calls of which only the request tells whose they are, told and taken in any interleaving.

What must hold: each ends in one line per target of at least one experiment, which says what the request said; every
page and every place in the limits is given back; and what nobody wants is kept by nobody.
"""

from __future__ import annotations

from collections import Counter
from itertools import count
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from support.experiments import experiment, target
from support.hand_overs import DISABLED, DROPPED, LLAMA, MIRRORED, NOT_SAMPLED, STICKY, HandOvers, line
from support.wire import request

from shadowmesh.mirror.admission import Opened
from shadowmesh.mirror.tap import Tap
from shadowmesh.names import CallEnd, DropReason
from shadowmesh.policy.experiment import ExperimentSettings
from shadowmesh.policy.funnel import FunnelKey
from shadowmesh.policy.sampling import position, salt_of

LARGEST = 2000
# Enough places for all calls of a test.
EXPERIMENTS = (LLAMA, STICKY, experiment(target("r"), name="r"))
MODELS = ("llama-3", "mistral", "gpt", "")
MESSAGES = st.one_of(
    st.builds(lambda model, user: request(user, model=model), st.sampled_from(MODELS), st.sampled_from("uvwxyz")),
    st.just(b"\xff"),
    st.just(request(prompt="x" * (LARGEST + 1))),
)
STEPS = st.one_of(
    st.tuples(st.just("open"), st.one_of(st.none(), MESSAGES)),
    st.tuples(st.just("request"), st.integers(0, 5), MESSAGES),
    st.tuples(st.just("respond"), st.integers(0, 5), st.integers(1, 70)),
    st.tuples(st.sampled_from(["half_close", "lose", "end"]), st.integers(0, 5)),
    st.tuples(st.just("take"), st.integers(1, 6)),
)


class Expected:
    """What the funnel must say, worked out from the order in which each call was told of."""

    def __init__(self, *experiments: ExperimentSettings) -> None:
        self.experiments = experiments
        self.lines: Counter[FunnelKey] = Counter()
        self.by_chance: Counter[str] = Counter()

    def add(self, data: bytes | None, reason: str = "") -> None:
        """Account for a call with this (first) request message, or shed unread."""
        if reason:
            self._shed(self.experiments[0], reason)
            return
        read = data is not None and data != b"\xff"
        fields = data or b""
        for one in self.experiments:
            if not one.when.models:
                self._wanted(one, data)
                return
            if not read:
                self._shed(one, "unknown_model")
                continue
            wanted = {"a": "llama-3", "b": "mistral"}[one.name]
            if wanted.encode() in fields:
                self._wanted(one, data)
                return
            for each in one.targets:
                self.lines[line(one.name, each.name, DISABLED, "other_model")] += 1

    def _shed(self, one: ExperimentSettings, reason: str) -> None:
        for each in one.targets:
            if 0 < each.rate < 1:
                self.by_chance[one.name] += 1
            else:
                self.lines[line(one.name, each.name, *((DROPPED, reason) if each.rate else (NOT_SAMPLED, "")))] += 1

    def _wanted(self, one: ExperimentSettings, data: bytes | None) -> None:
        for each in one.targets:
            if 0 < each.rate < 1:
                assert data is not None
                sampled = position(salt_of(one.name), data[2:3]) < each.rate
            else:
                sampled = each.rate == 1
            self.lines[line(one.name, each.name, MIRRORED if sampled else NOT_SAMPLED)] += 1


class Story:
    """What happens to calls, one thing after the other, and what has to come of it."""

    def __init__(self, experiments: tuple[ExperimentSettings, ...]) -> None:
        self.them = HandOvers(*experiments, max_message_bytes=LARGEST)
        self.expected = Expected(*experiments)
        self._times = count(1)
        self._taps: list[Tap] = []
        # Streams of which nobody has heard a request yet.
        self._silent: list[Tap] = []

    def open(self, data: bytes | None) -> None:
        tap = self.them.call(data)
        self._taps.append(tap)
        if data is None:
            self._silent.append(tap)
        else:
            self.expected.add(data, DropReason.OVERSIZE if len(data) > LARGEST else "")

    def take(self, most: int) -> None:
        self.them.take(most)

    def request(self, which: int, data: bytes) -> None:
        if (tap := self._tap(which)) is not None:
            self._heard(tap, data if len(data) <= LARGEST else None)
            tap.request(data, next(self._times))

    def respond(self, which: int, messages: int) -> None:
        if (tap := self._tap(which)) is not None:
            for _ in range(messages):
                tap.response(b"answer", next(self._times))

    def half_close(self, which: int) -> None:
        if (tap := self._tap(which)) is not None:
            self._heard(tap, None)
            tap.request_end(next(self._times))

    def lose(self, which: int) -> None:
        if (tap := self._tap(which)) is not None:
            self._heard(tap, None)
            tap.requests_lost()

    def end(self, which: int) -> None:
        if (tap := self._tap(which)) is not None:
            self._heard(tap, None)
            tap.done(next(self._times), "OK", CallEnd.COMPLETED)

    def settle(self) -> None:
        """End the taking, and after that every call."""
        for _ in self._silent:
            self.expected.add(None, DropReason.SHUTDOWN)
        self.them.settle()
        for tap in self._taps:
            tap.done(next(self._times), "OK", CallEnd.COMPLETED)
        late = [frame for frame in self.them.box if not isinstance(frame, Opened)]
        self.them.take()
        self.them.give_back(*(frame for frame in late if frame.call in self.them.known))

    def _tap(self, which: int) -> Tap | None:
        return self._taps[which % len(self._taps)] if self._taps else None

    def _heard(self, tap: Tap, data: bytes | None) -> None:
        if tap in self._silent:
            self._silent.remove(tap)
            self.expected.add(data)


@settings(max_examples=300, deadline=None)
@given(st.lists(STEPS, max_size=60), st.permutations(EXPERIMENTS[:2]), st.integers(0, 2))
def test_every_call_is_accounted_for_and_everything_is_given_back(
    steps: list[Any], asking: list[ExperimentSettings], how_many: int
) -> None:
    experiments = tuple(asking[:how_many] or EXPERIMENTS)
    story = Story(experiments)
    for name, *facts in steps:
        getattr(story, name)(*facts)
    story.settle()
    found, expected = Counter(story.them.lines()), story.expected
    by_chance: Counter[str] = Counter()
    for key, times in (found - expected.lines).items():
        assert key.decision in (NOT_SAMPLED, DROPPED)
        by_chance[key.experiment] += times
    assert not expected.lines - found
    assert by_chance == expected.by_chance
    live = story.them.live
    assert live.credit_taken() == 0
    assert set(live.figures.active().values()) <= {0}
    assert len(story.them.arrivals) == 0
    assert live.faults.totals() == {}
