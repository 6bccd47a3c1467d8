"""A report out of a store, on both databases."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.folded import pair
from support.judged_stores import EXPERIMENT, TARGET, judged_store
from support.legs import SECOND, T0

from shadowmesh.model import Cost
from shadowmesh.report.candidate import CandidateReport, Report, StatusRow, Trouble
from shadowmesh.report.gathering import gather
from shadowmesh.store.evidence import EvidenceBook
from shadowmesh.store.reader import Reader
from shadowmesh.store.settings import StoreSettings
from shadowmesh.store.store import Store
from shadowmesh.verdict.judgement import judgement
from shadowmesh.verdict.records import Answer

NOW_NS = T0 + 7200 * SECOND


def gathered(url: str, *, since_ns: int | None = None, with_content: bool = True) -> Report:
    reader = Reader.open(url)
    try:
        evidence = EvidenceBook.read(reader, now_ns=NOW_NS, since_ns=since_ns)
        judged = judgement(evidence, now_ns=NOW_NS, since_ns=since_ns)
        return gather(reader, evidence, judged, place=reader.place, version="1", with_content=with_content)
    finally:
        reader.close()


def only(shown: Report) -> CandidateReport:
    (one,) = shown.candidates
    return one


def test_everything_of_a_candidate_is_gathered(url: str) -> None:
    one = only(gathered(judged_store(url, content=True)))
    assert (one.verdict.key.experiment, one.verdict.key.target) == (EXPERIMENT, TARGET)
    assert one.verdict.answer is Answer.NO_GO
    assert [measure.name for measure in one.distributions] == ["duration"]
    # With the live leg whose shadow never came.
    assert sum(one.distributions[0].live) == 1501
    assert one.timeline is not None
    assert len(one.timeline.moments) > 5
    failed = next(row.pairs for row in one.statuses if row.shadow == "RESOURCE_EXHAUSTED")
    assert StatusRow("OK", "OK", 1500 - failed) in one.statuses


def test_a_day_is_scaled_by_what_each_sampled_call_stands_for(url: str) -> None:
    use = only(gathered(judged_store(url))).use
    assert use is not None
    # 1500 pairs in an hour, one call in four sampled.
    assert use.calls_per_day == pytest.approx(1500 * 24 * 4, rel=0.01)
    assert (use.live.cost, use.shadow.cost) == pytest.approx((0.002, 0.001))
    assert use.currency == "USD"
    assert any("each standing for 4" in sentence for sentence in use.assumptions)


def test_the_funnel_is_what_processors_saved_of_it(url: str) -> None:
    account = only(gathered(judged_store(url))).account
    assert account is not None
    assert account.decisions == {"mirrored": 1501, "not_sampled": 4500}
    assert account.outcomes == {"matched": 1500, "live_only": 1}


def test_a_checkpoint_that_cannot_be_read_costs_the_funnel_and_not_the_report(url: str) -> None:
    judged_store(url)
    with Store.open(StoreSettings.model_validate({"url": url}), name="other", instance="i", now_ns=T0) as store:
        store.save_checkpoint(b"of a later version", number=0, position=0, now_ns=T0)
    account = only(gathered(url)).account
    assert account is not None
    assert account.decisions["mirrored"] == 1501


def test_the_worst_pairs_have_their_figures_and_traces(url: str) -> None:
    worst = only(gathered(judged_store(url, content=True))).worst
    assert {kind for pair in worst for kind in pair.troubles} == {Trouble.LATENCY, Trouble.STATUS, Trouble.SIMILARITY}
    assert len({pair.pair_id for pair in worst}) == len(worst)
    assert all(len(pair.trace_id) == 32 for pair in worst)
    slowest = [
        pair.shadow_duration / pair.live_duration
        for pair in worst
        if pair.trouble is Trouble.LATENCY and pair.live_duration and pair.shadow_duration
    ]
    assert slowest == sorted(slowest, reverse=True)
    assert {pair.shadow_status for pair in worst if Trouble.STATUS in pair.troubles} == {"RESOURCE_EXHAUSTED"}


def test_a_pair_that_is_bad_by_two_things_is_listed_once(url: str) -> None:
    one = pair("a", seconds=0.8, cost=Cost(amount=1.0, currency="USD", source="local"))
    assert one.pair.shadow is not None
    dearer = replace(one.pair.shadow, cost=Cost(amount=3.0, currency="USD", source="local"))
    with Store.open(StoreSettings.model_validate({"url": url}), name="one", instance="i", now_ns=T0) as store:
        store.add([one._replace(pair=replace(one.pair, shadow=dearer))], now_ns=T0)
    (found,) = only(gathered(url)).worst
    assert found.troubles == (Trouble.LATENCY, Trouble.COST)


def test_nothing_of_the_future_is_shown(url: str) -> None:
    with Store.open(StoreSettings.model_validate({"url": url}), name="one", instance="i", now_ns=T0) as store:
        ahead = (NOW_NS - T0) / SECOND + 86_400
        store.add([pair("a", seconds=0.8), pair("b", seconds=0.9, dispatched=ahead)], now_ns=T0)
    one = only(gathered(url))
    assert (one.verdict.pairs, one.verdict.last_ns) == (1, T0)
    assert [each.pair_id for each in one.worst] == ["a"]
    assert sum(row.pairs for row in one.statuses) == 1
    assert one.use is None or one.use.calls_per_day is None


@pytest.mark.parametrize(("seconds", "known"), [(2, False), (20, True)])
def test_a_burst_of_seconds_is_no_rate_for_a_day(url: str, seconds: int, known: bool) -> None:
    cost = Cost(amount=0.001, currency="USD", source="local")
    records = [pair("a", cost=cost), pair("b", cost=cost, dispatched=float(seconds))]
    with Store.open(StoreSettings.model_validate({"url": url}), name="one", instance="i", now_ns=T0) as store:
        store.add(records, now_ns=T0)
    use = only(gathered(url)).use
    assert use is not None
    assert (use.calls_per_day is not None) == known


def test_outputs_that_differ_are_shown_word_by_word(url: str) -> None:
    diffs = only(gathered(judged_store(url, content=True))).diffs
    assert len(diffs) == 5
    assert ("shadow", "50 ") in diffs[0].pieces
    assert diffs[0].similarity is not None


def test_without_captured_text_there_are_no_outputs(url: str) -> None:
    assert only(gathered(judged_store(url))).diffs == ()


def test_captured_text_is_left_out_on_request(url: str) -> None:
    one = only(gathered(judged_store(url, content=True), with_content=False))
    assert one.diffs == ()
    assert Trouble.SIMILARITY in {kind for pair in one.worst for kind in pair.troubles}


def test_nothing_before_the_start_that_was_chosen_is_shown(url: str) -> None:
    since_ns = T0 + 1800 * SECOND
    one = only(gathered(judged_store(url, content=True), since_ns=since_ns))
    assert sum(one.distributions[0].live) == pytest.approx(750, abs=2)
    assert sum(row.pairs for row in one.statuses) == pytest.approx(750, abs=2)
    assert all(pair.dispatched_ns >= since_ns for pair in one.worst)


def test_an_empty_store_has_no_candidates(url: str) -> None:
    Store.open(StoreSettings.model_validate({"url": url}), name="one", instance="i", now_ns=T0).close()
    assert replace(gathered(url), place="") == Report(candidates=(), created_ns=NOW_NS, place="", version="1")
