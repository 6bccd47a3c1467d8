"""The parts of a status answer, made from what the rooms count; what could be a credential is cut out here."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

from opentelemetry.sdk.resources import Resource

from shadowmesh.names import SERVICE_INSTANCE_ID, SERVICE_NAME, Decision
from shadowmesh.policy.budget import Remaining
from shadowmesh.policy.experiment import ExperimentSettings, TargetSettings
from shadowmesh.policy.funnel import FunnelKey, LossKey
from shadowmesh.policy.self_check import Finding
from shadowmesh.policy.skew import KeyFigures
from shadowmesh.telemetry.export import PairExporter
from shadowmesh.telemetry.faults import Faults
from shadowmesh.telemetry.life import Life
from shadowmesh.telemetry.status_shape import Error, Experiment, Fill, Funnel, Limit, Pairs, SamplingKeys, Target

_MOST_ERRORS = 100
_USER = re.compile(r"(?<=://)\S*@|[^\s/]*@")
_QUERY = re.compile(r"\?[^\s,]*")


def header(life: Life, resource: Resource | None, faults: Faults) -> dict[str, Any]:
    """Return the fields every status has; without a resource nobody has named this process yet."""
    attributes = {} if resource is None else resource.attributes
    service, instance = (attributes.get(name) for name in (SERVICE_NAME, SERVICE_INSTANCE_ID))
    errors = faults.latest()
    return {
        "version": version("shadowmesh"),
        "pid": os.getpid(),
        "service_name": None if service is None else str(service),
        "instance_id": None if instance is None else str(instance),
        "at": _moment(life.wall_ns()),
        "started_at": _moment(life.began_at_ns),
        "uptime": life.seconds,
        "errors": tuple(
            Error(
                cause=without_secrets(error.cause),
                count=error.times,
                last_at=None if error.last_ns is None else _moment(error.last_ns),
            )
            for error in errors[:_MOST_ERRORS]
        ),
        "errors_left_out": max(len(errors) - _MOST_ERRORS, 0),
    }


def funnel(decisions: Mapping[str, int], drop_reasons: Mapping[str, int]) -> Funnel:
    """Return the account of one target; a decision nobody knows is eligible, and lets it not add up."""
    eligible = sum(decisions.values())
    known = {decision: decisions.get(decision, 0) for decision in Decision}
    dropped = known[Decision.DROPPED]
    return Funnel(
        eligible=eligible,
        mirrored=known[Decision.MIRRORED],
        not_sampled=known[Decision.NOT_SAMPLED],
        dropped=dropped,
        disabled=known[Decision.DISABLED],
        drop_reasons=dict(drop_reasons),
        adds_up=eligible == sum(known.values()) and dropped == sum(drop_reasons.values()),
    )


def experiments(
    settings: Iterable[ExperimentSettings],
    *,
    lines: Mapping[FunnelKey, int],
    active: Mapping[tuple[str, str], int],
    closed: Mapping[tuple[str, str], str],
    lost: Mapping[LossKey, int],
    remaining: Iterable[Remaining] = (),
    misfits: Iterable[Finding] = (),
    keys: Mapping[str, KeyFigures] | None = None,
) -> tuple[Experiment, ...]:
    """
    Return every target of an interceptor, also one that nothing has happened to yet.

    Args:
        lines: the counted lines of the funnel.
        active: shadows in flight by experiment and target.
        closed: why everything for a target is shed, empty where it is not.
        lost: exchanges whose legs are known to be lost.
        remaining: what is left of budgets and time-boxes.
        misfits: what the self-check has found.
        keys: how the sampling keys come, by experiment.
    """
    decisions: dict[tuple[str, str], Counter[str]] = {}
    reasons: dict[tuple[str, str], Counter[str]] = {}
    for (experiment, target, decision, reason), count in lines.items():
        decisions.setdefault((experiment, target), Counter())[decision] += count
        if decision == Decision.DROPPED and reason:
            reasons.setdefault((experiment, target), Counter())[reason] += count

    losses: dict[tuple[str, str], Counter[str]] = {}
    for (experiment, target, reason), count in lost.items():
        losses.setdefault((experiment, target), Counter())[reason] += count

    limits: dict[tuple[str, str], list[Limit]] = {}
    for one in remaining:
        limit = Limit(name=one.limit, currency=one.currency or None, limit=one.amount, left=one.left)
        limits.setdefault((one.experiment, one.target), []).append(limit)
    found: dict[tuple[str, str], dict[str, str]] = {}
    for finding in misfits:
        found.setdefault((finding.experiment, finding.target), {})[finding.misfit.value] = finding.detail

    def entry(experiment: str, target: TargetSettings) -> Target:
        key = (experiment, target.name)
        reason = closed.get(key) or None
        return Target(
            name=target.name,
            kind=target.kind,
            address=without_secrets(target.address),
            rate=target.rate,
            admits=reason is None,
            shed_reason=reason,
            in_flight=Fill(used=active.get(key, 0), cap=target.max_in_flight),
            funnel=funnel(decisions.get(key, {}), reasons.get(key, {})),
            lost=dict(losses.get(key, {})),
            limits=tuple(limits.get(key, ())),
            misfits=found.get(key, {}),
        )

    return tuple(
        Experiment(
            name=experiment.name,
            targets=tuple(entry(experiment.name, target) for target in experiment.targets),
            sampling_keys=_sampling_keys((keys or {}).get(experiment.name)),
        )
        for experiment in settings
    )


def _sampling_keys(figures: KeyFigures | None) -> SamplingKeys | None:
    return None if figures is None else SamplingKeys(top_share=figures.top_share, missing=figures.missing)


def pairs(exporter: PairExporter | None, capacity: int) -> Pairs | None:
    """Return the state of the exporter, if there is one, whose queue holds ``capacity`` pairs."""
    if exporter is None:
        return None
    return Pairs(
        waiting=Fill(used=exporter.pending(), cap=capacity),
        exported=exporter.exported_pairs,
        dropped=exporter.dropped_pairs,
        failed=exporter.failed_pairs,
    )


def without_secrets(text: str) -> str:
    """Return a text without what precedes an @ or follows a question mark in the addresses it may hold."""
    return _QUERY.sub("", _USER.sub("", text))


def _moment(wall_ns: int) -> datetime:
    return datetime.fromtimestamp(wall_ns / 1e9, UTC)
