"""What a keeper is made with where no candidate is of interest."""

from __future__ import annotations

from collections.abc import Callable

from shadowmesh.processor.judging import Judging
from shadowmesh.processor.settings import ProcessorSettings
from shadowmesh.telemetry.faults import Faults
from shadowmesh.testing import FakeClock


def judging(settings: ProcessorSettings, wall_ns: Callable[[], int], *, faults: Faults | None = None) -> Judging:
    """Return one that judges by default criteria, and tells nobody."""
    return Judging(settings, (), faults=faults or Faults(), wall_ns=wall_ns, monotonic_ns=FakeClock())
