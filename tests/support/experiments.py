"""Experiments for tests: one target and one method unless a test says more."""

from __future__ import annotations

from typing import Any

from shadowmesh.mirror.judged_experiment import JudgedExperimentSettings

GENERATE = "/shadowmesh.v1.Inference/Generate"
STREAM_GENERATE = "/shadowmesh.v1.Inference/StreamGenerate"
CONVERSE = "/shadowmesh.v1.Inference/Converse"
INGEST = "/shadowmesh.v1.Inference/Ingest"


def target(name: str = "candidate", **changes: Any) -> dict[str, Any]:
    """Return the settings of one target, as they would stand in a file."""
    return {"name": name, "address": "127.0.0.1:1", **changes}


def experiment(*targets: dict[str, Any], **changes: Any) -> JudgedExperimentSettings:
    """Return an experiment over every method of the reference API."""
    facts: dict[str, Any] = {
        "name": "summaries",
        "methods": ["/shadowmesh.v1.Inference/*"],
        "targets": list(targets) or [target()],
    }
    return JudgedExperimentSettings.model_validate(facts | changes)
