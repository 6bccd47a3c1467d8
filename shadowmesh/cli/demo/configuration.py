"""What the demo's models are, and the configuration files of its live model and its processor."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shadowmesh.schema.inference import SERVICE


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A language model and its pace, milliseconds per token."""

    order: int
    name: str
    read_ms: float
    write_ms: float
    price: Mapping[str, Any]
    """What the processor is told."""
    price_in_words: str

    def arguments(self) -> tuple[str, ...]:
        """Return the model server's command line."""
        return (
            *("--order", str(self.order), "--name", self.name),
            *("--read-ms", str(self.read_ms), "--write-ms", str(self.write_ms)),
        )


# Small enough for a minute of traffic, and no advice: by the defaults it takes 10 000 pairs of 100 minutes.
CRITERIA: Mapping[str, Any] = {
    "latency": [{"quantile": 0.5, "ratio": 3.0}],
    "errors": {"margin": 0.05},
    "coverage": {"pairs": 100, "min_blocks": 1},
}
EXPERIMENT = "demo"
TARGET = "trigram"
# One has a list price, the other runs on a rented accelerator: the two kinds of price a comparison of a bought with
# a self-hosted model needs.
LIVE_MODEL = Model(
    order=2,
    name="pydoc-bigram",
    read_ms=0.1,
    write_ms=3.0,
    price={"per_million_tokens": {"input": 0.15, "output": 0.6}},
    price_in_words="$0.15 / $0.60 for a million input / output tokens",
)
SHADOW_MODEL = Model(
    order=3,
    name="pydoc-trigram",
    read_ms=0.2,
    write_ms=4.0,
    price={"per_accelerator_hour": 0.4},
    price_in_words="$0.40 for an accelerator-hour, shared by the calls in flight",
)


def live_config(*, shadow: str, processor: str) -> dict[str, Any]:
    """Return the configuration of the live server's interceptor."""
    return {
        "experiments": [
            {
                "name": EXPERIMENT,
                "version": "1",
                "methods": [f"/{SERVICE}/*"],
                "output_digest": True,
                "criteria": dict(CRITERIA),
                "targets": [
                    {
                        "name": TARGET,
                        "kind": "candidate",
                        "address": shadow,
                        "rate": 1.0,
                        "deadline": "10s",
                        "max_in_flight": 64,
                    }
                ],
            }
        ],
        "telemetry": {
            "service_name": "demo-live",
            "otlp": {"endpoint": f"http://{processor}"},
            "metric_interval": "1s",
        },
    }


def processor_config(*, data: str, sink: str, otlp: str | None) -> dict[str, Any]:
    """Return the configuration of the processor, which keeps its own in the directory ``data``."""
    everything = {"forward_spans": True, "forward_metrics": True}
    exports = [{"endpoint": f"http://{sink}"} | everything]
    if otlp is not None:
        exports.append({"endpoint": otlp} | everything)
    return {
        "processor": {
            "data": data,
            "listen": "127.0.0.1:0",
            "http_listen": None,
            "window": "15s",
            "settle": "10s",
            "metric_interval": "1s",
            "export": exports,
            "compare_spans": "always",
            "prices": [{"model": model.name, "version": "demo", **model.price} for model in (LIVE_MODEL, SHADOW_MODEL)],
        }
    }
