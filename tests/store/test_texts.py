"""What captured texts show is stored once, by the processor that has the pair, and outlives the texts."""

from __future__ import annotations

from typing import Any

import pytest
from support.folded import fold as folded
from support.legs import T0, live, shadow
from support.stored_pairs import ended, live_only, matched
from support.stored_texts import compared, messages, said, said_by, steps
from support.stores import OpenStore

from shadowmesh.compare.similarity import Lexical
from shadowmesh.compare.texts import TextComparison
from shadowmesh.store.evidence import EvidenceBook
from shadowmesh.store.reader import PairFilter
from shadowmesh.store.records import Content
from shadowmesh.store.settings import KeepSettings, RetentionSettings
from shadowmesh.store.store import Store
from shadowmesh.store.tables import PAIRS
from shadowmesh.telemetry.faults import Faults

OUTPUT = "gen_ai.output.messages"


def shown(store: Store) -> dict[tuple[str, str], TextComparison]:
    found = store.reader.texts(store.reader.pairs(PairFilter()))
    return {(pair_id, target): texts for (_, pair_id, target), texts in found.items()}


def test_what_both_texts_show_is_stored_and_told_once(store: Store, url: str) -> None:
    store.add([matched("a"), matched("b"), matched("c")], now_ns=T0)
    store.add_content([*said_by("a", "Take 5 mg.", "Take 50 mg."), *said_by("c", "yes", "yes")], now_ns=T0)
    assert compared(url) == ["a", "c"]
    assert compared(url) == []
    found = shown(store)
    assert found.keys() == {("a", "candidate"), ("c", "candidate")}
    assert found["a", "candidate"][:4] == (0.75, 6, 0.6, False)
    assert found["a", "candidate"].guards["numbers"] == (None, True)
    assert found["c", "candidate"][:4] == (1.0, None, None, True)


def test_candidate_and_control_are_each_compared_with_the_same_live_text(store: Store, url: str) -> None:
    control = ended(live("a"), shadow("a", "control", target_kind="control"))
    store.add([matched("a"), control], now_ns=T0)
    store.add_content([*said_by("a", "one two", "one three"), said("a", "one two", target="control")], now_ns=T0)
    assert compared(url) == ["a", "a"]
    assert {target: texts.similarity for (_, target), texts in shown(store).items()} == {
        "candidate": 0.5,
        "control": 1.0,
    }


def test_a_text_that_is_missing_is_waited_for_and_nothing_is_said_until_then(store: Store, url: str) -> None:
    store.add([matched("a"), live_only("b")], now_ns=T0)
    store.add_content([said("a", "yes"), *said_by("b", "yes", "no")], now_ns=T0)
    assert compared(url) == []
    store.add_content([said("a", "no", target="candidate")], now_ns=T0)
    assert compared(url) == ["a"]


@pytest.mark.parametrize(
    ("pair", "other", "similarity", "equal"),
    [
        ({"status": "INTERNAL", "complete": False}, said("a", "one twice", target="candidate"), None, False),
        ({}, said("a", "one twice", target="candidate", truncated=(OUTPUT,)), None, False),
        ({"message_count": 0}, said("a", None, target="candidate"), 0.0, False),
    ],
)
def test_of_what_is_not_whole_only_a_difference_counts(
    store: Store, url: str, pair: dict[str, Any], other: Content, similarity: float | None, equal: bool
) -> None:
    store.add([ended(live("a"), shadow("a", **pair))], now_ns=T0)
    store.add_content([said("a", "one two"), other], now_ns=T0)
    assert compared(url) == ["a"]
    texts = shown(store)["a", "candidate"]
    assert (texts.similarity, texts.equal) == (similarity, equal)
    assert (texts.guards == {}) == (similarity is None)


@pytest.mark.parametrize("output", ["{", "[1]", '"text"', "[" * 50_000, messages("")])
def test_what_nobody_can_read_shows_nothing_and_stops_nothing(store: Store, url: str, output: str) -> None:
    hostile = Content(experiment="summaries", pair_id="a", role="shadow", target="candidate", output=output)
    store.add([matched("a"), matched("b")], now_ns=T0)
    store.add_content([said("a", ""), hostile, *said_by("b", "x", "x")], now_ns=T0)
    assert compared(url) == ["b"]


def test_no_step_holds_more_text_than_it_may(store: Store, url: str) -> None:
    names = [f"p{number:02}" for number in range(25)]
    store.add([matched(name) for name in names], now_ns=T0)
    for name in names:
        store.add_content(said_by(name, "one " + "x" * 200_000, "two " + "x" * 200_000), now_ns=T0)
    told = [[one.stored.record.pair.pair_id for one in step] for step in steps(url)]
    assert [len(step) for step in told] == [20, 5]
    assert sorted(name for step in told for name in step) == names


def test_what_is_larger_than_any_captured_text_is_not_read(store: Store, url: str) -> None:
    store.add([matched("a"), matched("b")], now_ns=T0)
    store.add_content([*said_by("a", "one" * 400_000, "two"), *said_by("b", "one" * 300_000, "two")], now_ns=T0)
    assert compared(url) == ["b"]


