"""What a status says: nothing is left out that was counted, and no credential is in it."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest
from opentelemetry.sdk.resources import Resource

from shadowmesh.names import Decision, DropReason, Misfit
from shadowmesh.policy.budget import Remaining
from shadowmesh.policy.experiment import ExperimentSettings
from shadowmesh.policy.funnel import FunnelKey, LossKey
from shadowmesh.policy.self_check import Finding
from shadowmesh.policy.skew import KeyFigures
from shadowmesh.telemetry import status_shape
from shadowmesh.telemetry.export import PairExporter
from shadowmesh.telemetry.faults import Faults
from shadowmesh.telemetry.life import Life
from shadowmesh.telemetry.snapshot import experiments, funnel, header, pairs, without_secrets
from shadowmesh.testing import FakeClock, SpanSink

EXPERIMENTS = (
    ExperimentSettings.model_validate(
        {
            "name": "x",
            "methods": ["*"],
            "targets": [
                {"name": "candidate", "address": "127.0.0.1:1", "rate": 0.5, "max_in_flight": 8},
                {"name": "control", "kind": "control", "address": "127.0.0.1:2"},
            ],
        }
    ),
)
LINES = {
    FunnelKey("x", "candidate", Decision.MIRRORED.value, ""): 5,
    FunnelKey("x", "candidate", Decision.NOT_SAMPLED.value, ""): 3,
    FunnelKey("x", "candidate", Decision.DROPPED.value, DropReason.QUEUE_FULL.value): 2,
    FunnelKey("x", "candidate", Decision.DROPPED.value, DropReason.OVERSIZE.value): 1,
    FunnelKey("x", "candidate", Decision.DISABLED.value, DropReason.MARKED.value): 4,
}


def test_every_target_has_its_funnel_its_state_and_its_room() -> None:
    (experiment,) = experiments(
        EXPERIMENTS,
        lines=LINES,
        active={("x", "candidate"): 3},
        closed={("x", "candidate"): "", ("x", "control"): "shutdown"},
        lost={LossKey("x", "candidate", "worker"): 2},
    )
    assert experiment.sampling_keys is None
    candidate, control = experiment.targets
    assert candidate.funnel.model_dump() == {
        "eligible": 15,
        "mirrored": 5,
        "not_sampled": 3,
        "dropped": 3,
        "disabled": 4,
        "drop_reasons": {"queue_full": 2, "oversize": 1},
        "adds_up": True,
    }
    assert (candidate.admits, candidate.shed_reason, candidate.in_flight.used, candidate.in_flight.cap) == (
        True, None, 3, 8,
    )  # fmt: skip
    assert (control.admits, control.shed_reason, control.kind) == (False, "shutdown", "control")
    assert (candidate.lost, control.lost) == ({"worker": 2}, {})
    assert (control.funnel.eligible, control.funnel.adds_up) == (0, True)


@pytest.mark.parametrize(
    ("decisions", "reasons"),
    [({"mirrored": 5, "mislaid": 1}, {}), ({"dropped": 2}, {"queue_full": 1}), ({"dropped": 1}, {})],
)
def test_a_decision_nobody_knows_or_a_drop_without_a_reason_does_not_add_up(
    decisions: dict[str, int], reasons: dict[str, int]
) -> None:
    assert not funnel(decisions, reasons).adds_up


def test_the_header_names_the_process_and_how_long_it_has_run() -> None:
    clock = FakeClock()
    life = Life(monotonic_ns=clock, wall_ns=lambda: 1_700_000_000_000_000_000)
    clock.advance(90)
    resource = Resource({"service.name": "acme", "service.instance.id": "i"})
    said = header(life, resource, Faults())
    assert (said["pid"], said["service_name"], said["instance_id"], said["uptime"]) == (os.getpid(), "acme", "i", 90)
    assert said["started_at"].isoformat() == "2023-11-14T22:13:20+00:00"
    assert header(life, None, Faults())["instance_id"] is None


def test_errors_are_said_with_their_last_time_the_latest_first_and_not_without_end() -> None:
    now = iter(range(10_000))
    faults = Faults(wall_ns=lambda: next(now) * 1_000_000_000)
    for number in range(120):
        faults.report("place", str(number))
    said = header(Life(), None, faults)
    assert (len(said["errors"]), said["errors_left_out"]) == (100, 20)
    assert (said["errors"][0].cause, said["errors"][0].count) == ("place: 119", 1)
    assert said["errors"][0].last_at.timestamp() == 119


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("export to https://user:pass@host:4317, spans: X", "export to https://host:4317, spans: X"),
        ("http://us/er:pa@ss@host:1/v1?key=secret, lost", "http://host:1/v1, lost"),
        ("user:pass@host:1", "host:1"),
        ("dns:///host:1", "dns:///host:1"),
        ("engine: ValueError", "engine: ValueError"),
    ],
)
def test_what_could_be_a_credential_in_an_address_is_cut_out(text: str, shown: str) -> None:
    assert without_secrets(text) == shown


def test_pairs_are_unknown_without_an_exporter_and_never_zero() -> None:
    assert pairs(None, 8) is None
    exporter = PairExporter(SpanSink(), capacity=8, faults=Faults())
    exporter.submit(())
    known = pairs(exporter, 8)
    assert known is not None
    assert known.model_dump() == {"waiting": {"used": 1, "cap": 8}, "exported": 0, "dropped": 0, "failed": 0}
    exporter.close(0)


def answer(**changes: Any) -> dict[str, Any]:
    known = status_shape.InterceptorStatus(
        **header(Life(), None, Faults()),
        accepting=True,
        experiments=experiments(EXPERIMENTS, lines=LINES, active={}, closed={}, lost={}),
        buffers=status_shape.Buffers(
            queue=status_shape.Fill(used=0, cap=1), captured_bytes=status_shape.Fill(used=0, cap=1), pairs=None
        ),
        carrier=status_shape.Carrier(kind="thread", running=True),
        harm_guard={"slots": 3, "evidence": float("-inf")},
    )
    return status_shape.as_json(known) | changes


def test_an_answer_is_plain_json_and_reads_back_as_what_it_was() -> None:
    said = answer()
    assert said["schema"] == "shadowmesh.status/1"
    assert json.loads(json.dumps(said, allow_nan=False)) == said
    assert said["harm_guard"] == {"slots": 3, "evidence": None}
    assert status_shape.as_json(status_shape.read(said)) == said


def test_a_reader_ignores_keys_that_a_later_release_has_added() -> None:
    said = answer()
    assert status_shape.read(said | {"weather": "fine"}) == status_shape.read(said)


@pytest.mark.parametrize("changes", [{"schema": "shadowmesh.status/2"}, {"kind": "toaster"}, {"pid": "x"}])
def test_what_is_not_version_1_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        status_shape.read(answer(**changes))


def test_what_is_left_and_what_was_found_stands_with_its_target() -> None:
    (experiment,) = experiments(
        EXPERIMENTS,
        lines={},
        active={},
        closed={},
        lost={},
        remaining=[
            Remaining("x", "candidate", "per_day", "USD", 20.0, 5.5),
            Remaining("x", "candidate", "pairs", "", 10.0, 3.0),
        ],
        misfits=[Finding("x", "control", Misfit.NEVER_FIRES, "none was mirrored")],
        keys={"x": KeyFigures(0.25, 3), "gone": KeyFigures(None, 0)},
    )
    assert experiment.sampling_keys == status_shape.SamplingKeys(top_share=0.25, missing=3)
    candidate, control = experiment.targets
    assert [(one.name, one.currency, one.limit, one.left) for one in candidate.limits] == [
        ("per_day", "USD", 20.0, 5.5), ("pairs", None, 10.0, 3.0),
    ]  # fmt: skip
    assert (candidate.misfits, control.misfits) == ({}, {"never_fires": "none was mirrored"})
    assert control.limits == ()
