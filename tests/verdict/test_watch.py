"""A candidate that just became worse raises an alarm, once; an equal one hardly ever does."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from support.columns import START_NS, drawn, ledger_of

from shadowmesh.verdict.facts import PairColumns, State
from shadowmesh.verdict.ledger import MINUTE_NS, Ledger
from shadowmesh.verdict.settings import CriteriaSettings, ErrorSettings, LatencySettings
from shadowmesh.verdict.watch import Alarm, Watch

P95 = LatencySettings().name
HOUR_NS = 60 * MINUTE_NS


def hour(number: int, pairs: int = 4000, **changes: float) -> PairColumns:
    """Return the pairs of one hour after the other."""
    columns = drawn(pairs, seed=number, minutes=60, **changes)
    return replace(columns, dispatched_ns=columns.dispatched_ns + number * HOUR_NS)


def fed(watch: Watch, *hours: PairColumns, ledger: Ledger | None = None) -> list[Alarm]:
    """Feed one fold after the other, and return all alarms."""
    ledger = ledger or Ledger()
    alarms = []
    for columns in hours:
        watch.add(columns)
        ledger.add(columns)
        alarms += watch.settle([ledger])
    return alarms


def test_an_equal_candidate_raises_none() -> None:
    watch = Watch(CriteriaSettings())
    assert fed(watch, *map(hour, range(10))) == []
    assert watch.levels().keys() == {"errors", P95}
    assert all(0 < level < 1 for level in watch.levels().values())


def test_one_that_begins_to_fail_raises_one_and_begins_anew() -> None:
    watch = Watch(CriteriaSettings())
    alarms = fed(watch, hour(0), hour(1), hour(2, shadow_errors=0.2))
    assert [alarm.finding for alarm in alarms] == ["errors"]
    assert START_NS + 2 * HOUR_NS < alarms[0].at_ns < START_NS + 3 * HOUR_NS
    assert watch.levels()["errors"] == 0


def test_one_that_becomes_slow_raises_one_of_that_criterion() -> None:
    assert {alarm.finding for alarm in fed(Watch(CriteriaSettings()), hour(0), hour(1, ratio=1.8))} == {P95}


def test_more_errors_than_live_within_the_margin_are_none() -> None:
    wide = CriteriaSettings(errors=ErrorSettings(margin=0.3))
    worse = [hour(number, shadow_errors=0.1) for number in range(5)]
    assert fed(Watch(wide), *worse) == []
    assert fed(Watch(CriteriaSettings()), *worse) != []


def test_where_nothing_ever_fails_the_level_does_not_creep_up() -> None:
    watch = Watch(CriteriaSettings(errors=ErrorSettings(mode="strict")), run_length=1e5)
    fine = hour(0, 50_000, live_errors=0, shadow_errors=0)
    later = (replace(fine, dispatched_ns=fine.dispatched_ns + number * HOUR_NS) for number in range(4))
    assert fed(watch, *later) == []
    assert 0.1 < watch.levels()["errors"] < 0.5


def test_while_things_stay_bad_one_alarm_in_a_while_is_news() -> None:
    watch = Watch(CriteriaSettings(), repeat_ns=2 * HOUR_NS)
    alarms = fed(watch, *(hour(number, shadow_errors=0.5) for number in range(5)))
    assert [alarm.news for alarm in alarms] == [True, False, True, False, True]


def test_batches_of_a_fold_are_fed_in_the_order_of_dispatch_and_late_pairs_not_at_all() -> None:
    calm, bad = hour(0), hour(1, shadow_errors=0.2)
    shuffled = np.random.default_rng(0).permutation(8000)
    one, other = Watch(CriteriaSettings()), Watch(CriteriaSettings())
    for part in (calm, bad):
        one.add(part)
    for half in (bad, calm):
        other.add(half.where(shuffled[shuffled < len(half)]))
    ledger = ledger_of(calm)
    assert one.settle([ledger]) == other.settle([ledger])
    assert one.state() == other.state()
    before = one.state()
    assert fed(one, calm, bad, ledger=ledger) == []
    assert one.state()["detectors"] == before["detectors"]


def test_a_watch_goes_on_where_it_was_written_down() -> None:
    one, other, ledger = Watch(CriteriaSettings()), Watch(CriteriaSettings()), Ledger()
    fed(one, hour(0), hour(1, shadow_errors=0.01), ledger=ledger)
    other.restore(json.loads(json.dumps(one.state())))
    more = hour(2, shadow_errors=0.2)
    one.add(more)
    other.add(more)
    assert one.settle([ledger]) == other.settle([ledger]) != []
    assert one.state() == other.state()


@pytest.mark.parametrize(
    "state", [None, [], {}, {"fed_ns": "x"}, {"fed_ns": 1, "places": [], "told_ns": {}, "detectors": {}}]
)
def test_a_damaged_state_is_refused(state: object) -> None:
    with pytest.raises(ValueError, match=r"watch|int"):
        Watch(CriteriaSettings()).restore(state)


def test_what_was_not_sampled_says_nothing() -> None:
    skipped = hour(0)
    skipped.shadow.state[:] = State.SKIPPED
    watch = Watch(CriteriaSettings())
    assert fed(watch, skipped) == []
    assert watch.levels() == {"errors": 0, P95: 0}