def test_they_are_kept_when_the_texts_are_forgotten_and_go_with_their_pair(open_store: OpenStore, url: str) -> None:
    retention = RetentionSettings(pairs=KeepSettings(age=3600), content=KeepSettings(age=60))
    store = open_store(retention=retention)
    store.add([matched("a")], now_ns=T0)
    store.add_content(said_by("a", "yes", "yes"), now_ns=T0)
    assert compared(url) == ["a"]
    while store.sweep(T0 + 600 * 10**9).more:
        pass
    assert store.reader.content(store.reader.pairs(PairFilter())) == {}
    assert shown(store).keys() == {("a", "candidate")}
    assert compared(url) == []

    store.add([matched("b")], now_ns=T0 + 4000 * 10**9)
    store.add_content(said_by("b", "yes", "yes"), now_ns=T0 + 4000 * 10**9)
    assert compared(url) == ["b"]
    while store.sweep(T0 + 4000 * 10**9).more:
        pass
    # Had it stayed, the pair that comes again would have it.
    store.add([matched("a")], now_ns=T0 + 4000 * 10**9)
    assert shown(store).keys() == {("b", "candidate")}


def test_what_was_stored_after_a_moment_is_told_again_to_the_processor_that_has_the_pair(
    open_store: OpenStore, url: str
) -> None:
    one, two = open_store("one"), open_store("two")
    one.add([matched("a"), matched("b"), matched("c")], now_ns=T0)
    two.add([matched("d")], now_ns=T0)
    for moment, name in ((5, "b"), (7, "a"), (7, "c"), (9, "d")):
        one.add_content(said_by(name, "Take 5 mg.", "Take 50 mg."), now_ns=T0)
        assert compared(url, at=moment) == [name]
    told = [(each.stored.record.pair.pair_id, each.stored_ns) for each in one.compared_after(5)]
    assert told == [("a", 7), ("c", 7)]
    assert [each.stored.record.pair.pair_id for each in one.compared_after(0)] == ["b", "a", "c"]
    (other,) = two.compared_after(0)
    assert other.texts == shown(one)["d", "candidate"]
    assert list(one.compared_after(7)) == []


def test_texts_that_cannot_be_compared_are_counted_and_take_no_others_with_them(store: Store, url: str) -> None:
    class Broken(Lexical):
        def __call__(self, one: str, other: str, /) -> float:
            if "poison" in other:
                raise ValueError(one)
            return super().__call__(one, other)

    store.add([matched("a"), matched("b"), matched("c")], now_ns=T0)
    store.add_content([*said_by("a", "x", "y"), *said_by("b", "x", "poison"), *said_by("c", "x", "y")], now_ns=T0)
    faults = Faults()
    (told,) = steps(url, similarity=Broken(), faults=faults)
    assert [each.stored.record.pair.pair_id for each in told] == ["a", "c"]
    assert faults.totals() == {"texts: ValueError": 1}


def test_only_wanted_pairs_are_compared_some_at_a_time(store: Store, url: str) -> None:
    names = [f"p{number:04}" for number in range(2200)]
    store.add([matched(name, at=number) for number, name in enumerate(names)], now_ns=T0)
    store.add_content([one for name in names[::100] for one in said_by(name, "x", "x")], now_ns=T0)
    late = T0 + 2050 * 10**9
    told = [[one.stored.record.pair.pair_id for one in step] for step in steps(url, PAIRS.c.dispatched_ns < late)]
    assert told == [names[:1000:100], names[1000:2000:100], names[2000:2050:100]]
    assert compared(url) == names[2100::100]


def test_who_finds_what_another_has_stored_meanwhile_is_not_told_that_it_is_new(store: Store, url: str) -> None:
    store.add([matched("a"), matched("b")], now_ns=T0)
    store.add_content([*said_by("a", "x", "y"), *said_by("b", "z", "z")], now_ns=T0)
    told: list[str] = []

    class Overtaken(Lexical):
        def __call__(self, one: str, other: str, /) -> float:
            told.extend(compared(url))
            return super().__call__(one, other)

    (late,) = steps(url, similarity=Overtaken())
    assert (told, late) == (["a", "b"], [])


def test_a_text_that_comes_when_its_pair_is_folded_is_counted_and_said(open_store: OpenStore) -> None:
    one, two = open_store("one"), open_store("two")
    control = ended(live("a"), shadow("a", "control", target_kind="control"))
    one.add([matched("a"), control, matched("b"), live_only("c")], now_ns=T0)
    one.add_content([*said_by("b", "yes", "no")], now_ns=T0)
    folded(one)
    one.add([matched("later")], now_ns=T0)
    in_time, not_asked = said_by("later", "yes", "no"), said("c", "yes")
    assert one.add_content([*in_time, not_asked, said("nobody's", "yes")], now_ns=T0) == 4
    assert one.late_texts == 0
    # The text of the live leg is one, whatever it would have been compared with; it may reach another processor.
    late = [*said_by("a", "yes", "no"), said("a", "yes", target="control")]
    assert one.add_content(late[:2], now_ns=T0) + two.add_content(late, now_ns=T0) == 3
    assert (one.late_texts, two.late_texts) == (2, 1)
    assert EvidenceBook.read(one.reader, now_ns=T0).folds().late_texts == 3


def test_ledgers_that_are_made_anew_take_late_texts_in(store: Store, url: str) -> None:
    store.add([matched("a")], now_ns=T0)
    folded(store)
    store.add_content(said_by("a", "yes", "no"), now_ns=T0)
    assert EvidenceBook.read(store.reader, now_ns=T0).folds().late_texts == 2
    store.folding.restart()
    assert compared(url) == ["a"]
    folded(store)
    assert EvidenceBook.read(store.reader, now_ns=T0).folds().late_texts == 0
