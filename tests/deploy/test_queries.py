"""The queries of dashboard and rules are answered by a real Prometheus that the Collector of deploy/ feeds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from deploy.feed import send
from deploy.queries import DEPLOY, RULES, Query, alerts, panel_queries, recorded, variable_queries
from deploy.variants import merged
from stack.collector import Collector
from stack.loopback import HOST, free_ports
from stack.parts import Binaries
from stack.prometheus import Prometheus
from support.resources import until

pytestmark = pytest.mark.e2e

WITHIN = 60.0
# Labels by which the two ways may differ: who measured, and in which scope.
_OF_THE_WAY = {"__name__", "job", "instance", "otel_scope_name", "otel_scope_version", "otel_scope_schema_url"}


@contextmanager
def running(binaries: Binaries, directory: Path, name: str, *variants: str) -> Iterator[Prometheus]:
    """Run both with the files of deploy/, only addresses and pace are others, and send the Collector all metrics."""
    comparison, scrape, nobody = free_ports(3)
    config = yaml.safe_load((DEPLOY / "prometheus" / f"{name}.yaml").read_text(encoding="utf-8"))
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(RULES / "*.yaml")]
    collector_config = directory / "collector.yaml"
    collector_config.write_text(yaml.safe_dump(merged(*variants)), encoding="utf-8")
    prometheus_config = directory / "prometheus.yaml"
    prometheus = Prometheus(
        binaries.prometheus, prometheus_config, directory, options=["--enable-feature=exemplar-storage"]
    )
    peers = {
        "COMPARISON_PORT": str(comparison),
        "SCRAPE_PORT": str(scrape),
        "JAEGER": f"{HOST}:{nobody}",
        "SHADOWMESH": f"{HOST}:{nobody}",
        "PROMETHEUS": prometheus.otlp_metrics,
        "QUEUE": str(directory / "queue"),
    }
    with Collector(binaries.collector, collector_config, directory, environment=peers) as collector:
        ports = {"otelcol": collector.own_metrics, "shadowmesh": scrape}
        config["scrape_configs"] = [job for job in config["scrape_configs"] if job["job_name"] in ports]
        for job in config["scrape_configs"]:
            job["static_configs"] = [{"targets": [f"{HOST}:{ports[job['job_name']]}"]}]
        prometheus_config.write_text(yaml.safe_dump(config), encoding="utf-8")
        with prometheus:
            send(f"http://{HOST}:{collector.otlp_http}/v1/metrics")
            yield prometheus


def unanswered(prometheus: Prometheus, queries: list[Query]) -> list[str]:
    return [query.where for query in queries if not prometheus.query(query.expression)]


def labels(prometheus: Prometheus) -> dict[str, frozenset[str]]:
    """Return the labels of every metric of ours by name."""
    return {
        name: frozenset(label for series in prometheus.query(name) for label in series["metric"]) - _OF_THE_WAY
        for name in prometheus.api("label/__name__/values")
        if name.startswith("shadowmesh")
    }


def unknown_labels(prometheus: Prometheus, queries: list[Query]) -> list[tuple[str, set[str]]]:
    """Return the labels that a query names and nothing has that it reads, and where it stands."""
    had = labels(prometheus)
    unknown = [
        (query.where, query.labels.difference(*(had.get(name, ()) for name in query.metrics))) for query in queries
    ]
    return [(where, missing) for where, missing in unknown if missing]


def test_every_query_has_a_result_and_all_that_a_query_or_an_alert_reads_exists(
    binaries: Binaries, tmp_path: Path
) -> None:
    with running(binaries, tmp_path, "prometheus") as prometheus:
        queries = [*panel_queries(), *variable_queries(), *recorded().values()]
        assert until(lambda: unanswered(prometheus, queries) == [], WITHIN), unanswered(prometheus, queries)
        known = set(prometheus.api("label/__name__/values"))
        everything = [*queries, *alerts().values()]
        assert {metric for query in everything for metric in query.metrics} <= known
        # A label that nothing has groups everything as one, and is an answer all the same.
        assert unknown_labels(prometheus, everything) == []
        rules = [rule for group in prometheus.api("rules")["groups"] for rule in group["rules"]]
        assert [rule["lastError"] for rule in rules if rule["health"] == "err"] == []
        # What the feed is told is wrong, and the text of an alert with its values filled in.
        found = {alert["labels"]["alertname"]: alert["annotations"] for alert in prometheus.api("alerts")["alerts"]}
        assert found["ShadowmeshHarmStop"]["summary"].endswith("harmed live calls (latency)")
        assert not any("error expanding" in text for annotations in found.values() for text in annotations.values())


def test_a_prometheus_that_scrapes_has_the_same_names_and_labels(binaries: Binaries, tmp_path: Path) -> None:
    sent, scraped = tmp_path / "sent", tmp_path / "scraped"
    for directory in (sent, scraped):
        directory.mkdir()
    with running(binaries, sent, "prometheus") as prometheus:
        assert until(
            lambda: {"shadowmesh_pairs_total", "shadowmesh_mirror_active"} <= labels(prometheus).keys(), WITHIN
        )
        expected = labels(prometheus)
    expected = {name: keys for name, keys in expected.items() if ":" not in name}
    with running(binaries, scraped, "scrape", "scrape") as prometheus:
        assert until(lambda: expected.items() <= labels(prometheus).items(), WITHIN), (
            expected.items() ^ labels(prometheus).items()
        )
        (pairs,) = prometheus.query('shadowmesh_pairs_total{shadowmesh_pair_outcome="matched"}')
        assert (pairs["metric"]["job"], pairs["metric"]["instance"]) == ("shadowmesh-processor", "p-1")
