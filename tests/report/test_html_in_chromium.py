"""The page in a browser: it opens from a file, fetches nothing, complains of nothing and fits."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from stack.required import missing
from support.chromium import Browser, browser, chromium
from support.reports import candidate, report, verdict

from shadowmesh.report.candidate import CandidateReport
from shadowmesh.report.html_page import page
from shadowmesh.verdict.records import Answer

_OVERFLOW = "document.scrollingElement.scrollWidth - window.innerWidth"
# Text of charts that is outside its chart.
_CHART_FAULTS = """
[...document.querySelectorAll("svg")].flatMap(svg => {
  const frame = svg.getBoundingClientRect();
  const texts = [...svg.querySelectorAll("text")].map(text => [text.textContent, text.getBoundingClientRect()]);
  const outside = texts.filter(([, box]) => box.left < frame.left - 1 || box.right > frame.right + 1
                                         || box.top < frame.top - 1 || box.bottom > frame.bottom + 1);
  return outside.map(([text]) => text);
})
"""
_COLOURS = "['background-color', 'color'].map(name => getComputedStyle(document.body).getPropertyValue(name))"


@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    """A browser for all tests here."""
    program = chromium()
    if program is None:
        missing("no Chromium here: apt-get install chromium")
    with browser(program) as running:
        yield running


@pytest.fixture(scope="module", params=["whole", "empty", "bare", "several"])
def file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pages of every kind, as files."""
    whole = candidate()
    bare = CandidateReport(verdict=verdict(pairs=0, first_ns=0, last_ns=0, findings=()))
    long_names = candidate(verdict=verdict(answer=Answer.NO_GO, reason="because " + "x" * 500))
    shown = {"whole": [whole], "empty": [], "bare": [bare], "several": [whole, bare, long_names]}[request.param]
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(page(report(*shown, jaeger="https://jaeger.example")), encoding="utf-8")
    return path


def test_it_asks_for_nothing_but_itself_and_complains_of_nothing(chrome: Browser, file: Path) -> None:
    chrome.show(file)
    assert chrome.requests() == [file.as_uri()]
    assert chrome.complaints() == []


@pytest.mark.parametrize("width", [800, 1400])
def test_it_fits_the_window(chrome: Browser, file: Path, width: int) -> None:
    chrome.size(width)
    chrome.show(file)
    assert chrome.value(_OVERFLOW) <= 0
    assert chrome.value(_CHART_FAULTS) == []


def test_it_follows_the_colour_scheme_and_prints_light(chrome: Browser, file: Path) -> None:
    chrome.media(scheme="dark")
    chrome.show(file)
    paper, ink = map(_brightness, chrome.value(_COLOURS))
    assert paper < 60
    assert ink > 180
    chrome.media(scheme="dark", kind="print")
    paper, ink = map(_brightness, chrome.value(_COLOURS))
    assert ink < 60
    assert paper > 180
    chrome.media()


def test_it_prints(chrome: Browser, file: Path) -> None:
    chrome.show(file)
    pdf = chrome.pdf()
    assert pdf.startswith(b"%PDF-")
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 30


def test_a_page_that_asks_and_complains_is_noticed(chrome: Browser, tmp_path: Path) -> None:
    path = tmp_path / "bad.html"
    path.write_text("<img src='http://127.0.0.1:9/x'><script>console.log(1); nothing()</script><pre>" + "x" * 999)
    chrome.size(800)
    chrome.show(path)
    assert len(chrome.requests()) == 2
    assert chrome.complaints()
    assert chrome.value(_OVERFLOW) > 0


def _brightness(colour: str) -> int:
    return sum(int(part) for part in re.findall(r"\d+", colour)[:3]) // 3
