"""What somebody is to be told is told once, in order, by whoever saw it first."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import pytest
from support.folded import ALWAYS, KEY, at, fold, pair
from support.legs import SECOND, T0
from support.stores import OpenStore

from shadowmesh.errors import LedgerError
from shadowmesh.names import TargetKind
from shadowmesh.store import alerts
from shadowmesh.store.alerts import AlertBook, Change
from shadowmesh.store.folding import Folded
from shadowmesh.store.records import PairRecord
from shadowmesh.store.settings import RetentionSettings
from shadowmesh.store.store import Store
from shadowmesh.store.tables import ALERTS, ANSWERS, LEDGERS, WATCHES
from shadowmesh.store.watches import Watching
from shadowmesh.verdict.records import Answer

TOLD = Watching(run_length=1000, told=True)


def failing(count: int, *, start: int = 0, status: str = "INTERNAL", **changes: object) -> list[PairRecord]:
    """Return pairs whose shadow failed, and whose live leg did not."""
    records = [pair(f"p{n}", dispatched=float(n), **changes) for n in range(start, start + count)]  # type: ignore[arg-type]
    return [
        record._replace(pair=replace(record.pair, shadow=replace(record.pair.shadow, status=status)))  # type: ignore[type-var]
        for record in records
    ]


def watched(store: Store, watching: Watching | None = TOLD, *, until_ns: int = ALWAYS, now_ns: int = T0) -> Folded:
    """Fold everything in one step."""
    step = store.folding.begin(number=store.number, watermark_ns=until_ns, watching=watching)
    while step.read():
        continue
    return step.commit(now_ns=now_ns)


def told(book: AlertBook) -> list[tuple[object, ...]]:
    """Take all that waits, in its order."""
    found: list[tuple[object, ...]] = []
    while (alert := book.next()) is not None:
        document = alert.document
        found.append((document["type"], document.get("answer") or document["finding"]))
        book.done(alert)
    return found


def answered(book: AlertBook, answer: Answer, at_ns: int, target: str = "candidate") -> Change | None:
    def alert(before: Answer) -> dict[str, object]:
        return {"type": str(before), "answer": str(answer)}

    return book.answered(replace(KEY, target=target), answer, judged_ns=at_ns, alert=alert)


def test_an_answer_is_told_when_it_is_another_one_and_not_again(store: Store) -> None:
    book = store.alerts
    assert answered(book, Answer.NOT_YET, 1) is None
    assert answered(book, Answer.GO, 2) == Change(Answer.NOT_YET, kept=True)
    assert answered(book, Answer.GO, 3) is None
    assert answered(book, Answer.NO_GO, 4) == Change(Answer.GO, kept=True)
    assert answered(book, Answer.NO_GO, 5, "other") == Change(Answer.NOT_YET, kept=True)
    assert book.waiting() == 3
    assert told(book) == [("NOT_YET", "GO"), ("GO", "NO_GO"), ("NOT_YET", "NO_GO")]
    assert book.waiting() == 0


def test_of_several_processors_one_tells_and_an_older_answer_is_none(open_store: OpenStore) -> None:
    one, other = open_store("one").alerts, open_store("other").alerts
    assert answered(one, Answer.GO, 10) is not None
    assert answered(other, Answer.GO, 11) is None
    # It judged before, and was slow to say so.
    assert answered(other, Answer.NOT_YET, 9) is None
    assert answered(other, Answer.NO_GO, 12) == Change(Answer.GO, kept=True)
    assert (told(one), told(other)) == ([("NOT_YET", "GO")], [("GO", "NO_GO")])


def test_without_anybody_to_tell_nothing_is_kept(store: Store) -> None:
    assert store.alerts.answered(KEY, Answer.GO, judged_ns=1) == Change(Answer.NOT_YET, kept=True)
    store.add(failing(100), now_ns=T0)
    (found,) = watched(store, replace(TOLD, told=False)).watched
    assert [alarm.finding for alarm in found.alarms] == ["errors"]
    assert store.alerts.waiting() == 0


def test_what_has_no_room_is_lost_and_said_to_be(store: Store) -> None:
    with store._database.writing() as connection:
        waiting = [{"writer": 1, "made_ns": T0, "document": "{}"}] * (alerts.MOST - 1)
        connection.execute(ALERTS.insert(), waiting)
    assert answered(store.alerts, Answer.GO, 1) == Change(Answer.NOT_YET, kept=True)
    assert answered(store.alerts, Answer.NO_GO, 2) == Change(Answer.GO, kept=False)
    store.add(failing(100), now_ns=T0)
    assert [one.lost for one in watched(store).watched] == [1]
    assert store.alerts.waiting() == alerts.MOST


def test_an_alarm_is_on_its_way_with_the_fold_that_raised_it_or_not_at_all(open_store: OpenStore) -> None:
    store = open_store()
    store.add(failing(100), now_ns=T0)
    step = store.folding.begin(number=store.number, watermark_ns=ALWAYS, watching=TOLD)
    while step.read():
        continue
    # It never commits: the process died here.
    store.close()
    store = open_store()
    assert store.alerts.waiting() == 0
    (found,) = watched(store).watched
    assert found.key == KEY
    assert store.alerts.waiting() == 1
    assert watched(store).watched == ()
    assert told(store.alerts) == [("alarm.raised", "errors")]


def test_after_a_restart_a_detector_goes_on_and_pairs_are_not_fed_twice(open_store: OpenStore) -> None:
    watching = replace(TOLD, run_length=1e6)
    store = open_store()
    store.add(failing(12), now_ns=T0)
    (before,) = watched(store, watching).watched
    store.close()
    store = open_store()
    store.add(failing(1, start=12), now_ns=T0)
    (after,) = watched(store, watching).watched
    assert 0 < before.levels["errors"] < after.levels["errors"] < 5 * before.levels["errors"]
    # Ledgers of another version are made anew, from all rows.
    with store._database.writing() as connection:
        connection.execute(LEDGERS.update().values(data=b"?"))
    store.add(failing(1, start=13, status="OK"), now_ns=T0)
    with pytest.raises(LedgerError):
        watched(store, watching)
    store.folding.restart()
    (anew,) = watched(store, watching).watched
    assert 0 < anew.levels["errors"] < after.levels["errors"]


def test_a_state_that_cannot_be_read_is_begun_anew(store: Store) -> None:
    store.add(failing(12), now_ns=T0)
    watched(store, TOLD, until_ns=at(6))
    with store._database.writing() as connection:
        connection.execute(WATCHES.update().values(state="?"))
    assert watched(store).watched[0].levels["errors"] > 0


def test_only_candidates_are_watched(store: Store) -> None:
    store.add(failing(100, target_kind=TargetKind.CONTROL.value), now_ns=T0)
    lost = [record._replace(pair=replace(record.pair, shadow=None)) for record in failing(5, start=200)]
    store.add(lost, now_ns=T0)
    assert watched(store).watched == ()


def test_nobody_has_to_watch(store: Store) -> None:
    store.add(failing(100), now_ns=T0)
    assert fold(store) == 100
    with store.reader.reading() as connection:
        assert connection.execute(WATCHES.select()).all() == []


def test_answers_and_watches_go_with_their_ledgers(open_store: OpenStore) -> None:
    store = open_store(retention=RetentionSettings(ledgers=60.0))
    store.add(failing(100), now_ns=T0)
    watched(store)
    answered(store.alerts, Answer.GO, T0)
    rows = partial(_rows, store)
    store.sweep(T0 + 59 * SECOND)
    assert rows() == (1, 1, 2)
    store.sweep(T0 + 61 * SECOND)
    assert rows() == (0, 0, 2)


def _rows(store: Store) -> tuple[int, ...]:
    with store.reader.reading() as connection:
        return tuple(len(connection.execute(table.select()).all()) for table in (WATCHES, ANSWERS, ALERTS))
