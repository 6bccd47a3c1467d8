"""The whole verdict over a ledger that grows, asked again and again as a gate would."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import repeat

import numpy as np
from sim.draws import Floats, Ints, Random
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
    with_control: bool = True,
) -> Floats:
    """
    Return the pairs until the verdict is ``answer`` for the first time, whatever it was before.

    Args:
        step: pairs between two looks.
        unseen: pairs before the first look.
        methods: strata that the pairs belong to in turn.
        with_control: whether the control's legs are looked at, where the world has a control.
    """
    decided = np.empty(runs)
    for run in range(runs):
        drawn, won = world.draw(random, pairs), _won(world, random, pairs)
        looks = _answers(drawn, won, step, unseen, methods, criteria, with_control=with_control)
        decided[run] = first((size, judged is answer) for size, judged in looks)
    return decided


def _answers(
    pairs: PairColumns,
    won: Ints,
    step: int,
    unseen: int,
    methods: int,
    criteria: CriteriaSettings,
    *,
    with_control: bool,
) -> Iterator[tuple[int, Answer]]:
    """Yield the pairs at each look, and the answer."""
    controls: Iterable[dict[str, Ledger] | None] = repeat(None)
    if with_control and pairs.control is not None:
        beside = replace(pairs, shadow=pairs.control, control=None, texts=None)
        controls = (ledgers for _, ledgers in growing(beside, step, unseen=unseen))
    for (size, ledgers), control in zip(growing(pairs, step, unseen=unseen, methods=methods), controls, strict=False):
        verdict = judge(
            _KEY,
            ledgers,
            criteria,
            control=control,
            now_ns=max(ledger.last_ns for ledger in ledgers.values()),
            wins=np.bincount(won[:size], minlength=4)[:3].tolist(),
        )
        yield size, verdict.answer


def _won(world: World, random: Random, pairs: int) -> Ints:
    return world.judgements(random, pairs) if world.judged else np.empty(0, np.int64)


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
