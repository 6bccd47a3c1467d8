"""Everything that deploy/ puts on one host, running: each part with its file there."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self

import yaml
from deploy.queries import DEPLOY
from deploy.variants import merged
from e2e.parts import Processor, prometheus_config, write_rules
from stack.collector import Collector
from stack.jaeger import Jaeger
from stack.loopback import HOST, free_ports
from stack.parts import Binaries
from stack.prometheus import Prometheus
from stack.running import Running

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class Stage:
    """
    Jaeger, Prometheus, one or more processors and a Collector in front of them; a context manager.

    Each part can be stopped, killed and started by itself.

    Args:
        queue: how many requests the Collector holds for the processors; as its file has it by default.
        jaeger: which of its files; ``jaeger-badger`` has its traces after a restart.
        settings: of the processors, over their file.
        processors: how many; with more than one the Collector shares the legs out between them.
    """

    def __init__(
        self,
        binaries: Binaries,
        directory: Path,
        *,
        settings: Mapping[str, Any] = _NOTHING,
        processors: int = 1,
        jaeger: str = "jaeger",
        queue: int | None = None,
    ) -> None:
        (comparison,) = free_ports(1)
        self._directory = directory
        self._queue = queue
        places = {"JAEGER_DATA": str(directory / "traces")}
        self.jaeger = Jaeger(
            binaries.jaeger, DEPLOY / "jaeger" / f"{jaeger}.yaml", directory / "jaeger", environment=places
        )
        self.prometheus = Prometheus(
            binaries.prometheus,
            directory / "prometheus.yaml",
            directory / "prometheus",
            options=["--enable-feature=exemplar-storage"],
        )
        self.processors = [
            Processor(directory / f"processor-{number}", comparison=comparison, settings=settings)
            for number in range(1, 1 + processors)
        ]
        peers = {
            "COMPARISON_PORT": str(comparison),
            "JAEGER": f"{HOST}:{self.jaeger.otlp_grpc}",
            "PROMETHEUS": self.prometheus.otlp_metrics,
            "SHADOWMESH": f"{HOST}:{self.processors[0].otlp_grpc}",
            "QUEUE": str(directory / "queue"),
        }
        self.collector = Collector(
            binaries.collector, directory / "collector.yaml", directory / "collector", environment=peers
        )
        self.share_out(self.processors)
        write_rules(directory / "rules")
        own = {"otelcol": self.collector.own_metrics, "jaeger": self.jaeger.own_metrics}
        self._write("prometheus", prometheus_config(own, directory / "rules"))

    @property
    def parts(self) -> list[Running]:
        """All of them, in the order in which they are started."""
        return [self.jaeger, self.prometheus, *self.processors, self.collector]

    @property
    def processor(self) -> Processor:
        """The only processor, or the first."""
        return self.processors[0]

    @property
    def store(self) -> str:
        """The URL of the store, which is that of all processors."""
        return self.processor.store

    @property
    def endpoint(self) -> str:
        """Where a server sends its telemetry."""
        return f"http://{HOST}:{self.collector.otlp_grpc}"

    def share_out(self, processors: list[Processor]) -> None:
        """Have the Collector know these processors from its next start on."""
        several = len(self.processors) > 1
        config = merged("load-balancing") if several else merged()
        # No name has several addresses of one port on one machine.
        known = {"static": {"hostnames": [f"{HOST}:{one.otlp_grpc}" for one in processors]}}
        for name in ("load_balancing/legs", "load_balancing/funnel") if several else ("otlp_grpc/shadowmesh",):
            exporter = config["exporters"][name] = dict(config["exporters"][name])
            if several:
                exporter["resolver"] = known
            if self._queue is not None:
                exporter["sending_queue"] = exporter["sending_queue"] | {"queue_size": self._queue}
        self._write("collector", config)

    def __enter__(self) -> Self:
        try:
            for part in self.parts:
                part.start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        # In the direction of the data: what a processor says last goes by way of the Collector.
        for part in (*self.processors, self.collector, self.prometheus, self.jaeger):
            part.stop()

    def _write(self, name: str, config: Mapping[str, Any]) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        (self._directory / f"{name}.yaml").write_text(yaml.safe_dump(dict(config)), encoding="utf-8")
