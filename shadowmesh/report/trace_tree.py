"""One exchange as a tree: which span hangs under which, how long each took and when, on one time axis."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from shadowmesh.names import Role
from shadowmesh.report import units
from shadowmesh.report.records import TraceSpan

_STYLES = {Role.LIVE: "green", Role.SHADOW: "magenta"}
_TIME = 9
"""Cells for a duration such as `123.4 ms`."""
_NARROWEST_BAR = 12


def draw(root: TraceSpan, *, width: int = 80) -> Text:
    """Return the tree in lines of at most ``width`` cells; facts stand below their span."""
    spans = list(_walk(root))
    begun, ended = min(span.started_ns for span in spans), max(span.ended_ns for span in spans)
    lines = list(_lines(root, own="", below=""))
    widest = max(cell_len(label) for label, span in lines if span is not None)
    label_width = min(widest, width - _TIME - 2 - _NARROWEST_BAR)
    axis = _Axis(begun, ended, cells=width - label_width - _TIME - 2)
    text = Text(no_wrap=True, overflow="crop")
    for label, span in lines:
        if span is None:
            text.append(_cut(label, width).rstrip(), "dim")
        else:
            style = _STYLES.get(Role(span.role), "") if span.role in set(Role) else "bold"
            text.append(set_cell_size(_cut(label, label_width), label_width) + " ", style)
            text.append(axis.bar(span), style)
            took = span.ended_ns - span.started_ns
            text.append((units.duration(took / 1e9) if took else "").rjust(_TIME + 1))
        text.append("\n")
    text.rstrip()
    return text


class _Axis:
    """Places spans on a line of cells; a span always has at least one."""

    def __init__(self, begun: int, ended: int, *, cells: int) -> None:
        self._begun = begun
        self._length = max(ended - begun, 1)
        self._cells = cells

    def bar(self, span: TraceSpan) -> str:
        first = min(self._place(span.started_ns), self._cells - 1)
        if span.started_ns == span.ended_ns:
            return " " * first + "◆" + " " * (self._cells - first - 1)
        last = max(self._place(span.ended_ns), first + 1)
        return " " * first + "━" * (last - first) + " " * (self._cells - last)

    def _place(self, at: int) -> int:
        return round((at - self._begun) / self._length * self._cells)


def _walk(span: TraceSpan) -> Iterator[TraceSpan]:
    yield span
    for child in span.children:
        yield from _walk(child)


def _lines(span: TraceSpan, *, own: str, below: str) -> Iterator[tuple[str, TraceSpan | None]]:
    """Yield the lines of a span: its own with the span, those of its facts without."""
    yield own + span.name, span
    guide = "│ " if span.children else "  "
    for fact in span.facts:
        yield below + guide + fact, None
    for child, following in pairwise((*span.children, None)):
        if child is not None:
            last = following is None
            yield from _lines(child, own=below + ("└─ " if last else "├─ "), below=below + ("   " if last else "│  "))


def _cut(label: str, width: int) -> str:
    return label if cell_len(label) <= width else set_cell_size(label, width - 1) + "…"
