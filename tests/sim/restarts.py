"""
Again until it is green: a candidate that is begun anew, time after time, under another configuration.

The store tells which attempt each of them is, and the verdict gives it what is left of alpha: a half, a quarter, ...
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from sim.draws import Floats, Random, outcomes
from sim.looking import shown_at
from sim.means import SCORES
from sim.outcome import NEVER
from sim.worlds import World
from support.folded import KEY, at, pair

from shadowmesh.evidence import MeanEvidence
from shadowmesh.store.evidence import EvidenceBook
from shadowmesh.store.settings import StoreSettings
from shadowmesh.store.store import Store
from shadowmesh.verdict.ledger import Ledger
from shadowmesh.verdict.records import Answer, Verdict
from shadowmesh.verdict.settings import CriteriaSettings
from shadowmesh.verdict.verdict import judge

_CRITERIA = CriteriaSettings.model_validate(
    {"latency": [], "errors": {"enabled": False}, "similarity": {"enabled": False}, "judge": {"enabled": True},
     "coverage": {"pairs": 500, "min_blocks": 5}}
)  # fmt: skip


def green_at(
    random: Random, runs: int, *, times: int, halved: bool, pairs: int = 10_000, step: int = 100, won: float = 0.47
) -> Floats:
    """
    Return the pairs, of all attempts together, until one of them is GO by its win rate, of which there are no ties.

    Args:
        times: how often the candidate is begun, with ``pairs`` each.
        halved: whether each is the attempt that the store says, or the first, as a straw man has it.
    """
    ledger = Ledger()
    ledger.add(World().draw(np.random.default_rng(0), 1_000))
    evidence = MeanEvidence(SCORES, _CRITERIA.judge.least, side=1)
    # Where the answer changes its evidence has to cross what is left of alpha, so the rest need not be asked.
    alphas = [_judged(ledger, (0, 0, 0), attempt if halved else 0).alpha for attempt in attempts(times)]
    decided = np.full(runs, NEVER)
    for run in range(runs):
        counts = outcomes(random, runs=times, looks=pairs // step, step=step, shares=(won, 0.0, 1 - won))
        for number, alpha in enumerate(alphas):
            (at,) = shown_at(counts[number : number + 1], evidence, step=step, alpha=alpha)
            if at < NEVER:
                wins = counts[number, int(at) // step - 1].tolist()
                attempt = attempts(times)[number] if halved else 0
                assert _judged(ledger, wins, attempt).answer is Answer.GO
                decided[run] = number * pairs + at
                break
    return decided


def _judged(ledger: Ledger, wins: Sequence[int], attempt: int) -> Verdict:
    return judge(KEY, {"": ledger}, _CRITERIA, attempt=attempt, now_ns=ledger.last_ns, wins=wins)


@cache
def attempts(times: int) -> tuple[int, ...]:
    """Return what the store says of each beginning at its time, by its own rows and its own reading of them."""
    said = []
    with TemporaryDirectory() as directory:
        settings = StoreSettings.model_validate({"url": f"sqlite:///{Path(directory) / 'pairs.db'}"})
        with Store.open(settings, name="one", instance="i", now_ns=at(0)) as store:
            for number in range(times):
                key = replace(KEY, config_digest=f"c{number}")
                store.add([pair(f"p{number}", dispatched=number, key=key)], now_ns=at(number))
                store.heartbeat(now_ns=at(number), watermark_ns=at(times))
                said.append(EvidenceBook.read(store.reader, now_ns=at(times)).attempt(key))
    return tuple(said)
