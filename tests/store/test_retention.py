"""What is forgotten, when, and what is not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.folded import KEY, fold, pair
from support.legs import T0
from support.stored_pairs import matched
from support.stores import OpenStore

from shadowmesh.store.evidence import EvidenceBook
from shadowmesh.store.reader import PairFilter
from shadowmesh.store.records import Content
from shadowmesh.store.settings import KeepSettings, RetentionSettings
from shadowmesh.store.store import Store
from shadowmesh.store.tables import PROCESSORS, TEXTS

HOUR = 3600 * 10**9
FOREVER = KeepSettings()


def keeping(pairs: KeepSettings = FOREVER, content: KeepSettings = FOREVER) -> RetentionSettings:
    return RetentionSettings(pairs=pairs, content=content)


def sweep(store: Store, now_ns: int) -> tuple[int, int]:
    pairs = content = 0
    while (swept := store.sweep(now_ns)).more:
        pairs += swept.pairs
        content += swept.content
    return pairs, content


def left(store: Store) -> list[str]:
    return sorted(stored.record.pair.pair_id for stored in store.reader.pairs(PairFilter()))


def text(pair_id: str, size: int = 10) -> Content:
    return Content(experiment="summaries", pair_id=pair_id, role="live", output="x" * size)


def texts(store: Store) -> list[str]:
    return sorted(pair_id for _, pair_id, _, _ in store.reader.content(store.reader.pairs(PairFilter())))


def test_what_is_older_than_its_age_goes_whoever_stored_it(open_store: OpenStore) -> None:
    one, two = open_store("one", retention=keeping(KeepSettings(age=3600))), open_store("two")
    one.add([matched("old")], now_ns=T0)
    two.add([matched("old too")], now_ns=T0 + 1)
    one.add([matched("new")], now_ns=T0 + HOUR)
    two.add([matched("newer")], now_ns=T0 + HOUR)
    assert sweep(one, T0 + HOUR) == (0, 0)
    assert sweep(one, T0 + HOUR + HOUR // 2) == (2, 0)
    assert left(one) == ["new", "newer"]
    assert sweep(one, T0 + HOUR + HOUR // 2) == (0, 0)


def test_what_is_more_than_may_be_goes_the_oldest_first(open_store: OpenStore) -> None:
    one, two = open_store("one", retention=keeping(KeepSettings(rows=3000))), open_store("two")
    two.add([matched("newest")], now_ns=T0 + 10)
    for batch in range(5):
        one.add([matched(f"{batch}-{n:03d}") for n in range(1000)], now_ns=T0 + batch)
    steps = []
    while (swept := one.sweep(T0 + 10)).more:
        steps.append(swept.pairs)
    assert max(steps) <= 1000
    assert sum(steps) == 2001
    kept = left(one)
    assert len(kept) == 3000
    assert (kept[0], kept[-1]) == ("2-001", "newest")


def test_the_size_of_pairs_is_kept_below_its_limit_and_text_does_not_count(open_store: OpenStore) -> None:
    limit = 1_000_000
    store = open_store(retention=keeping(KeepSettings(size=limit)))
    store.add_content([text("a", 3_000_000)], now_ns=T0)
    store.add([matched("few")], now_ns=T0)
    assert sweep(store, T0) == (0, 0)
    store.add([matched(f"{n}") for n in range(4000)], now_ns=T0)
    swept, _ = sweep(store, T0)
    # Some hundred bytes a pair, on both databases.
    assert 500 < swept < 3500
    assert texts(store) == []
    assert store.reader.content(store.reader.pairs(PairFilter())) == {}
    while sweep(store, T0) != (0, 0):
        continue
    with store.reader._database.reading() as connection:
        assert store._database.backend.used_bytes(connection, len(left(store))) <= limit


def test_content_is_forgotten_by_its_own_age_and_pairs_stay(open_store: OpenStore) -> None:
    store = open_store(retention=keeping(content=KeepSettings(age=3600)))
    store.add([matched("a"), matched("b")], now_ns=T0)
    store.add_content([text("a")], now_ns=T0)
    store.add_content([text("b")], now_ns=T0 + HOUR)
    assert sweep(store, T0 + HOUR + 1) == (0, 1)
    assert texts(store) == ["b"]
    assert left(store) == ["a", "b"]


@pytest.mark.parametrize("keep", [KeepSettings(size=10_000), KeepSettings(rows=9)])
def test_content_is_forgotten_by_how_much_there_is(open_store: OpenStore, keep: KeepSettings) -> None:
    store = open_store(retention=keeping(content=keep))
    names = [f"{n:03d}" for n in range(500)]
    store.add([matched(name) for name in names], now_ns=T0)
    for at, name in enumerate(names):
        store.add_content([text(name, 900)], now_ns=T0 + at)
    assert sweep(store, T0 + 1000) == (0, 491)
    assert texts(store) == names[491:]


def test_what_a_pair_needs_stays_as_long_as_the_pair(open_store: OpenStore) -> None:
    store = open_store(retention=keeping(KeepSettings(age=48 * 3600)))
    store.add([matched("a", method="old")], now_ns=T0)
    for hours in range(1, 50):
        store.add([matched(f"{hours:02d}")], now_ns=T0 + hours * HOUR)
        store.sweep(T0 + hours * HOUR)
    assert left(store) == [f"{hours:02d}" for hours in range(1, 50)]
    sweep(store, T0 + 52 * HOUR)
    assert left(store) == [f"{hours:02d}" for hours in range(4, 50)]
    assert {
        stored.record.pair.live.method for stored in store.reader.pairs(PairFilter()) if stored.record.pair.live
    } == {"shadowmesh.v1.Inference/Generate"}
    with store.reader._database.reading() as connection:
        facts = [row.facts for row in connection.exec_driver_sql("SELECT facts FROM traits")]
    assert facts
    assert not any('"method":"old"' in fact for fact in facts)
    # What was forgotten is told again when it comes again.
    store.add([matched("b", method="old")], now_ns=T0 + 52 * HOUR)
    assert len(left(store)) == 47


def test_a_processor_that_left_nothing_behind_is_forgotten_after_a_while(open_store: OpenStore) -> None:
    day = 24 * HOUR
    one, idle, gone = open_store("one", now_ns=T0), open_store("idle", now_ns=T0), open_store("gone", now_ns=T0)
    idle.add([matched("kept")], now_ns=T0)
    gone.save_checkpoint(b"state", number=0, position=1, now_ns=T0)
    one.heartbeat(now_ns=T0 + 40 * day, watermark_ns=None)
    one.sweep(T0 + 25 * day)
    assert gone.checkpoint() is not None
    sweep(open_store("one", retention=keeping(), now_ns=T0 + 40 * day), T0 + 40 * day)
    assert gone.checkpoint() is None
    with idle.reader.reading() as connection:
        assert {row.name for row in connection.execute(PROCESSORS.select())} == {"one", "idle"}
    idle.add([matched("more")], now_ns=T0 + 40 * day)
    assert left(one) == ["kept", "more"]


def test_what_texts_showed_is_kept_as_long_as_the_pair(open_store: OpenStore) -> None:
    store = open_store(retention=keeping(KeepSettings(age=3600)))
    store.add([pair("old"), pair("old", key=replace(KEY, target="other"))], now_ns=T0)
    store.add([pair("new")], now_ns=T0 + HOUR)
    shown = [("old", "candidate"), ("old", "other"), ("new", "candidate")]
    with store._database.writing() as connection:
        rows = [{"pair_id": one, "target": target, "experiment": "summaries", "stored_ns": T0} for one, target in shown]
        connection.execute(TEXTS.insert(), rows)
    assert sweep(store, T0 + HOUR + 1) == (2, 0)
    with store.reader.reading() as connection:
        assert [(row.pair_id, row.target) for row in connection.execute(TEXTS.select())] == [("new", "candidate")]


def test_ledgers_outlive_their_pairs_and_are_forgotten_when_nothing_comes_to_them(open_store: OpenStore) -> None:
    store = open_store(retention=RetentionSettings(pairs=KeepSettings(age=3600), content=FOREVER, ledgers=24 * 3600))
    store.add([pair("a"), pair("b", key=replace(KEY, config_digest="c2"))], now_ns=T0)
    fold(store, now_ns=T0)
    store.add([pair("c", dispatched=7200)], now_ns=T0 + 2 * HOUR)
    fold(store, now_ns=T0 + 2 * HOUR)
    sweep(store, T0 + 4 * HOUR)
    assert left(store) == []

    def evidence() -> dict[str, int]:
        book = EvidenceBook.read(store.reader, now_ns=T0)
        keys = book.keys()
        return {key.config_digest: sum(each.pairs for each in book.ledgers(key).values()) for key in keys}

    assert evidence() == {"c1": 2, "c2": 1}
    sweep(store, T0 + 25 * HOUR)
    assert evidence() == {"c1": 2}
    sweep(store, T0 + 27 * HOUR)
    assert evidence() == {}


def test_a_reader_does_not_keep_rows_from_being_forgotten(open_store: OpenStore) -> None:
    store = open_store(retention=keeping(KeepSettings(age=1)))
    store.add([matched(f"{n:04d}") for n in range(2500)], now_ns=T0)
    reading = store.reader.pairs(PairFilter())
    assert next(reading).record.pair.pair_id == "0000"
    assert sweep(store, T0 + HOUR) == (2500, 0)
    # The page that was read is whole, and then there is no more.
    assert sum(1 for _ in reading) == 999
