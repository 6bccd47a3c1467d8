"""Stores with enough traffic to be judged: an hour of pairs of a candidate, some of them bad, some with their texts."""

from __future__ import annotations

from typing import Any

import numpy as np
from support.legs import SECOND, T0, live, shadow, usage
from support.stored_pairs import ended
from support.stored_texts import compared, said_by

from shadowmesh.model import Cost
from shadowmesh.names import CostSource
from shadowmesh.processor import checkpoint
from shadowmesh.processor.funnel import FunnelBook, FunnelPoint, FunnelSeries
from shadowmesh.store.records import Content, PairRecord
from shadowmesh.store.settings import StoreSettings
from shadowmesh.store.store import Store

EXPERIMENT, TARGET = "summaries", "candidate"
_HOUR = 3600
_DIGESTS: dict[str, Any] = {"config_digest": "c0ffee000001"}


def judged_store(
    url: str, *, pairs: int = 1500, ratio: float = 1.1, failing: float = 0.02, content: bool = False
) -> str:
    """
    Fill a new store, as a processor that has ended leaves it, and return its URL.

    Args:
        ratio: how many times as long as live the shadow takes.
        failing: the share of shadows that fail.
        content: whether the texts of every tenth pair were captured and compared.
    """
    random = np.random.default_rng(5)
    seconds = random.lognormal(np.log(0.4), 0.5, pairs)
    noise = ratio * random.lognormal(0, 0.1, pairs)
    failed = random.random(pairs) < failing
    records = [
        _pair(place, at=place * _HOUR / pairs, live_s=float(seconds[place]), factor=float(noise[place]),
              failed=bool(failed[place]))
        for place in range(pairs)
    ]  # fmt: skip
    with Store.open(StoreSettings.model_validate({"url": url}), name="one", instance="i", now_ns=T0) as store:
        store.add(records, now_ns=T0 + _HOUR * SECOND)
        store.add([ended(live("lost", **_DIGESTS), None)], now_ns=T0 + _HOUR * SECOND)
        if content:
            store.add_content([text for place in range(0, pairs, 10) for text in _texts(place)], now_ns=T0)
            compared(url)
        store.save_checkpoint(_state(pairs), number=store.number, position=0, now_ns=T0)
        store.heartbeat(now_ns=T0, watermark_ns=None)
    return url


def _pair(place: int, *, at: float, live_s: float, factor: float, failed: bool) -> PairRecord:
    started = T0 + round(at * SECOND)
    common: dict[str, Any] = {"started_ns": started, "probability": 0.25, **_DIGESTS}
    took = 0.002 if failed else live_s * factor
    outcome = {"status": "RESOURCE_EXHAUSTED", "complete": False} if failed else {"cost": _cost(0.001)}
    return ended(
        live(
            f"p{place}",
            ended_ns=started + round(live_s * SECOND),
            fields=usage(800, 200),
            cost=_cost(0.002),
            **common,
        ),
        shadow(
            f"p{place}",
            ended_ns=started + round(took * SECOND),
            fields=usage(None, None) if failed else usage(800, 210),
            target_digest="7a96e7000001",
            **outcome,
            **common,
        ),
    )


def _cost(amount: float) -> Cost:
    return Cost(amount=amount, currency="USD", source=CostSource.LOCAL.value)


def _texts(place: int) -> list[Content]:
    """Return the answers of one pair; one in five differs, and holds what would like to be more than text."""
    dose = "50 mg <script>alert(1)</script>" if place % 50 == 0 else "5 mg"
    return said_by(f"p{place}", "Take 5 mg of it once a day.", f"Take {dose} of it once a day.")


def _state(pairs: int) -> bytes:
    """Return what a processor saves that was told of as many mirrored exchanges and of those not sampled."""
    funnel = FunnelBook()
    for decision, number in (("mirrored", pairs + 1), ("not_sampled", pairs * 3)):
        series = FunnelSeries("instance", EXPERIMENT, TARGET, decision)
        funnel.add(FunnelPoint(series, cumulative=True, started_ns=T0, at_ns=T0 + 1, value=number))
    return checkpoint.to_bytes(checkpoint.Snapshot(0, -1, {"funnel": funnel.state()}))
