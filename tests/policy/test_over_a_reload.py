"""What policies know of calls outlives a reload that leaves it true: no limit is passed by editing a file."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from support.experiments import GENERATE, experiment, target

from shadowmesh.names import Decision, DropReason
from shadowmesh.policy.funnel import Counted, FunnelKey
from shadowmesh.policy.live_gate import LiveGate
from shadowmesh.policy.target_state import TargetState

SECOND = 1_000_000_000
FULL, FAST = DropReason.CONCURRENCY_LIMIT, DropReason.RATE_LIMIT


class Reloaded:
    """A gate of one target that is reloaded again and again."""

    def __init__(self, **policy: Any) -> None:
        self.funnel: Counter[Counted] = Counter()
        self._gate = LiveGate((experiment(target(**policy)),), self._count)

    def _count(self, key: Counted) -> None:
        self.funnel[key] += 1

    def reload(self, about: dict[str, Any] | None = None, **policy: Any) -> None:
        self._gate = LiveGate((experiment(target(**policy), **(about or {})),), self._count, before=self._gate)

    @property
    def state(self) -> TargetState:
        return self._gate.states["summaries", "candidate"]

    def take(self, times: int, now_ns: int = SECOND) -> list[str]:
        return [self.state.take(now_ns) for _ in range(times)]

    def give(self, times: int) -> None:
        self._gate.give_back("summaries", "candidate", times)

    def decide(self, *metadata: tuple[str, str]) -> bool:
        """Return whether a call is sampled; its key by chance is the same each time."""
        return self._gate.decide(GENERATE, metadata, lambda: b"key", lambda: SECOND) is not None


# --- places -------------------------------------------------------------------------------------------------------


def test_calls_that_run_at_a_server_count_under_its_new_cap_as_well() -> None:
    it = Reloaded(max_in_flight=2)
    assert it.take(2) == ["", ""]
    it.reload(max_in_flight=3)
    assert it.take(2) == ["", FULL]
    it.give(3)
    assert (it.state.tokens.taken, it.state.outstanding) == (0, 0)
    assert it.take(4) == ["", "", "", FULL]


def test_a_cap_that_is_lowered_below_what_runs_lets_nothing_through_until_enough_has_ended() -> None:
    it = Reloaded(max_in_flight=5)
    it.take(5)
    it.reload(max_in_flight=2)
    for running in (4, 3, 2):
        it.give(1)
        assert (it.take(1), it.state.outstanding) == ([FULL], running)
    it.give(1)
    assert it.take(2) == ["", FULL]


def test_reloads_in_a_row_make_no_places() -> None:
    it = Reloaded(max_in_flight=4)
    it.take(4)
    for cap in (5, 6, 4, 4):
        it.reload(max_in_flight=cap)
    assert it.take(1) == [FULL]
    it.give(4)
    assert it.take(5) == ["", "", "", "", FULL]


def test_calls_at_another_server_take_no_place_of_the_new_one() -> None:
    it = Reloaded(max_in_flight=2)
    it.take(2)
    it.reload(address="127.0.0.1:2", max_in_flight=2)
    assert it.take(3) == ["", "", FULL]
    it.give(2)
    assert it.take(1) == [FULL], "those were the other server's"


# --- the rate -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", [{}, {"rate": 0.5}, {"max_in_flight": 7}, {"deadline": "5s"}], ids=repr)
def test_a_burst_that_is_used_up_is_not_there_again_after_a_reload(change: dict[str, Any]) -> None:
    limits: dict[str, Any] = {"max_rate": 1.0, "burst": 2}
    it = Reloaded(**limits)
    assert it.take(3) == ["", "", FAST]
    it.reload(**limits, **change)
    assert it.take(1) == [FAST]
    assert it.take(2, 2 * SECOND) == ["", FAST]


def test_another_rate_begins_with_a_full_burst() -> None:
    it = Reloaded(max_rate=1.0, burst=2)
    it.take(3)
    it.reload(max_rate=2.0, burst=2)
    assert it.take(3) == ["", "", FAST]
    it.reload()
    assert it.take(10) == [""] * 10


# --- sampling and attempts ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", [{"by": "call"}, {"by": {"metadata": "x-user"}}])
def test_a_rate_that_is_raised_takes_whom_it_took_before_and_one_that_is_lowered_nobody_new(by: Any) -> None:
    users = [(("x-user", f"user {number}"),) for number in range(300)]
    it = Reloaded()
    taken = []
    for rate in (0.2, 0.5, 0.1):
        it.reload({"sampling": by}, rate=rate)
        taken.append({user for user in users if it.decide(*user)})
    low, high, least = taken
    assert least <= low <= high
    if by["by"] != "call":
        assert len(least) < len(low) < len(high) < len(users)


def test_an_attempt_is_known_after_a_reload_unless_it_asks_for_something_else() -> None:
    by_id = {"retries": {"keys": ["x-request-id"]}}
    first = ("x-request-id", "1")
    it = Reloaded()
    it.reload(by_id)
    assert it.decide(first)
    it.reload(by_id, rate=0.999)
    assert not it.decide(first)
    assert it.funnel == {FunnelKey("summaries", "candidate", Decision.DISABLED, DropReason.RETRY): 1}
    it.reload({"retries": {"keys": ["x-request-id"], "window": "10s"}})
    assert it.decide(first), "of another window nothing is remembered"
