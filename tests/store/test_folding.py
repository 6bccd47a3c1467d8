"""Rows into ledgers: each once, whatever order they come in and whoever dies in between."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import count
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.folded import KEY, at, fold, pair, total
from support.legs import T0, live, usage
from support.postgresql import Server
from support.stored_pairs import ended
from support.stored_texts import compared, said, said_by
from support.stores import OpenStore

from shadowmesh.errors import LedgerError, StoreError
from shadowmesh.model import Comparison, Cost, Pair
from shadowmesh.names import OTHER, CostSource
from shadowmesh.store.evidence import GONE_NS, EvidenceBook
from shadowmesh.store.ledgers import added_up
from shadowmesh.store.records import PairRecord
from shadowmesh.store.settings import StoreSettings
from shadowmesh.store.store import Store
from shadowmesh.store.tables import FOLDS, LEDGERS
from shadowmesh.verdict.judgement import Folds
from shadowmesh.verdict.ledger import Ledger
from shadowmesh.verdict.records import EvidenceKey

_numbers = count(1)
NOW = at(3600)


def book_of(store: Store, *, now_ns: int = NOW, since_ns: int | None = None) -> EvidenceBook:
    return EvidenceBook.read(store.reader, now_ns=now_ns, since_ns=since_ns)


def evidence(store: Store, key: EvidenceKey = KEY) -> bytes:
    return total(book_of(store).ledgers(key).values())


def test_what_is_behind_the_watermark_is_folded_and_nothing_else(store: Store) -> None:
    store.add([pair("a", dispatched=0), pair("b", dispatched=10), pair("c", dispatched=5)], now_ns=T0)
    assert fold(store, at(6)) == 2
    assert fold(store, at(6)) == 0
    store.add([pair("d", dispatched=1), pair("e", dispatched=20)], now_ns=T0)
    # One that came late, and one whose turn it is.
    assert fold(store, at(11)) == 2
    assert fold(store, at(30)) == 1
    with store.reader.reading() as connection:
        assert [row.late for row in connection.execute(FOLDS.select())] == [1]
    assert book_of(store).folds() == Folds(late=1)


def test_costs_in_two_currencies_are_counted_whether_they_are_folded_or_not(store: Store) -> None:
    euros, dollars = (Cost(amount=1.0, currency=each, source=CostSource.LOCAL.value) for each in ("EUR", "USD"))
    for number in range(3):
        one = pair(f"p{number}", dispatched=number, cost=euros)
        assert one.pair.shadow is not None
        shadow = replace(one.pair.shadow, cost=dollars)
        store.add([one._replace(pair=replace(one.pair, shadow=shadow))], now_ns=T0)
    assert fold(store, at(2)) == 2
    store.heartbeat(now_ns=NOW, watermark_ns=None)
    assert book_of(store).folds() == Folds(mixed_currencies=3)
    assert book_of(store, since_ns=at(1)).folds() == Folds(mixed_currencies=2)


def test_evidence_is_the_same_whether_it_was_folded_or_not(store: Store) -> None:
    store.add([pair(f"p{n}", dispatched=n * 40.0, seconds=0.1 + n / 20) for n in range(30)], now_ns=T0)
    store.heartbeat(now_ns=NOW, watermark_ns=at(700))
    before = evidence(store)
    assert book_of(store).ledgers(KEY)[_method()].pairs == 18
    fold(store, at(300))
    assert evidence(store) == before
    fold(store, at(700))
    assert evidence(store) == before


def test_sessions_come_into_the_ledgers_with_the_pairs_that_have_one(store: Store) -> None:
    known = [3, 3, 200, None, 3, 0]
    store.add([pair(f"p{n}", dispatched=n * 40.0, session=each) for n, each in enumerate(known)], now_ns=T0)
    store.heartbeat(now_ns=NOW, watermark_ns=None)
    before = evidence(store)
    fold(store, at(100))
    fold(store, at(700))
    assert evidence(store) == before
    ledger = book_of(store).ledgers(KEY)[_method()]
    buckets, pairs = ledger.tally("sessions.pairs").items()
    assert dict(zip(buckets.tolist(), pairs.tolist(), strict=True)) == {0: 1, 3: 3, 200: 1}


def _method() -> str:
    return live().method


def test_of_a_processor_that_ended_or_died_everything_counts(open_store: OpenStore) -> None:
    one, two = open_store("one"), open_store("two")
    one.add([pair("a"), pair("b", dispatched=1000)], now_ns=T0)
    two.add([pair("c"), pair("d", dispatched=1000)], now_ns=T0)
    one.heartbeat(now_ns=NOW, watermark_ns=None)
    two.heartbeat(now_ns=NOW, watermark_ns=at(1))
    fold(two, at(1))
    assert sum(each.pairs for each in book_of(one).ledgers(KEY).values()) == 3
    dead = book_of(one, now_ns=NOW + GONE_NS + 1)
    assert sum(each.pairs for each in dead.ledgers(KEY).values()) == 4


def test_a_fold_that_does_not_come_to_its_commit_has_done_nothing(store: Store) -> None:
    store.add([pair("a"), pair("b", dispatched=1)], now_ns=T0)
    before = evidence(store)
    step = store.folding.begin(number=store.number, watermark_ns=at(10))
    while step.read():
        continue
    assert evidence(store) == before
    assert fold(store, at(10)) == 2
    with pytest.raises(StoreError, match="another process folds under this processor's name"):
        step.commit(now_ns=T0)
    store.heartbeat(now_ns=NOW, watermark_ns=None)
    assert sum(each.pairs for each in book_of(store).ledgers(KEY).values()) == 2


def test_ledgers_that_cannot_be_read_are_made_anew_from_the_rows(store: Store) -> None:
    store.add([pair("a"), pair("b", dispatched=1)], now_ns=T0)
    fold(store)
    before = evidence(store)
    with store._database.writing() as connection:
        connection.execute(LEDGERS.update().values(data=b"of another version"))
    with pytest.raises(LedgerError, match="a ledger cannot be read"):
        evidence(store)
    store.add([pair("c", dispatched=2)], now_ns=T0)
    with pytest.raises(LedgerError):
        fold(store)
    store.folding.restart()
    assert fold(store) == 3
    assert evidence(store) != before


def test_the_control_of_an_exchange_stands_beside_the_candidate(store: Store) -> None:
    control = replace(KEY, target="control", target_digest="t0")
    both = ("candidate", "control")
    store.add(
        [
            pair("a", targets=both),
            pair("a", key=control, targets=both, target_kind="control"),
            pair("b"),
        ],
        now_ns=T0,
    )
    fold(store)
    book = book_of(store)
    (ledger,) = book.ledgers(KEY).values()
    assert ledger.tally("triple.duration").total() == 1
    beside = book.control(KEY)
    assert beside is not None
    assert [each.pairs for each in beside.values()] == [1]
    assert book.latest(None, None) == [KEY]
    assert set(book.keys()) == {KEY, control}
    # A control that is never reached, and what a leg that names no targets has missed, are no candidates either.
    lost: dict[str, Any] = {"config_digest": "c2", "targets": ("control",)}
    store.add([ended(live("c", **lost), None), _unnamed("d")], now_ns=T0)
    book = book_of(store)
    assert len(book.keys()) == 4
    assert book.latest(None, None) == [KEY]


def _unnamed(pair_id: str) -> PairRecord:
    leg = live(pair_id, targets=(), leg_count=3)
    return PairRecord(Pair(pair_id=pair_id, target="", live=leg, shadow=None), Comparison(outcome="live_only"))


def test_pairs_whose_shadow_never_came_are_evidence_about_their_candidate(store: Store) -> None:
    store.add([pair("a"), ended(live("b", config_digest="c1"), None)], now_ns=T0)
    for _ in range(2):
        store.heartbeat(now_ns=NOW, watermark_ns=None)
        book = book_of(store)
        assert book.keys() == [KEY]
        assert sum(each.pairs for each in book.ledgers(KEY).values()) == 2
        fold(store)


def test_methods_beyond_the_64th_share_a_stratum(store: Store) -> None:
    store.add([pair(f"{n:02d}", dispatched=n, method=f"a.B/M{n:02d}") for n in range(70)], now_ns=T0)
    fold(store)
    strata = book_of(store).ledgers(KEY)
    assert len(strata) == 65
    assert strata[OTHER].pairs == 6
    assert sum(each.pairs for each in strata.values()) == 70


def test_strata_do_not_hang_on_which_processor_comes_first(open_store: OpenStore) -> None:
    kept = []
    for name, first in (("one", 0), ("two", 7)):
        store = open_store(name)
        many = [pair(f"{name}-{n:02d}", dispatched=n, method=f"a.B/M{first + n:02d}") for n in range(70)]
        store.add(many, now_ns=T0)
        fold(store)
        kept.append(store.folding.stored(KEY))

    def summed(processors: Iterable[dict[str, Ledger]]) -> dict[str, bytes]:
        return {stratum: ledger.to_bytes() for stratum, ledger in added_up(processors).items()}

    forwards, backwards = summed(kept), summed(reversed(kept))
    assert forwards == backwards
    assert len(forwards) == 7 + 64 + 1


def test_another_configuration_is_another_attempt_of_the_same_candidate(store: Store) -> None:
    again = replace(KEY, config_digest="c2")
    other = replace(KEY, target_digest="t2", config_digest="c2")
    store.add(
        [pair("a", dispatched=0), pair("b", dispatched=10, key=again), pair("c", dispatched=5, key=other)], now_ns=T0
    )
    fold(store)
    book = book_of(store)
    assert book.keys() == [KEY, other, again]
    assert [book.attempt(key) for key in (KEY, other, again)] == [0, 0, 1]
    assert book.latest(None, None) == [again]
    assert book.latest("another", None) == book.latest(None, "another") == []
    # Back to the first: that is what is gathered now, by somebody who has seen the second.
    store.add([pair("d", dispatched=20)], now_ns=T0)
    store.heartbeat(now_ns=NOW, watermark_ns=None)
    book = book_of(store)
    assert book.latest("summaries", "candidate") == [KEY]
    assert (book.attempt(KEY), book.attempt(again)) == (1, 1)
    assert sum(each.pairs for each in book.ledgers(again).values()) == 1


def test_other_versions_of_a_target_are_counted_once_each(store: Store) -> None:
    second, third = replace(KEY, target_digest="t2"), replace(KEY, target_digest="t3")
    elsewhere = replace(KEY, target="another", target_digest="t4")
    store.add(
        [
            pair("a", dispatched=0),
            pair("b", dispatched=5, key=replace(KEY, config_digest="c2")),
            pair("c", dispatched=5, key=elsewhere),
            ended(live("d", config_digest="c1"), None),
            pair("e", dispatched=10, key=second),
            pair("f", dispatched=20, key=third),
        ],
        now_ns=T0,
    )
    book = book_of(store)
    assert [book.other_versions(key) for key in (KEY, second, third, elsewhere)] == [0, 1, 2, 0]


def test_what_is_dispatched_in_the_future_is_left_out_until_then(store: Store) -> None:
    ahead = replace(KEY, target_digest="t0")
    store.add([pair("a"), pair("b", dispatched=7200, key=ahead), pair("c", dispatched=7200)], now_ns=T0)
    for _ in range(2):
        book = book_of(store)
        assert (book.keys(), book.latest(None, None)) == ([KEY], [KEY])
        (ledger,) = book.ledgers(KEY).values()
        assert (ledger.pairs, ledger.last_ns) == (1, T0)
        fold(store, at(10))
        # Of one that ended nothing is held back, and the clock was wrong all the same.
        store.heartbeat(now_ns=NOW, watermark_ns=None)
    assert set(book_of(store, now_ns=at(7200)).keys()) == {KEY, ahead}


def test_a_beginning_that_was_chosen_leaves_out_what_was_before_and_costs_an_attempt(store: Store) -> None:
    store.add([pair(f"p{n}", dispatched=n) for n in range(10)], now_ns=T0)
    fold(store)
    store.heartbeat(now_ns=NOW, watermark_ns=None)
    book = book_of(store, since_ns=at(7))
    assert sum(each.pairs for each in book.ledgers(KEY).values()) == 3
    assert book.attempt(KEY) == 1


def test_an_empty_store_has_no_evidence(store: Store) -> None:
    assert fold(store) == 0
    book = book_of(store)
    assert (book.keys(), book.latest(None, None), book.ledgers(KEY)) == ([], [], {})
    assert (book.control(KEY), book.attempt(KEY)) == (None, 0)


@pytest.fixture(params=["sqlite", "postgresql"])
def new_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], str]:
    """Return what makes places of new stores."""
    if request.param == "sqlite":
        return lambda: f"sqlite:///{tmp_path_factory.mktemp('store')}/pairs{next(_numbers)}.db"
    server: Server = request.getfixturevalue("server")
    return server.new_database


def open_at(url: str, name: str) -> Store:
    return Store.open(StoreSettings.model_validate({"url": url}), name=name, instance="i", now_ns=1)


_arrivals = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.sampled_from(["store", "store", "fold", "die"]),
        st.integers(1, 6),
        st.integers(0, 400),
    ),
    max_size=12,
)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(arrivals=_arrivals, seed=st.integers(0, 2**32))
def test_the_ledgers_of_all_processors_are_one_ledger_of_all_rows(
    new_url: Callable[[], str], arrivals: list[tuple[int, str, int, int]], seed: int
) -> None:
    url, random, numbers = new_url(), Random(seed), count()
    stores = [open_at(url, f"processor {n}") for n in range(3)]
    records = []
    for who, does, many, moment in arrivals:
        store = stores[who]
        if does == "store":
            some = [
                pair(
                    f"p{next(numbers):03d}",
                    dispatched=random.uniform(0, 400),
                    seconds=random.lognormvariate(-1, 1),
                    session=random.choice([None, 7, 8]),
                    prompt_bucket=random.choice([None, 7, 8, 16_383]),
                    concurrency=random.choice([None, 1.0, 2.5]),
                    warm_up=random.random() < 0.3,
                    fields=usage(10, 5, cached_input_tokens=random.choice([None, 0, 4])),
                )
                for _ in range(many)
            ]
            records += some
            store.add(some, now_ns=T0)
        elif does == "fold":
            fold(store, at(moment))
        else:
            step = store.folding.begin(number=store.number, watermark_ns=at(moment))
            step.read()
            store.close()
            stores[who] = open_at(url, f"processor {who}")
    for store in stores:
        store.heartbeat(now_ns=NOW, watermark_ns=None)
    summed = evidence(stores[0])
    for store in stores:
        fold(store)
    folded = evidence(stores[0])
    for store in stores:
        store.folding.restart()
        fold(store)
    rebuilt = evidence(stores[0])
    alone = open_at(new_url(), "alone")
    alone.add(records, now_ns=T0)
    fold(alone)
    once = evidence(alone)
    for store in (*stores, alone):
        store.close()
    assert (summed == once, folded == once, rebuilt == once) == (True, True, True)


def test_a_control_of_before_that_is_a_candidate_now_is_judged(store: Store) -> None:
    now = replace(KEY, config_digest="c2")
    store.add([pair("a", target_kind="control"), pair("b", dispatched=10, key=now)], now_ns=T0)
    store.heartbeat(now_ns=NOW, watermark_ns=None)
    assert book_of(store).latest(None, None) == [now]
    store.add([pair("c", dispatched=20, key=replace(KEY, config_digest="c3"), target_kind="control")], now_ns=T0)
    assert book_of(store).latest(None, None) == []


def test_texts_that_never_came_are_counted_whatever_is_folded_with_them(store: Store, url: str) -> None:
    both = ("candidate", "control")
    of_control = replace(KEY, target="control")
    for number in range(6):
        name = f"p{number}"
        legs = (
            pair(name, dispatched=number, targets=both),
            pair(name, dispatched=number, key=of_control, targets=both, target_kind="control"),
        )
        store.add(legs, now_ns=T0)
    store.add_content([*said_by("p0", "one", "two"), said("p0", "one", target="control")], now_ns=T0)
    assert compared(url) == ["p0", "p0"]
    for number in range(6):
        fold(store, at(number + 0.5))
    one_by_one = evidence(store)
    store.folding.restart()
    assert fold(store) == 12
    assert evidence(store) == one_by_one
    (ledger,) = book_of(store).ledgers(KEY).values()
    assert ledger.tally("texts").dense(2).tolist() == [1, 5]
