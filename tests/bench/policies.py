"""
Every policy at once, as a team sets it up that is careful: what the mode ``policies_on`` adds to the plain experiment.

Each is on and none sheds anything: limits, budgets and the time-box are far above the load and far away, so both modes
mirror the same calls. Calls are sampled by conversation, and at a rate of exactly 1 nobody would ask for it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

_ALMOST_ALL: Final = 0.999_999
_METHODS: Final = "/shadowmesh.v1.Inference/*"


def write(plain: dict[str, Any], directory: Path) -> Path:
    """Write the configuration with all it refers to into ``directory``, and return its path."""
    accounts, token = directory / "accounts", directory / "token"
    accounts.mkdir(exist_ok=True)
    token.write_text("of-the-candidate\n", encoding="utf-8")
    path = directory / "policies.json"
    path.write_text(json.dumps(with_policies(plain, accounts, token)), encoding="utf-8")
    return path


def with_policies(plain: dict[str, Any], accounts: Path, token: Path) -> dict[str, Any]:
    """
    Return the plain configuration with every policy on.

    Args:
        accounts: the directory of ``mirror.budget.state``.
        token: the file with the candidate's own credential.
    """
    (experiment,) = plain["experiments"]
    (target,) = experiment["targets"]
    policed = {
        **experiment,
        "when": {
            "metadata": [
                {"key": "x-tier", "equals": "paid"},
                {"key": "x-client", "prefix": "web/"},
                {"key": "x-replay", "present": False},
            ]
        },
        "sampling": {"by": {"metadata": "x-conversation-id"}},
        "retries": {"keys": ["idempotency-key"], "capacity": 65_536},
        "never": ["x-tenant-*"],
        "trust_marker": False,
        "effects": {"/shadowmesh.v1.Inference/Ingest": "unsafe", _METHODS: "idempotent"},
        "time_box": {"start": "2020-01-01T00:00:00Z", "end": "2099-01-01T00:00:00Z", "pairs": 1_000_000_000},
        "targets": [
            {
                **target,
                "rate": _ALMOST_ALL,
                "max_in_flight": 1000,
                "max_rate": 100_000.0,
                "burst": 10_000,
                "metadata": ["x-conversation-id", "x-client", "x-experiment-*"],
                "credentials": [{"key": "authorization", "file": str(token), "prefix": "Bearer "}],
                "transform": {"model": "bench-2b", "system_prompt": {"prepend": "Answer briefly. "}},
                "allow_unsafe": ["/shadowmesh.v1.Inference/StreamGenerate"],
                "stubs": {"search": "nothing was found"},
                "warm_up": {"calls": 100},
                "budget": {
                    "per_hour": 1e6,
                    "per_day": 1e7,
                    "total": 1e8,
                    "tokens": 1_000_000_000_000,
                    "unpriced": {"per_call": 0.01, "tokens": 1000},
                },
            }
        ],
    }
    # One before it that does not want these calls, as where several experiments share their methods.
    internal = {
        **experiment,
        "name": "internal",
        "when": {"metadata": [{"key": "x-tier", "equals": "internal"}]},
    }
    prices = [{"model": "bench-*", "per_million_tokens": {"input": 0.5, "output": 1.5}}]
    return {
        **plain,
        "experiments": [internal, policed],
        "mirror": {**plain["mirror"], "prices": prices, "budget": {"share": 0.5, "state": str(accounts)}},
        "reload": {"watch": True},
    }
