"""What happens once is an increase: what the processor counts was 0 before it appeared."""

from __future__ import annotations

import pytest
from e2e.live import mirrored
from e2e.stage import Stage
from support.resources import until

pytestmark = pytest.mark.e2e

WITHIN = 30.0


def test_the_only_pair_of_an_experiment_is_an_increase(stage: Stage) -> None:
    with mirrored(stage, name="only-one") as live:
        live.ask("one")

    def increase(metric: str) -> float:
        query = f'sum(increase({metric}{{shadowmesh_experiment_name="only-one"}}[10m]))'
        return sum(float(one["value"][1]) for one in stage.prometheus.query(query))

    for metric in ("shadowmesh_pairs_total", "shadowmesh_pair_duration_ratio_count"):
        assert until(lambda metric=metric: increase(metric) > 0, WITHIN), metric  # type: ignore[misc]
