"""Everything the product measures is in Prometheus under its name, and whatever dashboard and rules ask is answered."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml
from deploy.queries import Query, alerts, panel_queries, recorded, variable_queries
from e2e.live import file
from e2e.stage import Stage
from e2e.troubles import TROUBLES, post, refuse, split
from stack.loopback import HOST, free_ports
from stack.parts import Binaries
from support import postgresql
from support.legs import live
from support.resources import until

from shadowmesh.cli.demo.configuration import LIVE_MODEL, SHADOW_MODEL
from shadowmesh.cli.demo.process import running
from shadowmesh.cli.demo.traffic import send

pytestmark = pytest.mark.e2e

WITHIN = 20.0
ROUNDS = 12
QUEUE = 100
ALERT_OF_A_FULL_QUEUE = "ShadowmeshCollectorQueueFills"
# Nobody knows a request that a processor fails on.
ALERT_OF_A_FAULT = "ShadowmeshSetsAside"
# Ten thousand pairs over a hundred minutes come first.
ALERT_OF_A_VERDICT_THAT_NEVER_COMES = "ShadowmeshVerdictHeldUp"
# A quarter of an hour of pairs with a control that is slower than itself.
ALERT_OF_A_SLOW_PATH = "ShadowmeshShadowPathChangesLatency"
# Verdicts are made every minute, of what is folded every half minute.
JUDGED_WITHIN = 120.0

HISTOGRAMS = (
    "shadowmesh_call_duration_seconds",
    "shadowmesh_call_output_rate_per_second",
    "shadowmesh_call_time_per_output_token_seconds",
    "shadowmesh_call_time_to_first_chunk_seconds",
    "shadowmesh_pair_cost_delta",
    "shadowmesh_pair_cost_ratio",
    "shadowmesh_pair_duration_delta_seconds",
    "shadowmesh_pair_duration_ratio",
    "shadowmesh_pair_input_tokens_delta",
    "shadowmesh_pair_lag_seconds",
    "shadowmesh_pair_output_divergence",
    "shadowmesh_pair_output_tokens_delta",
    "shadowmesh_pair_output_tokens_ratio",
    "shadowmesh_pair_time_to_first_chunk_delta_seconds",
    "shadowmesh_pair_time_to_first_chunk_ratio",
)
NAMES = {
    *(f"{name}_{part}" for name in HISTOGRAMS for part in ("bucket", "count", "sum")),
    "shadowmesh_alerts_delivered_total",
    "shadowmesh_alerts_lost_total",
    "shadowmesh_alerts_waiting",
    "shadowmesh_call_cost_total",
    "shadowmesh_call_tokens_total",
    "shadowmesh_capture_calls_total",
    "shadowmesh_journal_size_bytes",
    "shadowmesh_mirror_aborts_total",
    "shadowmesh_mirror_active",
    "shadowmesh_mirror_breaker_state_ratio",
    "shadowmesh_mirror_budget_remaining",
    "shadowmesh_mirror_budget_tokens",
    "shadowmesh_mirror_config_reloads_total",
    "shadowmesh_mirror_harm_stops_total",
    "shadowmesh_mirror_lost_total",
    "shadowmesh_mirror_queue_size",
    "shadowmesh_mirror_requests_total",
    "shadowmesh_mirror_sampling_eligible_total",
    "shadowmesh_mirror_sampling_expected_total",
    "shadowmesh_mirror_sampling_missing_keys_total",
    "shadowmesh_mirror_sampling_sampled_total",
    "shadowmesh_mirror_sampling_top_key_share_ratio",
    "shadowmesh_mirror_time_box_pairs",
    "shadowmesh_pair_checks_total",
    "shadowmesh_pairing_buffer_capacity",
    "shadowmesh_pairing_buffer_size",
    "shadowmesh_pairing_spans_total",
    "shadowmesh_pairing_splits_total",
    "shadowmesh_pairs_total",
    "shadowmesh_receiver_set_aside_total",
    "shadowmesh_store_late_texts_total",
    "shadowmesh_store_refused_total",
    "shadowmesh_store_waiting",
    "shadowmesh_verdict_alarm_level_ratio",
    "shadowmesh_verdict_alarms_total",
    "shadowmesh_verdict_finding_estimate_ratio",
    "shadowmesh_verdict_finding_evidence_ratio",
    "shadowmesh_verdict_finding_interval_ratio",
    "shadowmesh_verdict_finding_limit_ratio",
    "shadowmesh_verdict_finding_missing_ratio",
    "shadowmesh_verdict_finding_pairs",
    "shadowmesh_verdict_finding_state",
    "shadowmesh_verdict_state",
}

# All that any of them may have: ids, prompts and peers are none of them.
LABELS = {
    *("job", "instance", "le"),
    "error_type",
    "gen_ai_operation_name",
    "gen_ai_token_type",
    "rpc_method",
    "rpc_response_status_code",
    "shadowmesh_capture_result",
    "shadowmesh_check_name",
    "shadowmesh_check_result",
    "shadowmesh_config_digest",
    "shadowmesh_cost_currency",
    "shadowmesh_cost_source",
    "shadowmesh_delta_direction",
    "shadowmesh_evidence_side",
    "shadowmesh_experiment_name",
    "shadowmesh_finding_name",
    "shadowmesh_finding_reason",
    "shadowmesh_finding_result",
    "shadowmesh_interval_bound",
    "shadowmesh_mirror_abort_result",
    "shadowmesh_mirror_budget_limit",
    "shadowmesh_mirror_config_reload_result",
    "shadowmesh_mirror_decision",
    "shadowmesh_mirror_drop_reason",
    "shadowmesh_mirror_harm_reason",
    "shadowmesh_mirror_loss_reason",
    "shadowmesh_pair_outcome",
    "shadowmesh_role",
    "shadowmesh_span_outcome",
    "shadowmesh_target_name",
    "shadowmesh_verdict_answer",
}


@pytest.fixture(scope="module")
def stage(binaries: Binaries, database: postgresql.Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Two processors on one PostgreSQL, with little room."""
    url = database.new_database()
    price = {"per_million_tokens": {"input": 0.15, "output": 0.6}}
    settings: dict[str, Any] = {
        "store": {"url": url},
        "capacity": 40,
        "window": "3s",
        "settle": "2s",
        "prices": [price],
    }
    directory = tmp_path_factory.mktemp("stage")
    secret = directory / "secret"
    secret.write_text("a secret of some length", encoding="utf-8")
    with refusing_webhook() as webhook:
        settings["alerts"] = {"webhook": {"url": webhook, "secret": {"file": str(secret)}}}
        with Stage(binaries, directory, settings=settings, processors=2, queue=QUEUE) as running_stage:
            refuse(database, url.rpartition("/")[2].partition("?")[0])
            yield running_stage


