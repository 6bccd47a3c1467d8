"""The page as text: what is on it, what is left out where nothing is known, and that nothing hostile gets through."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from support.reports import TRACE, candidate, diff, report, verdict, worst

from shadowmesh.processor.funnel import Account
from shadowmesh.report.candidate import CandidateReport, DailyUse, PerCall, Piece, Report, StatusRow, Trouble
from shadowmesh.report.html_page import page
from shadowmesh.verdict.records import Answer, EvidenceKey, Result

HOSTILE = (
    "\"'><script>alert(1)</script><img src=http://evil.example/x onerror=alert(1)>\u202e\x1b[2J\ud800 {{ 7 * 7 }} $a$"
)
TAGS = {
    *(
        "html",
        "head",
        "meta",
        "title",
        "style",
        "body",
        "header",
        "main",
        "footer",
        "article",
        "nav",
        "ul",
        "li",
        "div",
    ),
    *("h1", "h2", "h3", "h4", "p", "span", "strong", "small", "dl", "dt", "dd", "br", "a", "code", "bdi", "ins", "del"),
    *("table", "caption", "thead", "tbody", "tr", "th", "td", "figure", "figcaption"),
    *("svg", "desc", "defs", "g", "path", "use", "text", "clippath", "rect"),
}


class Page(HTMLParser):
    """What a browser would make of a page, roughly."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: Counter[str] = Counter()
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags[tag] += 1
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def values(self, attribute: str) -> list[str]:
        return [value for _, name, value in self.attributes if name == attribute]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def shown(*candidates: CandidateReport, jaeger: str = "") -> Page:
    return Page(page(report(*candidates, jaeger=jaeger)))


@pytest.fixture(scope="module")
def whole() -> Page:
    """The page of one candidate of which everything is known."""
    return shown(candidate())


def nothing_known() -> CandidateReport:
    """Return a candidate of whose pairs none was stored."""
    empty = verdict(
        pairs=0, comparable=0, first_ns=0, last_ns=0, blocks=0, pairs_per_second=0.0, findings=(), warnings=()
    )
    return CandidateReport(verdict=replace(empty, eta_pairs=None, eta_seconds=None))


def test_everything_that_is_known_is_on_it(whole: Page) -> None:
    text = whole.text
    for said in (
        "May llama-70b-fp8 go live?",
        "NOT YET",
        "about 11,200 more pairs, about 2 h 43 min",
        "P95 latency",
        "×1.03 to ×1.12",
        "pass 21.4 of 3.0",
        "Time to first chunk",
        "Switching would save about",
        "RESOURCE_EXHAUSTED",
        "exchanges seen",
        TRACE,
        "50 mg",
        "only the beginning is shown",
    ):
        assert said in text


@pytest.mark.parametrize(
    ("answer", "sign"), [(Answer.GO, "✓ GO"), (Answer.NO_GO, "✕ NO GO"), (Answer.NOT_YET, "… NOT YET")]
)
def test_the_answer_is_told_by_word_and_sign_and_not_by_colour_alone(answer: Answer, sign: str) -> None:
    assert sign.replace("✕", "\N{MULTIPLICATION X}") in shown(candidate(verdict=verdict(answer=answer))).text


def test_without_any_candidate_it_says_so() -> None:
    assert "no pair was stored" in shown().text


def test_without_evidence_every_section_says_what_is_missing() -> None:
    found = shown(nothing_known())
    for said in (
        "No pair with a known latency yet",
        "Not enough minutes",
        "Neither tokens nor cost",
        "No pair yet",
        "Nothing was counted yet",
        "No pair stands out",
        "None to show: text is captured only",
    ):
        assert said in found.text
    assert not found.tags["svg"]


def test_cost_without_prices_is_unknown_and_not_zero() -> None:
    use = DailyUse(calls_per_day=None, live=PerCall(output_tokens=10.0), shadow=PerCall(output_tokens=12.0), pairs=3)
    text = shown(candidate(use=use)).text
    assert "1,000 calls" in text
    assert "What it costs is unknown" in text
    assert "$" not in text


def test_a_funnel_without_interceptors_says_that_its_beginning_is_unknown() -> None:
    account = Account("checkout", "llama-70b-fp8", outcomes={"matched": 3})
    text = shown(candidate(account=account)).text
    assert "what was not sampled is unknown" in text
    assert "exchanges seen" not in text


