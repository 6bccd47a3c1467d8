"""
Prometheus' text format and OpenMetrics 1.0, written (pure).

By hand, because a point's labels are then put together once and not for each of its buckets: the clients' own writer
takes ten times as long, and what it holds meanwhile is what a scrape costs. Their parsers read it in the tests.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

OPENMETRICS = "application/openmetrics-text"
_SECOND = 1_000_000_000
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


class Example(NamedTuple):
    """The span that a value is from."""

    trace_id: int
    span_id: int
    value: float
    at_ns: int


class Family(NamedTuple):
    """The head of a metric: ``kind`` as OpenMetrics names it, ``name`` without what the kind puts behind it."""

    name: str
    kind: str
    unit: str
    description: str


class Form:
    """One of the two formats."""

    def __init__(self, *, openmetrics: bool) -> None:
        self._openmetrics = openmetrics
        self.content_type = f"{OPENMETRICS}; version=1.0.0" if openmetrics else "text/plain; version=0.0.4"
        self.content_type += "; charset=utf-8"
        self.end = "# EOF\n" if openmetrics else ""

    def head(self, family: Family) -> str:
        """Return the lines in front of the samples."""
        name, kind = family.name, family.kind
        if not self._openmetrics:
            name += {"counter": "_total", "info": "_info"}.get(kind, "")
            kind = "gauge" if kind == "info" else kind
        lines = [f"# HELP {name} {family.description.translate(_ESCAPES)}", f"# TYPE {name} {kind}"]
        if self._openmetrics and family.unit:
            lines.append(f"# UNIT {name} {family.unit}")
        return "\n".join(lines) + "\n"

    def histogram(
        self,
        name: str,
        labels: str,
        buckets: Iterable[tuple[str, int]],
        examples: Mapping[int, Example],
        total: float,
    ) -> Iterator[str]:
        """
        Yield the samples of one histogram.

        Args:
            buckets: upper bounds, of which the last is ``+Inf``, and how many values are not above each.
            examples: by the place of their bucket.
        """
        before = f'{name}_bucket{{{labels}{"," if labels else ""}le="'
        count = 0
        for place, (bound, count) in enumerate(buckets):
            example = examples.get(place) if self._openmetrics else None
            yield f'{before}{bound}"}} {count}{"" if example is None else _exemplar(example)}\n'
        yield sample(f"{name}_count", labels, count)
        yield sample(f"{name}_sum", labels, total)


def sample(name: str, labels: str, value: float) -> str:
    """Return the line of a sample."""
    return f"{name}{{{labels}}} {value!r}\n" if labels else f"{name} {value!r}\n"


def labels_of(pairs: Sequence[tuple[str, str]]) -> str:
    """Return labels as they stand between braces."""
    return ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in pairs)


def _exemplar(example: Example) -> str:
    seconds, rest = divmod(example.at_ns, _SECOND)
    span = f'trace_id="{example.trace_id:032x}",span_id="{example.span_id:016x}"'
    return f" # {{{span}}} {example.value!r} {seconds}.{rest:09d}"
