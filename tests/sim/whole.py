"""The whole verdict over a ledger that grows, asked again and again as a gate would."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from sim.draws import Floats, Random
from sim.looking import first
from sim.worlds import World

from shadowmesh.verdict.facts import PairColumns
from shadowmesh.verdict.ledger import Ledger
from shadowmesh.verdict.records import Answer, EvidenceKey
from shadowmesh.verdict.settings import CriteriaSettings
from shadowmesh.verdict.verdict import judge

_KEY = EvidenceKey(experiment="simulated", target="candidate", target_digest="a" * 12, config_digest="b" * 12)
_DEFAULTS = CriteriaSettings()


def answered_at(
    random: Random,
    runs: int,
    *,
    world: World,
    answer: Answer,
    pairs: int,
    step: int = 500,
    unseen: int = 0,
    methods: int = 1,
    criteria: CriteriaSettings = _DEFAULTS,
) -> Floats:
    """
    Return the pairs until the verdict is ``answer`` for the first time, whatever it was before.

    Args:
        step: pairs between two looks.
        unseen: pairs before the first look.
        methods: strata that the pairs belong to in turn.
    """
    decided = np.empty(runs)
    for run in range(runs):
        looks = growing(world.draw(random, pairs), step, unseen=unseen, methods=methods)
        decided[run] = first((size, _judged(ledgers, criteria) is answer) for size, ledgers in looks)
    return decided


def growing(
    pairs: PairColumns, step: int, *, unseen: int = 0, methods: int = 1
) -> Iterator[tuple[int, dict[str, Ledger]]]:
    """Yield how many pairs were added so far, and the ledgers by stratum, at each look."""
    ledgers = {str(method): Ledger() for method in range(methods)}
    numbers = np.arange(len(pairs))
    for end in range(step, len(pairs) + 1, step):
        new = (numbers >= end - step) & (numbers < end)
        for method, ledger in enumerate(ledgers.values()):
            ledger.add(pairs.where(new & (numbers % methods == method)))
        if end >= unseen:
            yield end, ledgers


def _judged(ledgers: dict[str, Ledger], criteria: CriteriaSettings) -> Answer:
    return judge(_KEY, ledgers, criteria, now_ns=max(ledger.last_ns for ledger in ledgers.values())).answer
