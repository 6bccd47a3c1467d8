"""
The interceptor's own metrics: the funnel and the buffers, read when they are collected.

Observable instruments over tallies: a call pays for a dictionary store, and nothing is recorded per call. So there is
no ``overhead.duration``: most of what a call costs is cold caches and other threads, which a clock around our code
misses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import Exemplar, ExemplarReservoir, MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader
from opentelemetry.sdk.metrics.view import View
from opentelemetry.sdk.resources import Resource

from shadowmesh import names
from shadowmesh.policy.budget import Remaining
from shadowmesh.policy.draws import Drawn, DrawnKey
from shadowmesh.policy.funnel import FunnelKey, LossKey
from shadowmesh.policy.skew import KeyFigures
from shadowmesh.telemetry import observed

Read = TypeVar("Read")


class _NoExemplars(ExemplarReservoir):
    """
    Keeps none: what is read when it is collected is no call's. SDK 1.28 makes some all the same, without a span, which
    its OTLP encoder cannot write, and then nothing at all is exported.
    """

    def offer(self, *_: object) -> None:
        """Let it go."""

    def collect(self, *_: object) -> list[Exemplar]:
        """Return nothing."""
        return []


def _no_exemplars(*_: object, **__: object) -> ExemplarReservoir:
    return _NoExemplars()


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
        lost: Callable[[], Mapping[LossKey, int]],
        closed: Callable[[], Mapping[tuple[str, str], str]],
        remaining: Callable[[], Iterable[Remaining]],
        reloads: Callable[[], Mapping[names.ReloadResult, int]],
        harm: Callable[[], str],
        sampling: Callable[[], Mapping[str, KeyFigures]],
        draws: Callable[[], Mapping[DrawnKey, Drawn]],
        captured: Callable[[], Mapping[tuple[str, str], int]] = dict,
        aborts: Callable[[], Mapping[tuple[str, str, str], int]] = dict,
    ) -> None:
        self._draws = draws
        self._drawn: Mapping[DrawnKey, Drawn] = {}
        self._closed = False
        self._silent = False
        self._provider = MeterProvider(
            metric_readers=[reader],
            resource=resource,
            shutdown_on_exit=False,
            views=[View(instrument_name="*", exemplar_reservoir_factory=lambda _: _no_exemplars)],
        )
        meter = self._provider.get_meter(names.SCOPE_INTERCEPTOR, schema_url=names.SCHEMA_URL)
        meter.create_observable_counter(
            names.METRIC_MIRROR_REQUESTS,
            callbacks=self._of(funnel, observed.funnel),
            unit="{request}",
            description="Covered exchanges by what became of them at each target",
        )
        meter.create_observable_up_down_counter(
            names.METRIC_MIRROR_ACTIVE,
            callbacks=self._of(active, observed.active),
            unit="{request}",
            description="Shadow calls in flight",
        )
        meter.create_observable_up_down_counter(
            names.METRIC_MIRROR_QUEUE_SIZE,
            callbacks=self._of(queued, observed.queued),
            unit="{request}",
            description="Hand-overs from live calls that wait for the mirror engine",
        )
        meter.create_observable_counter(
            names.METRIC_MIRROR_LOST,
            callbacks=self._of(lost, observed.lost),
            unit="{request}",
            description="Exchanges of the funnel whose legs are known to be lost, by whom",
        )
        meter.create_observable_counter(
            names.METRIC_MIRROR_ABORTS,
            callbacks=self._of(aborts, observed.aborts),
            unit="{request}",
            description="Shadow calls whose live client had its own ended by id, by who ended the shadow",
        )
        meter.create_observable_gauge(
            names.METRIC_MIRROR_BREAKER_STATE,
            callbacks=self._of(closed, observed.breakers),
            unit="1",
            description="1 while the breaker of a target is open and its exchanges are shed, else 0",
        )
        meter.create_observable_counter(
            names.METRIC_MIRROR_CONFIG_RELOADS,
            callbacks=self._of(reloads, observed.reloads),
            unit="{reload}",
            description="Changed configurations, by whether they took the place of the one before",
        )
        meter.create_observable_gauge(
            names.METRIC_MIRROR_BUDGET_REMAINING,
            callbacks=self._of(remaining, observed.money),
            unit="{currency}",
            description="Money that is left of each limit of a target's budget",
        )
        meter.create_observable_gauge(
            names.METRIC_MIRROR_BUDGET_TOKENS,
            callbacks=self._of(remaining, observed.tokens),
            unit="{token}",
            description="Tokens that are left of a target's budget",
        )
        meter.create_observable_gauge(
            names.METRIC_MIRROR_TIME_BOX_PAIRS,
            callbacks=self._of(remaining, observed.pairs),
            unit="{pair}",
            description="Pairs that are left of a time-box, for each target",
        )
        meter.create_observable_counter(
            names.METRIC_MIRROR_HARM_STOPS,
            callbacks=self._of(harm, observed.harm),
            unit="{stop}",
            description="Times that mirroring has stopped itself because it harmed live calls, by what showed it",
        )
        meter.create_observable_gauge(
            names.METRIC_MIRROR_SAMPLING_TOP_KEY_SHARE,
            callbacks=self._of(sampling, observed.top_keys),
            unit="1",
            description="Share of an experiment's calls that its most frequent sampling key makes up",
        )
        meter.create_observable_counter(
            names.METRIC_MIRROR_SAMPLING_MISSING_KEYS,
            callbacks=self._of(sampling, observed.missing_keys),
            unit="{request}",
            description="Calls without the key that their experiment samples by, which were sampled by themselves",
        )
        meter.create_observable_counter(
            names.METRIC_CAPTURE_CALLS,
            callbacks=self._of(captured, observed.captured),
            unit="{request}",
            description="Live calls that were to be captured to files, by what became of them",
        )
        # In this order: the first one takes the counts, and the others say what these were.
        meter.create_observable_counter(
            names.METRIC_MIRROR_SAMPLING_ELIGIBLE,
            callbacks=self._of(self._draw, observed.eligible),
            unit="{request}",
            description="Calls that were drawn for a target, where each is drawn by itself",
        )
        meter.create_observable_counter(
            names.METRIC_MIRROR_SAMPLING_SAMPLED,
            callbacks=self._of(lambda: self._drawn, observed.sampled),
            unit="{request}",
            description="Those of the drawn calls that were taken, whatever became of them then",
        )
        meter.create_observable_counter(
            names.METRIC_MIRROR_SAMPLING_EXPECTED,
            callbacks=self._of(lambda: self._drawn, observed.expected),
            unit="{request}",
            description="How many of the drawn calls were to be taken: the sum of their rates",
        )

    def forget(self) -> None:
        """Say nothing any more: in a forked process the SDK revives the parent's reader, whose account is not ours."""
        self._closed = self._silent = True

    def flush(self, seconds: float) -> bool:
        """Collect and export now."""
        return self._provider.force_flush(timeout_millis=seconds * 1e3)

    def close(self, seconds: float) -> None:
        """Export the last state and end; more than once is safe."""
        if not self._closed:
            self._closed = True
            self._provider.shutdown(timeout_millis=seconds * 1e3)

    def _of(
        self, read: Callable[[], Read], observe: Callable[[Read], Iterable[Observation]]
    ) -> list[Callable[[CallbackOptions], Iterable[Observation]]]:
        """Return the callbacks of an instrument: what is read when it is collected, as it is said."""
        return [lambda _: () if self._silent else observe(read())]

    def _draw(self) -> Mapping[DrawnKey, Drawn]:
        self._drawn = self._draws()
        return self._drawn