def test_a_pair_that_is_bad_in_two_ways_has_one_row_with_both() -> None:
    both = replace(worst()[0], also=(Trouble.SIMILARITY,), similarity=0.2)
    found = shown(candidate(worst=(both,), diffs=()))
    assert found.text.count(both.pair_id) == 1
    assert "latency ×13.5 similarity 20.0 %" in found.text


def test_what_is_worse_in_one_method_only_says_in_which() -> None:
    failed = replace(verdict().findings[0], result=Result.FAIL, stratum="/chat.Chat/Complete")
    found = shown(candidate(verdict=verdict(answer=Answer.NO_GO, findings=(failed,))))
    assert "worse than allowed: P95 latency in Complete" in found.text


def test_guards_that_no_pair_speaks_of_are_named_in_one_line() -> None:
    quiet = tuple(replace(one, pairs=0) if one.name == "guard.numbers" else one for one in verdict().findings)
    assert "No pair says anything of: guard: numbers." in shown(candidate(verdict=verdict(findings=quiet))).text


def test_several_candidates_are_listed_first_with_their_answers() -> None:
    found = shown(candidate(), candidate(verdict=verdict(answer=Answer.GO)))
    assert found.tags["article"] == 2
    assert {"#candidate-1", "#candidate-2"} <= set(found.values("href"))


def test_every_id_is_given_once_and_every_reference_is_to_one() -> None:
    found = shown(candidate(), candidate())
    ids = found.values("id")
    assert len(ids) == len(set(ids))
    named = [name for value in found.values("aria-labelledby") for name in value.split()]
    assert {*named, *(value[1:] for value in found.values("href"))} <= set(ids)


def test_charts_have_words_for_those_who_do_not_see_them_and_tables_have_headers(whole: Page) -> None:
    found = whole
    assert found.tags["svg"] == 5
    assert found.tags["desc"] == 5
    assert found.tags["thead"] == found.tags["table"]
    assert all(scope in {"col", "row"} for scope in found.values("scope"))
    assert found.tags["th"] == len(found.values("scope"))


def test_it_names_no_other_address_unless_traces_are_to_be_links(whole: Page) -> None:
    def outside(found: Page) -> list[str]:
        return [value for _, name, value in found.attributes if "//" in value and name != "xmlns"]

    assert outside(whole) == []
    links = outside(shown(candidate(), jaeger="https://jaeger.example/ui"))
    assert set(links) == {f"https://jaeger.example/ui/trace/{TRACE}"}


def test_it_forbids_scripts_and_whatever_is_not_in_it(whole: Page) -> None:
    policy = next(value for value in whole.values("content") if "default-src" in value)
    assert "default-src 'none'" in policy
    assert "script" not in policy


def hostile() -> Report:
    key = EvidenceKey(experiment=HOSTILE, target=HOSTILE, target_digest=HOSTILE, config_digest=HOSTILE)
    said = verdict(key=key, reason=HOSTILE, warnings=(HOSTILE,), criteria_digest=HOSTILE)
    findings = tuple(replace(one, detail=HOSTILE, stratum=HOSTILE, mode=HOSTILE) for one in said.findings)
    bad = candidate(
        verdict=replace(said, findings=findings),
        statuses=(StatusRow(HOSTILE, HOSTILE, 1),),
        account=Account(HOSTILE, HOSTILE, {"dropped": 1}, {HOSTILE: 1}, {HOSTILE: 1}),
        worst=tuple(
            replace(one, pair_id=HOSTILE, method=HOSTILE, live_status=HOSTILE, shadow_status=HOSTILE) for one in worst()
        ),
        diffs=(
            replace(diff(), pair_id=HOSTILE, pieces=tuple(Piece(one, HOSTILE) for one in ("same", "live", "shadow"))),
        ),
    )
    return replace(report(bad, bad), place=HOSTILE)


def test_what_comes_from_the_wire_is_text_and_nothing_else() -> None:
    text = page(hostile())
    found = Page(text)
    assert set(found.tags) <= TAGS
    assert not [name for _, name, _ in found.attributes if name.startswith("on")]
    assert not [value for _, name, value in found.attributes if name in {"src", "href"} and not value.startswith("#")]
    assert "{{ 7 * 7 }}" in found.text
    for moved in "\u202e\x1b\ud800":
        assert moved not in text


def test_a_name_of_a_megabyte_does_not_fill_the_page() -> None:
    long = replace(worst()[0], method="m" * 1_000_000)
    assert len(page(report(candidate(worst=(long,))))) < 400_000


def test_the_same_report_is_the_same_page() -> None:
    assert page(report(candidate())) == page(report(candidate()))
