"""What came of the pairs of an experiment: in the store, and in Prometheus."""

from __future__ import annotations

from collections import Counter

from e2e.stage import Stage

from shadowmesh.store.reader import PairFilter, Reader
from shadowmesh.store.records import Content, PairRecord


def stored(url: str, experiment: str) -> list[PairRecord]:
    """Return the pairs in a store."""
    reader = Reader.open(url)
    try:
        return [one.record for one in reader.pairs(PairFilter(experiment=experiment))]
    finally:
        reader.close()


def outcomes(url: str, experiment: str) -> Counter[str]:
    """Return how many pairs in a store have each outcome."""
    return Counter(str(one.comparison.outcome) for one in stored(url, experiment))


def splits(url: str) -> int:
    """Return how many pairs in a store are known to have their other half at another processor."""
    reader = Reader.open(url)
    try:
        return reader.splits()
    finally:
        reader.close()


def contents(url: str, experiment: str) -> list[Content]:
    """Return the captured text in a store."""
    reader = Reader.open(url)
    try:
        return [*reader.content(reader.pairs(PairFilter(experiment=experiment))).values()]
    finally:
        reader.close()


def value(stage: Stage, query: str) -> float | None:
    """Return the one value of a query, if it has a result."""
    return next((float(series["value"][1]) for series in stage.prometheus.query(query)), None)


def counted(stage: Stage, experiment: str) -> float | None:
    """Return how many pairs were counted, by all processors together."""
    return value(stage, f'sum(shadowmesh_pairs_total{{shadowmesh_experiment_name="{experiment}"}})')


def missing(stage: Stage, experiment: str) -> float | None:
    """Return how many exchanges were mirrored, and are neither a pair nor known to be lost."""
    of_it = f'shadowmesh_experiment_name="{experiment}"'
    lost = f"(sum(shadowmesh_mirror_lost_total{{{of_it}}}) or vector(0))"
    return value(
        stage, f"sum(shadowmesh_mirror_requests_total{{{of_it}}}) - sum(shadowmesh_pairs_total{{{of_it}}}) - {lost}"
    )
