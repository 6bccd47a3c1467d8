"""The dashboard is whole: what the product measures is on it or in a rule, and nothing lies over something else."""

from __future__ import annotations

from deploy.queries import all_queries, dashboard, panels, recorded

from shadowmesh import names
from shadowmesh.processor.instruments import INSTRUMENTS, JUDGED, OBSERVED

COLUMNS = 24


def test_every_metric_is_read_by_a_query() -> None:
    made = {value for name, value in vars(names).items() if name.startswith(("METRIC_MIRROR_", "METRIC_CAPTURE_"))}
    made |= {*OBSERVED, *JUDGED, *(instrument.name for instrument in INSTRUMENTS)}
    read = {metric for query in all_queries() for metric in query.metrics}
    unread = {name for name in made if not any(metric.startswith(name.replace(".", "_")) for metric in read)}
    assert unread == set()


def test_every_recorded_name_that_is_read_is_recorded() -> None:
    read = {metric for query in all_queries() for metric in query.metrics if ":" in metric}
    assert read <= recorded().keys()


def test_panels_have_titles_descriptions_units_and_ids_of_their_own() -> None:
    everything = dashboard()["panels"]
    assert len({panel["id"] for panel in everything}) == len(everything)
    for panel in panels():
        assert panel["title"]
        assert panel["description"]
        assert panel["fieldConfig"]["defaults"]["unit"]
        assert panel["targets"]
        assert all(target["legendFormat"] for target in panel["targets"])


def test_panels_lie_beside_each_other() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in dashboard()["panels"]:
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= COLUMNS
        for x in range(at["x"], at["x"] + at["w"]):
            for y in range(at["y"], at["y"] + at["h"]):
                assert (x, y) not in taken, f"{panel['title']} lies over {taken[x, y]}"
                taken[x, y] = panel["title"]


def test_every_query_asks_the_data_source_that_was_chosen() -> None:
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    assert all(panel["datasource"] == chosen for panel in panels())
    assert all(target["datasource"] == chosen for panel in panels() for target in panel["targets"])