class _Refusing(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.send_error(410)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def refusing_webhook() -> Iterator[str]:
    """Run a server that takes no alert, and return its URL."""
    with ThreadingHTTPServer((HOST, 0), _Refusing) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://{HOST}:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


async def demo(stage: Stage, directory: Path) -> None:
    """Run the demo's models in processes of their own, with the file that deploy/ has for them, and call them."""
    server = "shadowmesh.cli.demo.model_server"
    live_port, shadow_port = free_ports(2)
    addresses = {"candidate": f"{HOST}:{shadow_port}", "control": f"{HOST}:{live_port}"}
    path = directory / "live.yaml"
    config = file(stage.endpoint, addresses, name="demo", content="events")
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    shadow_arguments = (*SHADOW_MODEL.arguments(), "--listen", addresses["candidate"])
    live_arguments = (*LIVE_MODEL.arguments(), "--listen", addresses["control"], "--config", str(path))
    async with (
        running("shadow", server, *shadow_arguments, log=directory / "shadow.log") as shadow,
        running("live", server, *live_arguments, log=directory / "live.log") as live_model,
    ):
        for process in (shadow, live_model):
            await process.first_line()
        await send(addresses["control"], seconds=4, rate=15)
        await live_model.end(20)


def seen(stage: Stage) -> set[str]:
    """Return the alerts whose condition Prometheus has ever found."""
    found = stage.prometheus.query("count by (alertname) (count_over_time(ALERTS[15m]))")
    return {series["metric"]["alertname"] for series in found}


def series(stage: Stage) -> dict[str, set[str]]:
    """Return the labels of every metric of ours by name."""
    found: dict[str, set[str]] = {}
    for one in stage.prometheus.query('{__name__=~"shadowmesh_.+"}'):
        found.setdefault(one["metric"]["__name__"], set()).update(one["metric"].keys() - {"__name__"})
    return found


def unanswered(stage: Stage, queries: list[Query]) -> list[str]:
    return [query.where for query in queries if not stage.prometheus.query(query.expression)]


def test_every_metric_is_there_every_query_has_a_result_and_every_alert_is_raised_by_what_it_is_about(
    stage: Stage, tmp_path: Path
) -> None:
    split(stage, "halves")
    asyncio.run(demo(stage, tmp_path))
    assert until(lambda: stage.prometheus.query("shadowmesh_pairing_splits_total") != [], WITHIN)
    never = {ALERT_OF_A_FULL_QUEUE, ALERT_OF_A_FAULT, ALERT_OF_A_VERDICT_THAT_NEVER_COMES, ALERT_OF_A_SLOW_PATH}
    expected = alerts().keys() - never
    with ExitStack() as stack:
        steps = [stack.enter_context(trouble(stage, tmp_path)) for trouble in TROUBLES]
        for _ in range(ROUNDS):
            for step in steps:
                step()
            # What was counted before anybody looked is no increase, so there is more than one round.
            if until(lambda: expected <= seen(stage), 1.5):
                break
        assert until(lambda: expected <= seen(stage), JUDGED_WITHIN), expected - seen(stage)

    # Texts are compared every half minute.
    assert until(lambda: series(stage).keys() == NAMES, 2 * WITHIN), series(stage).keys() ^ NAMES
    assert set[str]().union(*series(stage).values()) == LABELS
    queries = [*panel_queries(), *variable_queries(), *(Query(name, name) for name in recorded())]
    assert until(lambda: unanswered(stage, queries) == [], WITHIN), unanswered(stage, queries)
    rules = [rule for group in stage.prometheus.api("rules")["groups"] for rule in group["rules"]]
    assert [(rule["name"], rule["lastError"]) for rule in rules if rule["health"] != "ok"] == []


def test_the_alert_of_a_full_queue_is_raised_while_no_processor_takes_anything(stage: Stage) -> None:
    assert ALERT_OF_A_FULL_QUEUE not in seen(stage)
    for processor in stage.processors:
        processor.kill()
    for number in range(QUEUE * 3 // 4):
        post(stage, [live(f"queued{number}")])
    assert until(lambda: ALERT_OF_A_FULL_QUEUE in seen(stage), WITHIN)
