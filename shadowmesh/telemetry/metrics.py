"""
The interceptor's own metrics: the funnel and the buffers, read when they are collected.

Observable instruments over tallies: a call pays for a dictionary store, and nothing is recorded per call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader
from opentelemetry.sdk.resources import Resource

from shadowmesh import names
from shadowmesh.policy.live_gate import FunnelKey


class MirrorMetrics:
    """Publishes ``shadowmesh.mirror.*`` through one metric reader."""

    def __init__(
        self,
        reader: MetricReader,
        resource: Resource,
        *,
        funnel: Callable[[], Mapping[FunnelKey, int]],
        active: Callable[[], Mapping[tuple[str, str], int]],
        queued: Callable[[], int],
    ) -> None:
        self._funnel = funnel
        self._active = active
        self._queued = queued
        self._closed = False
        self._provider = MeterProvider(metric_readers=[reader], resource=resource, shutdown_on_exit=False)
        meter = self._provider.get_meter(names.SCOPE_INTERCEPTOR, schema_url=names.SCHEMA_URL)
        meter.create_observable_counter(
            names.METRIC_MIRROR_REQUESTS,
            callbacks=[self._observe_funnel],
            unit="{request}",
            description="Covered exchanges by what became of them at each target",
        )
        meter.create_observable_up_down_counter(
            names.METRIC_MIRROR_ACTIVE,
            callbacks=[self._observe_active],
            unit="{request}",
            description="Shadow calls in flight",
        )
        meter.create_observable_up_down_counter(
            names.METRIC_MIRROR_QUEUE_SIZE,
            callbacks=[self._observe_queue],
            unit="{request}",
            description="Hand-overs from live calls that wait for the mirror engine",
        )

    def flush(self, seconds: float) -> bool:
        """Collect and export now."""
        return self._provider.force_flush(timeout_millis=seconds * 1e3)

    def close(self, seconds: float) -> None:
        """Export the last state and end; more than once is safe."""
        if not self._closed:
            self._closed = True
            self._provider.shutdown(timeout_millis=seconds * 1e3)

    def _observe_funnel(self, _: CallbackOptions) -> Iterable[Observation]:
        for (experiment, target, decision, reason), count in self._funnel().items():
            attributes = {
                names.EXPERIMENT_NAME: experiment,
                names.TARGET_NAME: target,
                names.MIRROR_DECISION: decision,
            }
            if reason:
                attributes[names.MIRROR_DROP_REASON] = reason
            yield Observation(count, attributes)

    def _observe_active(self, _: CallbackOptions) -> Iterable[Observation]:
        for (experiment, target), count in self._active().items():
            yield Observation(count, {names.EXPERIMENT_NAME: experiment, names.TARGET_NAME: target})

    def _observe_queue(self, _: CallbackOptions) -> Iterable[Observation]:
        yield Observation(self._queued())
