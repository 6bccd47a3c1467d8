"""
The interceptor's own metrics: the funnel and the buffers, read when they are collected.

Observable instruments over tallies: a call pays for a dictionary store, and nothing is recorded per call. So there is
no ``overhead.duration``: most of what a call costs is cold caches and other threads, which a clock around our code
misses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.metrics import Exemplar, ExemplarReservoir, MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader
from opentelemetry.sdk.metrics.view import View
from opentelemetry.sdk.resources import Resource

from shadowmesh import names
from shadowmesh.policy.budget import Remaining
from shadowmesh.policy.draws import Drawn, DrawnKey
from shadowmesh.policy.live_gate import FunnelKey, LossKey
from shadowmesh.policy.skew import KeyFigures


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
        self._funnel = funnel
        self._active = active
        self._queued = queued
        self._lost = lost
        self._closed_targets = closed
        self._remaining = remaining
        self._reloads = reloads
        self._harm = harm
        self._sampling = sampling
        self._draws = draws
        self._captured = captured
        self._aborts = aborts
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
            callbacks=[self._unless_silent(self._observe_funnel)],
            unit="{request}",
            description="Covered exchanges by what became of them at each target",
        )
        meter.create_observable_up_down_counter(
            names.METRIC_MIRROR_ACTIVE,
            callbacks=[self._unless_silent(self._observe_active)],
            unit="{request}",
            description="Shadow calls in flight",
        )
        meter.create_observable_up_down_counter(
            names.METRIC_MIRROR_QUEUE_SIZE,
            callbacks=[self._unless_silent(self._observe_queue)],
            unit="{request}",
            description="Hand-overs from live calls that wait for the mirror engine",
        )
        meter.create_observable_counter(
            names.METRIC_MIRROR_LOST,
            callbacks=[self._unless_silent(self._observe_lost)],
            unit="{request}",
            description="Exchanges of the funnel whose legs are known to be lost, by whom",
        )
        meter.create_observable_counter(
            names.METRIC_MIRROR_ABORTS,
            callbacks=[self._unless_silent(self._observe_aborts)],
            unit="{request}",
            description="Shadow calls whose live client had its own ended by id, by who ended the shadow",
        )
        meter.create_observable_gauge(
            names.METRIC_MIRROR_BREAKER_STATE,
            callbacks=[self._unless_silent(self._observe_breakers)],
            unit="1",
            description="1 while the breaker of a target is open and its exchanges are shed, else 0",
        )
        meter.create_observable_counter(
            names.METRIC_MIRROR_CONFIG_RELOADS,
            callbacks=[self._unless_silent(self._observe_reloads)],
            unit="{reload}",
            description="Changed configurations, by whether they took the place of the one before",
        )
        meter.create_observable_gauge(
            names.METRIC_MIRROR_BUDGET_REMAINING,
            callbacks=[self._unless_silent(self._observe_money)],
            unit="{currency}",
            description="Money that is left of each limit of a target's budget",
        )
        meter.create_observable_gauge(
            names.METRIC_MIRROR_BUDGET_TOKENS,
            callbacks=[self._unless_silent(self._observe_tokens)],
            unit="{token}",
            description="Tokens that are left of a target's budget",
        )
        meter.create_observable_gauge(
            names.METRIC_MIRROR_TIME_BOX_PAIRS,
            callbacks=[self._unless_silent(self._observe_pairs)],
            unit="{pair}",
            description="Pairs that are left of a time-box, for each target",
        )
        meter.create_observable_counter(
            names.METRIC_MIRROR_HARM_STOPS,
            callbacks=[self._unless_silent(self._observe_harm)],
            unit="{stop}",
            description="Times that mirroring has stopped itself because it harmed live calls, by what showed it",
        )
        meter.create_observable_gauge(
            names.METRIC_MIRROR_SAMPLING_TOP_KEY_SHARE,
            callbacks=[self._unless_silent(self._observe_top_keys)],
            unit="1",
            description="Share of an experiment's calls that its most frequent sampling key makes up",
        )
        meter.create_observable_counter(
            names.METRIC_MIRROR_SAMPLING_MISSING_KEYS,
            callbacks=[self._unless_silent(self._observe_missing_keys)],
            unit="{request}",
            description="Calls without the key that their experiment samples by, which were sampled by themselves",
        )
        meter.create_observable_counter(
            names.METRIC_CAPTURE_CALLS,
            callbacks=[self._unless_silent(self._observe_captured)],
            unit="{request}",
            description="Live calls that were to be captured to files, by what became of them",
        )
        # In this order: the first one takes the counts, and the others say what these were.
        meter.create_observable_counter(
            names.METRIC_MIRROR_SAMPLING_ELIGIBLE,
            callbacks=[self._unless_silent(self._observe_eligible)],
            unit="{request}",
            description="Calls that were drawn for a target, where each is drawn by itself",
        )
        meter.create_observable_counter(
            names.METRIC_MIRROR_SAMPLING_SAMPLED,
            callbacks=[self._unless_silent(self._observe_sampled)],
            unit="{request}",
            description="Those of the drawn calls that were taken, whatever became of them then",
        )
        meter.create_observable_counter(
            names.METRIC_MIRROR_SAMPLING_EXPECTED,
            callbacks=[self._unless_silent(self._observe_expected)],
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

    def _unless_silent(
        self, observe: Callable[[CallbackOptions], Iterable[Observation]]
    ) -> Callable[[CallbackOptions], Iterable[Observation]]:
        return lambda options: () if self._silent else observe(options)

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

    def _observe_lost(self, _: CallbackOptions) -> Iterable[Observation]:
        for (experiment, target, reason), count in self._lost().items():
            about = {names.EXPERIMENT_NAME: experiment, names.TARGET_NAME: target, names.MIRROR_LOSS_REASON: reason}
            yield Observation(count, about)

    def _observe_aborts(self, _: CallbackOptions) -> Iterable[Observation]:
        for (experiment, target, result), count in self._aborts().items():
            about = {names.EXPERIMENT_NAME: experiment, names.TARGET_NAME: target, names.MIRROR_ABORT_RESULT: result}
            yield Observation(count, about)

    def _observe_breakers(self, _: CallbackOptions) -> Iterable[Observation]:
        for (experiment, target), reason in self._closed_targets().items():
            about = {names.EXPERIMENT_NAME: experiment, names.TARGET_NAME: target}
            yield Observation(int(reason == names.DropReason.CIRCUIT_OPEN), about)

    def _observe_reloads(self, _: CallbackOptions) -> Iterable[Observation]:
        reloads = self._reloads()
        # Both results from the start, as with the figures of harm.
        for result in names.ReloadResult:
            yield Observation(reloads.get(result, 0), {names.MIRROR_RELOAD_RESULT: result.value})

    def _observe_money(self, _: CallbackOptions) -> Iterable[Observation]:
        for one in self._remaining():
            if one.currency:
                about = {names.MIRROR_BUDGET_LIMIT: one.limit, names.COST_CURRENCY: one.currency}
                yield Observation(one.left, _target(one) | about)

    def _observe_tokens(self, _: CallbackOptions) -> Iterable[Observation]:
        return self._left(names.BudgetLimit.TOKENS)

    def _observe_pairs(self, _: CallbackOptions) -> Iterable[Observation]:
        return self._left(names.TimeBoxLimit.PAIRS)

    def _left(self, limit: str) -> list[Observation]:
        return [Observation(one.left, _target(one)) for one in self._remaining() if one.limit == limit]

    def _observe_harm(self, _: CallbackOptions) -> Iterable[Observation]:
        # Both figures from the start, so that the first stop is an increase and not a new series.
        for figure in names.HarmFigure:
            yield Observation(int(self._harm() == figure), {names.MIRROR_HARM_REASON: figure.value})

    def _observe_top_keys(self, _: CallbackOptions) -> Iterable[Observation]:
        for experiment, keys in self._sampling().items():
            # Of too few calls it is unknown, and never 0.
            if keys.top_share is not None:
                yield Observation(keys.top_share, {names.EXPERIMENT_NAME: experiment})

    def _observe_missing_keys(self, _: CallbackOptions) -> Iterable[Observation]:
        for experiment, keys in self._sampling().items():
            yield Observation(keys.missing, {names.EXPERIMENT_NAME: experiment})

    def _observe_eligible(self, _: CallbackOptions) -> Iterable[Observation]:
        self._drawn = self._draws()
        return [Observation(sums.eligible, _drawn(key)) for key, sums in self._drawn.items()]

    def _observe_sampled(self, _: CallbackOptions) -> Iterable[Observation]:
        return [Observation(sums.sampled, _drawn(key)) for key, sums in self._drawn.items()]

    def _observe_expected(self, _: CallbackOptions) -> Iterable[Observation]:
        return [Observation(sums.expected, _drawn(key)) for key, sums in self._drawn.items()]

    def _observe_captured(self, _: CallbackOptions) -> Iterable[Observation]:
        for (result, reason), count in self._captured().items():
            about = {names.CAPTURE_RESULT: result}
            yield Observation(count, {**about, names.MIRROR_DROP_REASON: reason} if reason else about)

    def _observe_active(self, _: CallbackOptions) -> Iterable[Observation]:
        for (experiment, target), count in self._active().items():
            yield Observation(count, {names.EXPERIMENT_NAME: experiment, names.TARGET_NAME: target})

    def _observe_queue(self, _: CallbackOptions) -> Iterable[Observation]:
        yield Observation(self._queued())


def _target(one: Remaining) -> dict[str, str]:
    return {names.EXPERIMENT_NAME: one.experiment, names.TARGET_NAME: one.target}


def _drawn(key: DrawnKey) -> dict[str, str]:
    return {
        names.EXPERIMENT_NAME: key.experiment,
        names.TARGET_NAME: key.target,
        names.CONFIG_DIGEST: key.config_digest,
    }
