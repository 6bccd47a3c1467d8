"""What a mesh says of itself: every target with its funnel, what waits, what carries it, the errors."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict

from shadowmesh.mirror.capture import Capture
from shadowmesh.mirror.carrier import Carrier, MirrorSettings
from shadowmesh.mirror.live import LiveSide
from shadowmesh.mirror.process import ProcessCarrier
from shadowmesh.mirror.publication import Publication
from shadowmesh.mirror.upkeep import Upkeep
from shadowmesh.names import CaptureResult
from shadowmesh.policy.experiment import ExperimentSettings
from shadowmesh.telemetry import snapshot, status_shape
from shadowmesh.telemetry.status_shape import Buffers, Captured, ConfigFile, Fill, InterceptorStatus


def status_of(
    live: LiveSide,
    carrier: Carrier | None,
    publication: Publication,
    upkeep: Upkeep,
    *,
    experiments: Iterable[ExperimentSettings],
    settings: MirrorSettings,
    capture: Capture | None,
) -> InterceptorStatus:
    """
    Return the status.

    Args:
        experiments: those of the configuration, switched off or not.
    """
    figures = live.figures
    return InterceptorStatus(
        **snapshot.header(publication.life, publication.resource, live.faults),
        accepting=live.accepting,
        experiments=snapshot.experiments(
            experiments,
            lines=figures.funnel(),
            active=figures.active(),
            closed=figures.closed(),
            lost=figures.lost(),
            remaining=figures.remaining(),
            misfits=upkeep.findings,
            keys=figures.sampling(),
        ),
        buffers=Buffers(
            queue=Fill(used=live.queued(), cap=settings.queue_items),
            captured_bytes=Fill(used=live.credit_taken(), cap=settings.capture_bytes),
            pairs=snapshot.pairs(publication.pairs, publication.settings.queue_pairs),
        ),
        carrier=_carrier(carrier, running=publication.running),
        harm_guard=asdict(live.guard.report) if settings.harm_guard.enabled else None,
        config_file=_config_file(upkeep),
        captured=None if capture is None else _captured(capture),
    )


def _captured(capture: Capture) -> Captured:
    totals, settings = capture.totals(), capture.settings
    written, incomplete, failed = (
        totals.get((result.value, ""), 0)
        for result in (CaptureResult.WRITTEN, CaptureResult.INCOMPLETE, CaptureResult.FAILED)
    )
    return Captured(
        accepting=capture.live.accepting,
        written=written,
        incomplete=incomplete,
        failed=failed,
        shed={reason: count for (_, reason), count in totals.items() if reason},
        queue=Fill(used=capture.live.queued(), cap=settings.queue_items),
        bytes=Fill(used=capture.held_bytes, cap=settings.queue_bytes),
    )


def _carrier(carrier: Carrier | None, *, running: bool) -> status_shape.Carrier:
    kind = None if carrier is None else type(carrier).__name__.removesuffix("Carrier").lower()
    if not isinstance(carrier, ProcessCarrier):
        return status_shape.Carrier(kind=kind, running=running)
    return status_shape.Carrier(
        kind=kind,
        running=running,
        workers=Fill(used=sum(link.pid is not None for link in carrier.links), cap=len(carrier.links)),
        restarts=sum(link.restarts for link in carrier.links),
        unconfirmed=carrier.unconfirmed,
    )


def _config_file(upkeep: Upkeep) -> ConfigFile | None:
    file = upkeep.file
    if file is None:
        return None
    return ConfigFile(
        path=str(file.path),
        watched=upkeep.started,
        applied=file.applied,
        refused=file.refused,
        problem=file.problem or None,
    )
