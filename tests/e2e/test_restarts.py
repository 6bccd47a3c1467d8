"""Each part is killed and comes back while calls go on: nothing acknowledged is lost, and nothing is counted twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest
from e2e.live import mirrored
from e2e.results import missing, outcomes, stored, value
from e2e.stage import Stage
from stack.parts import Binaries
from stack.running import Running
from support.resources import until

from shadowmesh import names

pytestmark = pytest.mark.e2e

WITHIN = 60.0
CALLS = 25
INBOUND, COMPARE = "inbound", "compare"
COMPARED = Counter({COMPARE: 1})


@pytest.fixture(scope="module")
def stage(binaries: Binaries, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One in which every pair has a comparison, and Jaeger its traces on disk."""
    directory = tmp_path_factory.mktemp("stage")
    with Stage(binaries, directory, settings={"compare_spans": "always"}, jaeger="jaeger-badger") as running:
        yield running


def parts_of(stage: Stage, trace_id: int) -> Counter[str]:
    """Return how many spans Jaeger has of each part of a trace."""
    found: Counter[str] = Counter()
    for span in stage.jaeger.trace(f"{trace_id:032x}"):
        said = {one["key"]: one["value"].get("stringValue") for one in span["attributes"]}
        found[COMPARE if span["name"] == names.COMPARE_SPAN else said.get(names.ROLE, INBOUND)] += 1
    return found


def test_nothing_is_lost_and_nothing_counted_twice(stage: Stage) -> None:
    name, calls = "restarted", 0
    killed: list[Running] = [stage.processor, stage.collector, stage.jaeger, stage.prometheus]
    with mirrored(stage, name=name) as live:
        for part in killed:
            live.ask_many(CALLS)
            part.kill()
            live.ask_many(CALLS)
            part.start()
            live.ask_many(CALLS)
            calls += 3 * CALLS
    assert live.mirrored() == calls

    assert until(lambda: outcomes(stage.store, name) == {"matched": calls}, WITHIN), outcomes(stage.store, name)
    pairs = f'sum by (shadowmesh_pair_outcome) (shadowmesh_pairs_total{{shadowmesh_experiment_name="{name}"}})'
    assert until(lambda: value(stage, pairs) == calls, WITHIN), stage.prometheus.query(pairs)
    assert len(stage.prometheus.query(pairs)) == 1
    assert until(lambda: missing(stage, name) == 0, WITHIN), missing(stage, name)
    (account,) = stage.processor.status()["experiments"][0]["targets"]
    assert (account["sent"], account["outcomes"], account["missing"]) == (calls, {"matched": calls}, 0)
    assert "damaged" not in stage.processor.log.read_text(encoding="utf-8")

    traces = {one.pair.live.trace_id for one in stored(stage.store, name) if one.pair.live is not None}
    assert len(traces) == calls
    # Of a comparison that was under way when its processor was killed nobody has another.
    whole = Counter({INBOUND: 1, "live": 1, "shadow": 1})
    assert until(lambda: all(parts_of(stage, one) - COMPARED == whole for one in traces), WITHIN)


def test_a_collector_that_is_killed_has_what_it_took_for_a_processor_that_was_away(stage: Stage) -> None:
    name = "queued"
    stage.processor.kill()
    with mirrored(stage, name=name) as live:
        live.ask_many(CALLS)
    stage.collector.kill()
    stage.processor.start()
    assert outcomes(stage.store, name) == {}
    stage.collector.start()
    assert until(lambda: outcomes(stage.store, name) == {"matched": CALLS}, WITHIN), outcomes(stage.store, name)
    assert until(lambda: missing(stage, name) == 0, WITHIN), missing(stage, name)
