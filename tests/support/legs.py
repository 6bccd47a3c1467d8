"""Legs for tests: one exchange with sensible defaults, of which a test names only what it is about."""

from __future__ import annotations

from typing import Any

from shadowmesh.model import Fields, Leg

SECOND = 1_000_000_000
T0 = 1_700_000_000 * SECOND


def live(pair_id: str = "p1", *, targets: tuple[str, ...] = ("candidate",), **changes: Any) -> Leg:
    """Return a live leg that succeeded in 0.2 s and expects ``targets``."""
    return _leg(
        pair_id,
        {"role": "live", "expected_targets": targets, "leg_count": 1 + len(targets), "span_id": 1, **changes},
    )


def shadow(pair_id: str = "p1", target: str = "candidate", **changes: Any) -> Leg:
    """Return the shadow leg of ``target`` that succeeded in 0.2 s."""
    span_id = 2 + sum(target.encode())
    return _leg(
        pair_id,
        {
            "role": "shadow",
            "target": target,
            "target_kind": "candidate",
            "leg_count": 2,
            "span_id": span_id,
            **changes,
        },
    )


def lasting(seconds: float) -> dict[str, Any]:
    """Return the times of a leg of this duration."""
    return {"started_ns": T0, "ended_ns": T0 + round(seconds * SECOND)}


def usage(input_tokens: int | None, output_tokens: int | None, **changes: Any) -> Fields:
    """Return the fields of a generate call with this usage."""
    return Fields(operation="chat", input_tokens=input_tokens, output_tokens=output_tokens, **changes)


def _leg(pair_id: str, changes: dict[str, Any]) -> Leg:
    facts: dict[str, Any] = {
        "experiment": "summaries",
        "pair_id": pair_id,
        "method": "shadowmesh.v1.Inference/Generate",
        "trace_id": 1 + int.from_bytes(pair_id.encode()[-15:], "big"),
        "end": "completed",
        "status": "OK",
        **lasting(0.2),
    }
    return Leg(**facts | changes)
