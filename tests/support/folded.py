"""What tests of folding share: pairs of one candidate, a whole fold, and sums that are equal when their evidence is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from support.legs import SECOND, T0, live, shadow
from support.stored_pairs import ended

from shadowmesh.store.records import PairRecord
from shadowmesh.store.store import Store
from shadowmesh.verdict.ledger import Ledger
from shadowmesh.verdict.records import EvidenceKey

KEY = EvidenceKey(experiment="summaries", target="candidate", target_digest="t1", config_digest="c1")
ALWAYS = 2**63 - 1
"""No row was dispatched later."""


def at(seconds: float) -> int:
    """Return the moment so many seconds after T0."""
    return T0 + round(seconds * SECOND)


def pair(
    pair_id: str,
    *,
    dispatched: float = 0.0,
    seconds: float = 0.2,
    key: EvidenceKey = KEY,
    targets: tuple[str, ...] = (),
    target_kind: str = "candidate",
    **changes: Any,
) -> PairRecord:
    """Return a pair of a key, dispatched so long after T0, whose shadow took ``seconds`` and its live leg 0.2 s."""
    common = {
        "experiment": key.experiment,
        "config_digest": key.config_digest,
        "started_ns": at(dispatched),
        **changes,
    }
    live_leg = live(pair_id, targets=targets or (key.target,), ended_ns=at(dispatched + 0.2), **common)
    theirs = {"target_kind": target_kind, "target_digest": key.target_digest, "ended_ns": at(dispatched + seconds)}
    return ended(live_leg, shadow(pair_id, key.target, **theirs, **common))


def fold(store: Store, watermark_ns: int = ALWAYS, *, now_ns: int = 1) -> int:
    """Fold everything dispatched before a moment; return how many pairs."""
    pairs, more = 0, True
    while more:
        step = store.folding.begin(number=store.number, watermark_ns=watermark_ns)
        while step.read():
            continue
        folded = step.commit(now_ns=now_ns)
        pairs, more = pairs + folded.pairs, folded.more
    return pairs


def total(ledgers: Iterable[Ledger]) -> bytes:
    """Return the sum of ledgers as bytes, which are equal where the evidence is."""
    whole = Ledger()
    for ledger in ledgers:
        whole.merge(ledger)
    return whole.to_bytes()
