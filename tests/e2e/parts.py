"""The parts of deploy/ that are not of the stack's binaries, and what a test changes of a file: addresses and pace."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from deploy.queries import DEPLOY
from stack.loopback import HOST, free_ports, get
from stack.running import Running

# What a restart or a test would otherwise wait for.
PACE: Mapping[str, Any] = {"metric_interval": "500ms", "checkpoint_interval": "1s", "settle": "1s"}


class Processor(Running):
    """
    A processor with the configuration of deploy/, on ports of its own, in a data directory that outlives it.

    Args:
        comparison: the port on which the Collector takes what it says.
        settings: what else is different, over :data:`PACE`.
    """

    def __init__(self, directory: Path, *, comparison: int, settings: Mapping[str, Any]) -> None:
        self.otlp_grpc, self.otlp_http, self.status_port = free_ports(3)
        data = directory / "data"
        self.store = str(settings.get("store", {}).get("url", f"sqlite:///{data}/pairs.db"))
        config = yaml.safe_load((DEPLOY / "shadowmesh" / "processor.yaml").read_text(encoding="utf-8"))
        config["processor"] |= {
            "listen": f"{HOST}:{self.otlp_grpc}",
            "http_listen": f"{HOST}:{self.otlp_http}",
            "status": f"{HOST}:{self.status_port}",
            "data": str(data),
            **PACE,
            **settings,
        }
        config["processor"]["export"][0]["endpoint"] = f"http://{HOST}:{comparison}"
        directory.mkdir(parents=True)
        path = directory / "processor.yaml"
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        command = [sys.executable, "-m", "shadowmesh", "processor", "--config", str(path)]
        super().__init__(command, directory, health=(self.otlp_http, "/readyz"), environment={})
        self.name = directory.name

    def status(self) -> dict[str, Any]:
        """Return what it says of itself."""
        return dict(json.loads(get(self.status_port, "/status").body))


def prometheus_config(own_metrics: Mapping[str, int], rules: Path) -> dict[str, Any]:
    """
    Return the configuration of deploy/ with a scrape and an evaluation every second.

    Args:
        own_metrics: where the parts serve their own metrics, by the name of their job; jobs of others are left out.
        rules: the folder of the rule files.
    """
    config: dict[str, Any] = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yaml").read_text(encoding="utf-8"))
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(rules / "*.yaml")]
    config["scrape_configs"] = [job for job in config["scrape_configs"] if job["job_name"] in own_metrics]
    for job in config["scrape_configs"]:
        job["static_configs"] = [{"targets": [f"{HOST}:{own_metrics[job['job_name']]}"]}]
    return config


def write_rules(folder: Path) -> None:
    """Write the rules of deploy/ at a pace that a test can wait for: nothing else of them is changed."""
    folder.mkdir(parents=True)
    for path in (DEPLOY / "prometheus" / "rules").glob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        for slow, quick in (("interval: 30s", "interval: 1s"), ("offset 2m", "offset 2s")):
            text = text.replace(slow, quick)
        (folder / path.name).write_text(text, encoding="utf-8")
