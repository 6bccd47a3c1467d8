"""
Figures as SVG that stands inside a page and takes its colours from it.

A figure is drawn in the colours of :class:`Ink`, which no one sees: each becomes a CSS variable of the page, so that
one drawing serves light, dark and print. Text stays text, in the page's font; only words of ours are drawn, because a
font may lack what comes from the wire. Nothing in it points outside the page.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from typing import Any
from xml.etree import ElementTree as ET

import matplotlib as mpl
from matplotlib.figure import Figure

WIDTH = 10.4
"""Of every figure, inches; the page scales it."""

_SVG = "http://www.w3.org/2000/svg"
_XLINK = "http://www.w3.org/1999/xlink"
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    # Ids are hashes; without a salt of its own every run would make others.
    "svg.hashsalt": "shadowmesh",
    "font.size": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    # A dollar sign is one, and not the start of a formula.
    "text.parse_math": False,
    "axes.formatter.use_mathtext": False,
}
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
# The page has a font of its own.
_FAMILY = re.compile(r"font-family:[^;]*;\s*")


class Ink:
    """The colours to draw with, and the variable of the page behind each."""

    TEXT = "#010101"
    MUTED = "#010102"
    GRID = "#010103"
    LIVE = "#010104"
    SHADOW = "#010105"
    PASS = "#010106"
    FAIL = "#010107"
    WAIT = "#010108"
    PAPER = "#010109"


_VARIABLES = {
    Ink.TEXT: "--text",
    Ink.MUTED: "--muted",
    Ink.GRID: "--line",
    Ink.LIVE: "--live",
    Ink.SHADOW: "--shadow",
    Ink.PASS: "--pass",
    Ink.FAIL: "--fail",
    Ink.WAIT: "--wait",
    Ink.PAPER: "--paper",
}
_COLOURS = re.compile("|".join(_VARIABLES))


@contextmanager
def drawing() -> Iterator[None]:
    """Draw in our style inside, whatever the user's matplotlibrc says. Not for several threads at once."""
    inks: dict[Any, Any] = {
        "text.color": Ink.TEXT,
        "axes.edgecolor": Ink.MUTED,
        "axes.labelcolor": Ink.MUTED,
        "xtick.color": Ink.MUTED,
        "ytick.color": Ink.MUTED,
        "grid.color": Ink.GRID,
        "axes.facecolor": "none",
        "figure.facecolor": "none",
    }
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE | inks)
        yield


def inline(figure: Figure, *, name: str, title: str, description: str) -> str:
    """
    Return a figure as an ``<svg>`` element for HTML.

    Args:
        name: letters, digits and hyphens; no other figure of the page has it.
        title, description: what those hear who do not see it.
    """
    sink = BytesIO()
    figure.savefig(sink, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    ET.register_namespace("", _SVG)
    root = ET.fromstring(sink.getvalue())  # noqa: S314 - what matplotlib has just written
    for parent in list(root.iter()):
        for child in list(parent):
            # matplotlib's own style is for every element of a page; its metadata name a server.
            if child.tag in {f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"}:
                parent.remove(child)
    for element in root.iter():
        _adapt(element, name)
    for size in ("width", "height", "version"):
        root.attrib.pop(size, None)
    root.set("role", "img")
    root.set("aria-labelledby", f"{name}-title {name}-description")
    for place, (tag, text) in enumerate((("title", title), ("desc", description))):
        label = ET.Element(f"{{{_SVG}}}{tag}")
        label.set("id", f"{name}-{'title' if tag == 'title' else 'description'}")
        label.text = text
        root.insert(place, label)
    return ET.tostring(root, encoding="unicode")


def _adapt(element: ET.Element, name: str) -> None:
    for key, value in list(element.attrib.items()):
        if key == "id":
            element.set(key, f"{name}-{value}")
        elif key == f"{{{_XLINK}}}href":
            del element.attrib[key]
            element.set("href", f"#{name}-{value.removeprefix('#')}")
        else:
            said = _COLOURS.sub(lambda found: f"var({_VARIABLES[found.group()]})", value)
            element.set(key, _REFERENCE.sub(rf"url(#{name}-\1)", said))
    if element.tag == f"{{{_SVG}}}text":
        element.set("style", _FAMILY.sub("", element.get("style", "")))
