"""Legs bear whether their target was warming up, by a rule that outlives no configuration."""

from __future__ import annotations

from typing import Any

from support.engines import Mirror, mirror
from support.experiments import experiment, target
from support.records import MONOTONIC

from shadowmesh.mirror.legs import assemble
from shadowmesh.names import DropReason
from shadowmesh.policy.plan import Admission

SECOND = 1_000_000_000
BOTH = (Admission("candidate", 1.0), Admission("control", 1.0))


def two(**changes: Any) -> Any:
    return experiment(target(warm_up={"calls": 2}), target("control", kind="control"), **changes)


async def played(mirrored: Mirror, *calls: int, **changes: Any) -> None:
    """Play calls a second apart, one after the other."""
    for call in calls:
        at_ns = MONOTONIC + call * SECOND
        mirrored.unary(call, at_ns=at_ns, **changes)
        mirrored.done(call)
        await mirrored.recorded(len(mirrored.records) + 1)


def said(mirrored: Mirror) -> list[tuple[bool, ...]]:
    """Return of each call what its shadow legs say."""
    found = []
    for record in mirrored.records:
        ((live, shadows, _),) = assemble(record, new_span_id=lambda: 1, digest_key=b"k")
        assert not live.warm_up
        found.append(tuple(shadow.warm_up for shadow in shadows))
    return found


async def test_the_first_calls_of_a_target_are_of_its_warm_up_and_of_no_other_target() -> None:
    async with mirror(two()) as mirrored:
        await played(mirrored, 1, 2, 3, admissions=BOTH)
        assert said(mirrored) == [(True, False), (True, False), (False, False)]


async def test_a_reload_that_changes_the_experiment_begins_it_anew_and_another_does_not() -> None:
    async with mirror(two()) as mirrored:
        await played(mirrored, 1, 2, admissions=BOTH)
        mirrored.reload(two(), experiment(name="other"))
        await played(mirrored, 3, admissions=BOTH)
        mirrored.reload(two(version="2"))
        await played(mirrored, 4, admissions=BOTH)
        assert [candidate for candidate, _ in said(mirrored)] == [True, True, False, True]


async def test_what_is_shed_meanwhile_is_of_it_too() -> None:
    async with mirror(experiment(target(warm_up={"time": "5s"}))) as mirrored:
        shed = (Admission("candidate", 1.0, DropReason.QUEUE_FULL),)
        await played(mirrored, 1)
        await played(mirrored, 2, 8, admissions=shed)
        await played(mirrored, 9)
        assert said(mirrored) == [(True,), (True,), (False,), (False,)]
