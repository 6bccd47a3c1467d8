"""The contract of a store, on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.legs import T0, live, shadow
from support.postgresql import Server
from support.stored_pairs import ended, live_only, matched, records, shadow_only
from support.stores import OpenStore

from shadowmesh.compare.comparison import compare
from shadowmesh.errors import StoreError
from shadowmesh.model import PROMPT_BUCKETS, Fields, Pair
from shadowmesh.processor.metrics import PairMetrics
from shadowmesh.store.evidence import EvidenceBook
from shadowmesh.store.reader import PairFilter
from shadowmesh.store.records import Content, PairRecord, Sampling
from shadowmesh.store.store import Store
from shadowmesh.store.tables import PROCESSORS
from shadowmesh.verdict.coverage import SampleRatio
from shadowmesh.verdict.records import EvidenceKey

NOW = T0 + 10**12
_numbers = count(1)


def ids(store: Store, wanted: PairFilter | None = None) -> list[str]:
    return [stored.record.pair.pair_id for stored in store.reader.pairs(wanted or PairFilter())]


def numbers(store: Store, after: int = 0) -> list[tuple[int, str]]:
    return [(stored.number, stored.record.pair.pair_id) for stored in store.rows_after(after)]


def test_a_pair_is_new_once_and_never_again(store: Store) -> None:
    batch = [matched("a"), matched("b"), matched("a"), live_only("c")]
    assert store.add(batch, now_ns=NOW).new == [True, True, False, True]
    assert store.add([matched("d"), *batch, shadow_only("c")], now_ns=NOW).new == [True, *[False] * 5]
    assert sorted(ids(store)) == ["a", "b", "c", "d"]
    assert store.add([], now_ns=NOW).new == []


def test_of_many_pairs_those_are_new_that_were_not_there(store: Store) -> None:
    many = [matched(f"p{number}") for number in range(300)]
    store.add(many[::7], now_ns=T0)
    assert list(store.add(many, now_ns=T0).new) == [number % 7 > 0 for number in range(300)]
    assert sorted(ids(store)) == sorted(pair.pair_id for pair, _ in many)


def test_a_pair_is_one_for_each_target_and_experiment(store: Store) -> None:
    record = matched("a")
    others = [
        PairRecord(Pair(pair_id="a", target="other", live=record.pair.live, shadow=None), record.comparison),
        matched("a", experiment="another"),
    ]
    assert store.add([record, *others], now_ns=NOW).new == [True, True, True]


def test_what_one_processor_stored_is_not_new_to_another(open_store: OpenStore) -> None:
    one, two = open_store("one"), open_store("two")
    one.add([matched("a"), matched("b")], now_ns=NOW)
    assert two.add([matched("b"), matched("c"), matched("a")], now_ns=NOW).new == [False, True, False]
    assert [pair_id for _, pair_id in numbers(one)] == ["a", "b"]
    assert [pair_id for _, pair_id in numbers(two)] == ["c"]


def test_a_processor_that_comes_back_goes_on_with_its_numbers(open_store: OpenStore) -> None:
    first = open_store()
    first.add([matched("a"), matched("b")], now_ns=NOW)
    seen = first.number
    first.add([matched("c")], now_ns=NOW)
    first.close()

    again = open_store()
    assert again.number == first.number > seen
    assert [pair_id for _, pair_id in numbers(again, after=seen)] == ["c"]
    again.add([matched("a"), matched("d")], now_ns=NOW)
    behind = numbers(again, after=seen)
    assert [pair_id for _, pair_id in behind] == ["c", "d"]
    assert behind == sorted(behind)


def test_what_was_all_there_moves_no_number(store: Store) -> None:
    store.add([matched("a")], now_ns=NOW)
    before = store.number
    store.add([matched("a")], now_ns=NOW)
    assert store.number == before


def test_more_rows_than_a_page_are_read_in_their_order(store: Store) -> None:
    for batch in range(5):
        store.add([matched(f"{batch:02d}-{n:03d}") for n in range(500)], now_ns=NOW)
    everything = numbers(store)
    assert len(everything) == 2500
    assert everything == sorted(everything)


def test_two_processes_under_one_name_are_found_out(open_store: OpenStore) -> None:
    one, two = open_store(), open_store()
    one.add([matched("a")], now_ns=NOW)
    for _ in range(2):
        with pytest.raises(StoreError, match="another process stores under this processor's name") as raised:
            two.add([matched("b")], now_ns=NOW)
        # Nothing of it is to be given up.
        assert raised.value.retryable
    assert ids(one) == ["a"]


@pytest.mark.parametrize(("first", "second"), [(live_only, shadow_only), (shadow_only, live_only)])
def test_halves_at_two_processors_are_a_split_pair_that_is_told_once(
    open_store: OpenStore, first: Callable[[str], PairRecord], second: Callable[[str], PairRecord]
) -> None:
    one, two = open_store("one"), open_store("two")
    one.add([matched("x"), first("a"), first("b"), first("c")], now_ns=NOW)
    added = two.add([shadow_only("x"), second("a"), matched("new"), second("b"), first("c")], now_ns=NOW)
    assert added == ([False, False, True, False, False], [1, 3])
    assert two.add([second("a"), second("c")], now_ns=NOW) == ([False, False], [1])
    assert one.reader.splits() == 3
    assert {outcome: n for (_, _, outcome), n in one.reader.outcomes().items()} == {
        "matched": 2,
        str(first("a").comparison.outcome): 3,
    }


def test_a_late_half_at_the_same_processor_is_no_split_pair(store: Store) -> None:
    store.add([live_only("a")], now_ns=NOW)
    assert store.add([shadow_only("a")], now_ns=NOW) == ([False], [])
    assert store.reader.splits() == 0


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(data=st.data())
def test_what_comes_out_is_what_went_in(store: Store, data: st.DataObject) -> None:
    batch = [data.draw(records(f"p{next(_numbers)}")) for _ in range(data.draw(st.integers(1, 4)))]
    before = store.number
    assert all(store.add(batch, now_ns=NOW).new)
    stored = list(store.rows_after(before))
    assert [each.record for each in stored] == batch
    assert {each.stored_ns for each in stored} == {NOW}

    counted, restored = (PairMetrics(NOW, methods=("*",), models=("*",)) for _ in range(2))
    for record in batch:
        counted.pair(record.pair, record.comparison, NOW)
    for each in stored:
        restored.pair(each.record.pair, each.record.comparison, each.stored_ns)
    assert restored.collect(NOW, buffered=0, capacity=1) == counted.collect(NOW, buffered=0, capacity=1)


_hostile = st.text(st.characters(codec=None), max_size=200) | st.sampled_from(
    ["\0", "x" * 20_000, "\ud800", "é" * 3000]
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(experiment=_hostile, target=_hostile, text=_hostile, late=st.sampled_from([0, 2**62, 2**64 - 1 - T0]))
def test_whatever_a_sender_calls_things_is_stored_and_known_again(
    store: Store, experiment: str, target: str, text: str, late: int
) -> None:
    said: dict[str, Any] = {
        "experiment": experiment,
        "method": text,
        "status": text,
        "output_digest": text,
        "started_ns": T0 + late,
        "ended_ns": T0 + late,
        "fields": Fields(response_id=text, request_model=text, finish_reasons=(text,), seed=-(2**63)),
    }
    pair_id = f"p{next(_numbers)}{text}"
    legs = replace(live(), pair_id=pair_id, **said), replace(shadow(), pair_id=pair_id, target=target, **said)
    pair = Pair(pair_id=pair_id, target=target, live=legs[0], shadow=legs[1])
    record = PairRecord(pair, compare(pair))
    assert store.add([record], now_ns=NOW).new == [True]
    assert store.add([record, record], now_ns=NOW).new == [False, False]
    assert len(list(store.reader.pairs(PairFilter(experiment=experiment, target=target)))) >= 1


def test_what_a_processor_promised_holds_until_it_says_something_else(open_store: OpenStore) -> None:
    one, two = open_store("one"), open_store("two")

    def promised() -> dict[str, int | None]:
        with one.reader.reading() as connection:
            return {row.name: row.watermark_ns for row in connection.execute(PROCESSORS.select())}

    # Of one that has just come nothing is known.
    assert promised() == {"one": 0, "two": 0}
    one.heartbeat(now_ns=100, watermark_ns=70)
    two.heartbeat(now_ns=100, watermark_ns=None)
    open_store("one", now_ns=101)
    assert promised() == {"one": 70, "two": None}
    # One that had ended holds back again when it comes back.
    open_store("two", now_ns=102)
    assert promised() == {"one": 70, "two": 0}


def test_a_checkpoint_is_replaced_and_each_processor_has_its_own(open_store: OpenStore) -> None:
    one, two = open_store("one"), open_store("two")
    assert one.checkpoint() is None
    one.add([matched("a")], now_ns=NOW)
    one.save_checkpoint(b"\0\xff first", number=one.number, position=3, now_ns=NOW)
    one.add([matched("b")], now_ns=NOW)
    one.save_checkpoint(b"second", number=1, position=2**62, now_ns=NOW)
    two.save_checkpoint(b"other", number=0, position=0, now_ns=NOW)
    assert open_store("one").checkpoint() == (1, 2**62, b"second")
    assert two.checkpoint() == (0, 0, b"other")


def test_how_calls_were_drawn_is_saved_with_the_checkpoint_and_adds_up_over_processors(open_store: OpenStore) -> None:
    one, two = open_store("one"), open_store("two")
    key = EvidenceKey(experiment="e", target="t", target_digest="any", config_digest="c0ffee")

    def known() -> SampleRatio | None:
        return EvidenceBook.read(open_store("three").reader, now_ns=NOW).sampling(key)

    def save(store: Store, *sums: Sampling) -> None:
        store.save_checkpoint(b"", number=0, position=0, now_ns=NOW, sampling=sums)

    assert known() is None
    save(one, Sampling("e", "t", "c0ffee", 100, 49, 50.0), Sampling("e", "t", "other", 7, 7, 7.0))
    save(two, Sampling("e", "t", "c0ffee", 10, 6, 5.0), Sampling("e", "u", "c0ffee", 1, 1, 0.5))
    assert known() == SampleRatio(eligible=110, sampled=55, expected=55.0)
    # What a checkpoint says takes the place of what the one before has said.
    save(one, Sampling("e", "t", "c0ffee", 2**70, 2**69, 2.0**69))
    assert known() == SampleRatio(eligible=2**53 + 10, sampled=2**53 + 6, expected=2.0**53 + 5)
    save(one)
    assert known() == SampleRatio(eligible=10, sampled=6, expected=5.0)


def test_the_session_of_an_exchange_is_kept_where_it_is_one(store: Store) -> None:
    for number, session in enumerate((None, 0, 255, 256, 2**40)):
        store.add([ended(live(f"p{number}", session=session), shadow(f"p{number}"))], now_ns=NOW)
    pairs = [stored.record.pair for stored in store.reader.pairs(PairFilter())]
    found = {pair.pair_id: pair.live.session for pair in pairs if pair.live is not None}
    assert found == {"p0": None, "p1": 0, "p2": 255, "p3": None, "p4": None}


def test_the_bucket_of_a_prompt_is_kept_where_it_is_one(store: Store) -> None:
    last = PROMPT_BUCKETS - 1
    for number, bucket in enumerate((None, 0, last, last + 1, 2**40)):
        store.add([ended(live(f"p{number}", prompt_bucket=bucket), shadow(f"p{number}"))], now_ns=NOW)
    pairs = [stored.record.pair for stored in store.reader.pairs(PairFilter())]
    found = {pair.pair_id: pair.live.prompt_bucket for pair in pairs if pair.live is not None}
    assert found == {"p0": None, "p1": 0, "p2": last, "p3": None, "p4": None}


def test_captured_text_is_stored_once_and_found_by_its_pair(store: Store) -> None:
    def content(role: str, target: str, output: str | None) -> Content:
        return Content(experiment="summaries", pair_id="a", role=role, target=target, output=output)

    store.add([matched("a"), matched("b")], now_ns=NOW)
    live, other = content("live", "", '[{"role":"assistant"}]'), content("shadow", "other", None)
    shadow = Content(
        experiment="summaries",
        pair_id="a",
        role="shadow",
        target="candidate",
        instructions="i",
        input="\0 ☃",
        truncated=("input", "output"),
    )
    assert store.add_content([live, shadow, live], now_ns=NOW) == 2
    assert store.add_content([content("live", "", "another"), other], now_ns=NOW) == 1
    assert store.add_content([], now_ns=NOW) == 0
    found = store.reader.content(store.reader.pairs(PairFilter()))
    assert found["summaries", "a", "live", ""] == live
    assert found["summaries", "a", "shadow", "other"] == other
    assert found["summaries", "a", "shadow", "candidate"].input == "\N{REPLACEMENT CHARACTER} ☃"
    assert found["summaries", "a", "shadow", "candidate"].truncated == ("input", "output")


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (PairFilter(), ["a", "b", "c", "d"]),
        (PairFilter(experiment="other"), ["d"]),
        (PairFilter(experiment="summaries", outcome="live_only"), ["c"]),
        (PairFilter(target="candidate", since_ns=T0 + 2 * 10**9), ["b"]),
        (PairFilter(until_ns=T0 + 1), ["c", "d"]),
        (PairFilter(target="none"), []),
    ],
)
def test_pairs_are_found_by_what_they_are(store: Store, wanted: PairFilter, found: list[str]) -> None:
    store.add(
        [matched("a", at=1), matched("b", at=2), live_only("c"), matched("d", experiment="other")],
        now_ns=NOW,
    )
    assert ids(store, wanted) == found


def test_a_reader_that_takes_long_sees_one_state_and_nobody_waits_for_it(store: Store) -> None:
    store.add([matched("a")], now_ns=NOW)
    with store.reader._database.reading() as connection:

        def seen() -> int:
            return int(connection.exec_driver_sql("SELECT count(*) FROM pairs").scalar_one())

        assert seen() == 1
        for n in range(20):
            store.add([matched(f"b{n}")], now_ns=NOW)
        assert seen() == 1
    assert len(ids(store)) == 21


def test_a_lost_connection_may_be_tried_again(server: Server, open_store: OpenStore, url: str) -> None:
    if url.startswith("sqlite"):
        pytest.skip("a file has no connection to lose")
    store = open_store()
    store.add([matched("a")], now_ns=NOW)
    server.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'shadowmesh'")
    with pytest.raises(StoreError) as raised:
        store.add([matched("a"), matched("b")], now_ns=NOW)
    assert raised.value.retryable
    assert store.add([matched("a"), matched("b")], now_ns=NOW).new == [False, True]
    assert ids(store) == ["a", "b"]
