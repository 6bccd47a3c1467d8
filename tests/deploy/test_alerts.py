"""In a healthy world no alert fires; with one thing wrong in it, the alert that is about it does, and no other."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from deploy.queries import RULES, alerts, rules
from stack.parts import Binaries

from shadowmesh.names import WITHOUT_LEGS

MINUTES = 180
AT = "170m"
TARGET = 'shadowmesh_experiment_name="summaries",shadowmesh_target_name="candidate"'
MIRRORED = f'shadowmesh_mirror_requests_total{{{TARGET},shadowmesh_mirror_decision="mirrored"}}'
DROPPED = (
    f'shadowmesh_mirror_requests_total{{{TARGET},shadowmesh_mirror_decision="dropped",'
    'shadowmesh_mirror_drop_reason="queue_full"}'
)
NOT_STARTED = DROPPED.replace("queue_full", "not_started")
LOST = f'shadowmesh_mirror_lost_total{{{TARGET},shadowmesh_mirror_loss_reason="export"}}'
BREAKER = f"shadowmesh_mirror_breaker_state_ratio{{{TARGET}}}"
BUDGET = (
    f'shadowmesh_mirror_budget_remaining{{{TARGET},shadowmesh_mirror_budget_limit="per_day",'
    'shadowmesh_cost_currency="USD"}'
)
HARM = 'shadowmesh_mirror_harm_stops_total{job="server",instance="i",shadowmesh_mirror_harm_reason="latency"}'
REFUSED = 'shadowmesh_mirror_config_reloads_total{job="server",shadowmesh_mirror_config_reload_result="refused"}'
WAITING, CAPACITY = "shadowmesh_pairing_buffer_size", "shadowmesh_pairing_buffer_capacity"
REJECTED = 'shadowmesh_pairing_spans_total{job="processor",instance="p",shadowmesh_span_outcome="rejected"}'
SET_ASIDE = 'shadowmesh_receiver_set_aside_total{job="processor",instance="p"}'
STORE_REFUSED = 'shadowmesh_store_refused_total{job="processor",instance="p"}'
ALERTS_LOST = 'shadowmesh_alerts_lost_total{job="processor",instance="p"}'
GO, NO_GO = (
    f'shadowmesh_verdict_state{{{TARGET},instance="p",shadowmesh_verdict_answer="{one}"}}' for one in ("GO", "NO_GO")
)
ALARMS = f'shadowmesh_verdict_alarms_total{{{TARGET},instance="p",shadowmesh_finding_name="errors"}}'
QUEUE = 'otelcol_exporter_queue_size{exporter="otlp_grpc/shadowmesh"}'
QUEUE_CAP = 'otelcol_exporter_queue_capacity{exporter="otlp_grpc/shadowmesh"}'


def finding(reason: str, instance: str = "p") -> str:
    return (
        f'shadowmesh_verdict_finding_state{{{TARGET},instance="{instance}",shadowmesh_finding_name="coverage",'
        f'shadowmesh_finding_result="NOT_YET",shadowmesh_finding_reason="{reason}"}}'
    )


BIAS = (
    f'shadowmesh_verdict_finding_state{{{TARGET},shadowmesh_finding_name="control.duration.p95",'
    'shadowmesh_finding_result="OFF",shadowmesh_finding_reason="control_bias"}'
)


def pairs(outcome: str) -> str:
    return f'shadowmesh_pairs_total{{{TARGET},shadowmesh_pair_outcome="{outcome}"}}'


def legs(role: str, error: str = "") -> str:
    return f'shadowmesh_call_duration_seconds_count{{{TARGET},shadowmesh_role="{role}",error_type="{error}"}}'


def ratios(le: str) -> str:
    return f'shadowmesh_pair_duration_ratio_bucket{{{TARGET},le="{le}"}}'


def lag(le: str) -> str:
    return f'shadowmesh_pair_lag_seconds_bucket{{{TARGET},le="{le}"}}'


def grows(by: float) -> str:
    """Return a counter that grows by so much a minute."""
    return f"0+{by}x{MINUTES}"


def stays(at: float) -> str:
    return f"{at}x{MINUTES}"


def changes(minute: int, *, to: float) -> str:
    """Return 0 that becomes something else at a minute."""
    return f"0x{minute} {to}x{MINUTES - minute}"


HEALTHY = {
    MIRRORED: grows(60),
    DROPPED: grows(1),
    # Has no leg and so no pair.
    NOT_STARTED: grows(5),
    pairs("matched"): grows(60),
    pairs("live_only"): grows(1),
    pairs("evicted"): stays(0),
    LOST: stays(0),
    BREAKER: stays(0),
    BUDGET: f"100-0.1x{MINUTES}",
    HARM: stays(0),
    REFUSED: stays(0),
    WAITING: stays(100),
    CAPACITY: stays(1000),
    REJECTED: stays(0),
    STORE_REFUSED: stays(0),
    SET_ASIDE: stays(0),
    ALERTS_LOST: stays(0),
    GO: stays(1),
    NO_GO: stays(0),
    ALARMS: stays(0),
    finding("more_pairs"): stays(1),
    # It was so for a while, at one of two processors.
    finding("too_much_shed"): f"0x60 1x30 0x{MINUTES}",
    finding("too_much_shed", "q"): stays(0),
    finding("sample_ratio"): stays(0),
    BIAS: stays(0),
    QUEUE: stays(10),
    QUEUE_CAP: stays(1000),
    legs("live"): grows(60),
    legs("shadow"): grows(60),
    legs("shadow", "UNAVAILABLE"): grows(0.5),
    ratios("1.0"): grows(20),
    ratios("1.25"): grows(55),
    ratios("2.0"): grows(60),
    ratios("+Inf"): grows(60),
    lag("1.0"): grows(59),
    lag("30.0"): grows(60),
    lag("60.0"): grows(60),
    lag("+Inf"): grows(60),
}
# What is wrong, and what fires beside the alert that is about it.
CASES: dict[str, tuple[dict[str, str], set[str]]] = {
    "ShadowmeshFunnelDoesNotAddUp": ({pairs("matched"): grows(50)}, set()),
    "ShadowmeshNoPairs": (
        {pairs("matched"): f"0+60x100 6000x{MINUTES - 100}", pairs("live_only"): stays(0)},
        {"ShadowmeshFunnelDoesNotAddUp"},
    ),
    "ShadowmeshPairsIncomplete": ({pairs("matched"): grows(50), pairs("live_only"): grows(11)}, set()),
    # What is known to be lost is not missing.
    "ShadowmeshLegsLost": ({pairs("matched"): grows(50), LOST: grows(10)}, set()),
    "ShadowmeshHarmStop": ({HARM: changes(60, to=1)}, set()),
    "ShadowmeshBreakerOpen": ({BREAKER: changes(160, to=1)}, set()),
    "ShadowmeshSheds": ({DROPPED: grows(30), pairs("matched"): grows(89)}, set()),
    "ShadowmeshBudgetNearlyUsed": ({BUDGET: f"100-0.55x{MINUTES}"}, set()),
    "ShadowmeshReloadRefused": ({REFUSED: changes(150, to=1)}, set()),
    "ShadowmeshProcessorLags": ({lag("1.0"): stays(0), lag("30.0"): grows(30)}, set()),
    "ShadowmeshEvicts": ({pairs("matched"): grows(59), pairs("evicted"): grows(1)}, set()),
    "ShadowmeshPairingBufferFills": ({WAITING: stays(900)}, set()),
    "ShadowmeshSpansRejected": ({REJECTED: grows(1)}, set()),
    "ShadowmeshStoreRefuses": ({STORE_REFUSED: grows(1)}, set()),
    # One alone is something.
    "ShadowmeshSetsAside": ({SET_ASIDE: changes(160, to=1)}, set()),
    "ShadowmeshAlertsLost": ({ALERTS_LOST: changes(160, to=1)}, set()),
    "ShadowmeshCandidateNoGo": ({GO: stays(0), NO_GO: changes(160, to=1)}, set()),
    "ShadowmeshCandidateAlarm": ({ALARMS: changes(160, to=1)}, set()),
    "ShadowmeshVerdictHeldUp": ({finding("too_much_shed", "q"): stays(1)}, set()),
    "ShadowmeshShadowPathChangesLatency": ({BIAS: changes(150, to=1)}, set()),
    "ShadowmeshCollectorQueueFills": ({QUEUE: stays(600)}, set()),
    "ShadowmeshCandidateFails": ({legs("shadow", "UNAVAILABLE"): grows(5)}, set()),
    "ShadowmeshCandidateSlow": ({ratios("1.0"): grows(1), ratios("1.25"): grows(5)}, set()),
}


def fired(promtool: Path, directory: Path, series: dict[str, str], expected: set[str], at: str = AT) -> None:
    """Assert that of all alerts these are firing at a time, and each once."""
    test = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                "eval_time": at,
                "exp_samples": [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in sorted(expected)],
            }
        ],
    }
    document: dict[str, Any] = {
        "rule_files": [str(RULES / name) for name in ("recording.yaml", "alerts.yaml")],
        "evaluation_interval": "1m",
        "group_eval_order": ["shadowmesh"],
        "tests": [test],
    }
    path = directory / "alerts.test.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    command = [str(promtool), "test", "rules", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_has_a_case_and_says_what_to_do() -> None:
    assert CASES.keys() == alerts().keys()
    for rule in rules():
        if "alert" in rule:
            assert rule["labels"]["severity"] in {"info", "warning", "critical"}
            assert rule["annotations"].keys() == {"summary", "description"}


def test_the_funnel_leaves_out_the_reasons_that_have_no_legs() -> None:
    (sent,) = [rule["expr"] for rule in rules() if rule.get("record") == "shadowmesh:sent:increase1h"]
    assert f'shadowmesh_mirror_drop_reason!~"{"|".join(sorted(WITHOUT_LEGS))}"' in sent


@pytest.mark.e2e
def test_a_healthy_world_is_quiet(binaries: Binaries, tmp_path: Path) -> None:
    fired(binaries.promtool, tmp_path, HEALTHY, set())


@pytest.mark.e2e
@pytest.mark.parametrize("alert", CASES)
def test_what_is_wrong_fires_the_alert_that_is_about_it(binaries: Binaries, tmp_path: Path, alert: str) -> None:
    wrong, beside = CASES[alert]
    assert wrong.keys() <= HEALTHY.keys()
    fired(binaries.promtool, tmp_path, HEALTHY | wrong, {alert, *beside})


@pytest.mark.e2e
def test_where_no_shadow_has_ever_failed_and_nothing_was_lost_the_rules_still_have_results(
    binaries: Binaries, tmp_path: Path
) -> None:
    quiet = {name: values for name, values in HEALTHY.items() if name not in {LOST, legs("shadow", "UNAVAILABLE")}}
    fired(binaries.promtool, tmp_path, quiet | {pairs("matched"): grows(50)}, {"ShadowmeshFunnelDoesNotAddUp"})
    live_fails = {legs("live", "INTERNAL"): grows(30), pairs("matched"): grows(60)}
    fired(binaries.promtool, tmp_path, quiet | live_fails, set())
