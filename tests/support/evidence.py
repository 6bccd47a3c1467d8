"""Stores with evidence in them, and a configuration file that is about it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from support.legs import SECOND, T0, live, shadow
from support.stored_pairs import ended

from shadowmesh.config import load, plans
from shadowmesh.store.records import PairRecord
from shadowmesh.store.settings import StoreSettings
from shadowmesh.store.store import Store
from shadowmesh.verdict.plan import Plan

SMALL: dict[str, Any] = {
    "latency": [{"ratio": 1.5}],
    "errors": {"margin": 0.05},
    "coverage": {"pairs": 500, "min_blocks": 5},
}
"""Criteria that a thousand pairs of half an hour can meet."""


def configured(directory: Path, *candidates: str, **changes: Any) -> Path:
    """Write a file with one experiment of :data:`SMALL` criteria; ``candidate`` alone, unless more are named."""
    targets = [{"name": name, "address": "127.0.0.1:1"} for name in candidates or ("candidate",)]
    targets.append({"name": "control", "kind": "control", "address": "127.0.0.1:2"})
    experiment = {"name": "summaries", "methods": ["*"], "targets": targets, "criteria": SMALL, **changes}
    file = directory / "shadowmesh.yaml"
    file.write_text(yaml.safe_dump({"experiments": [experiment]}), encoding="utf-8")
    return file


def plan_of(file: Path) -> Plan:
    """Return the plan of its one experiment."""
    (plan,) = plans(load(file))
    return plan


def pairs(
    count: int,
    *,
    target: str = "candidate",
    minutes: int = 30,
    slower: float = 1.0,
    failing: int = 0,
    start: int = 0,
    **facts: Any,
) -> list[PairRecord]:
    """
    Return pairs of one target, dispatched evenly over some minutes.

    Args:
        slower: how many times the live leg's time the shadow takes.
        failing: one in so many shadows fails; 0 for none.
        start: the first one's number, which names it.
        facts: further ones of both legs, such as digests.
    """
    made = []
    for number in range(start, start + count):
        began = T0 + (number - start) * minutes * 60 * SECOND // count
        took = (100 + 3 * (number % 50)) * SECOND // 1000
        common = {"started_ns": began, **facts}
        failed = {"status": "INTERNAL"} if failing and number % failing == 0 else {}
        made.append(
            ended(
                live(f"{target}-{number}", targets=(target,), ended_ns=began + took, **common),
                shadow(f"{target}-{number}", target, ended_ns=began + round(took * slower), **common | failed),
            )
        )
    return made


def stored(url: str, *records: list[PairRecord]) -> str:
    """Put pairs into a store, make it where there is none, and return its URL."""
    with Store.open(StoreSettings.model_validate({"url": url}), name="one", instance="i", now_ns=T0) as store:
        for some in records:
            store.add(some, now_ns=T0)
    return url


def of(plan: Plan, target: str = "candidate") -> dict[str, Any]:
    """Return the digests of legs that were made under a plan."""
    return {"config_digest": plan.config_digest, "target_digest": plan.candidates[target]}
