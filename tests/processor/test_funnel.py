"""The account of what was sent and what became of it."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shadowmesh.names import Outcome
from shadowmesh.processor.funnel import Account, FunnelBook, FunnelPoint, FunnelSeries


def point(value: int, at: int, *, started: int = 1, cumulative: bool = True, **series: Any) -> FunnelPoint:
    facts = {"instance": "i1", "experiment": "e", "target": "t", "decision": "mirrored"} | series
    return FunnelPoint(series=FunnelSeries(**facts), cumulative=cumulative, started_ns=started, at_ns=at, value=value)


def account(book: FunnelBook) -> Account:
    (only,) = book.accounts({})
    return only


def booked(*points: FunnelPoint) -> dict[str, int]:
    book = FunnelBook()
    for one in points:
        book.add(one)
    return dict(account(book).decisions)


def test_only_the_growth_of_a_cumulative_counter_is_booked() -> None:
    assert booked(point(5, 10), point(8, 20), point(8, 30)) == {"mirrored": 8}


def test_a_redelivered_or_overtaken_point_adds_nothing() -> None:
    assert booked(point(8, 20), point(8, 20), point(5, 10)) == {"mirrored": 8}


def test_a_restarted_process_starts_again_and_takes_nothing_back() -> None:
    assert booked(point(8, 20), point(3, 30, started=25), point(9, 22)) == {"mirrored": 11}


def test_a_counter_that_goes_back_without_saying_since_when_has_restarted() -> None:
    assert booked(point(8, 20, started=0), point(3, 30, started=0)) == {"mirrored": 11}


def test_processes_methods_and_reasons_are_series_of_their_own_in_one_account() -> None:
    book = FunnelBook()
    for one in (
        point(5, 10),
        point(5, 10, instance="i2"),
        point(5, 10, method="a/B"),
        point(2, 10, decision="dropped", reason="oversize"),
        point(1, 10, decision="dropped", reason="queue_full"),
        point(9, 10, decision="not_sampled"),
        point(4, 10, decision="invented"),
    ):
        book.add(one)
    assert account(book) == Account(
        "e",
        "t",
        decisions={"mirrored": 15, "dropped": 3, "not_sampled": 9, "_OTHER": 4},
        drop_reasons={"oversize": 2, "queue_full": 1},
    )
    assert account(book).sent == 18


def test_a_call_that_could_not_be_tapped_was_counted_and_never_sent() -> None:
    book = FunnelBook()
    book.add(point(5, 10))
    book.add(point(3, 10, decision="dropped", reason="unsupported_handler"))
    book.add(point(2, 10, decision="disabled", reason="marked"))
    assert (account(book).sent, account(book).decisions["dropped"]) == (5, 3)


def test_delta_points_add_up_once_each() -> None:
    deltas = [point(5, 10, cumulative=False), point(3, 20, started=10, cumulative=False)]
    assert booked(*deltas, deltas[1]) == {"mirrored": 8}


def test_what_was_sent_and_neither_ended_nor_waits_is_missing() -> None:
    book = FunnelBook()
    book.add(point(10, 10))
    book.add(point(2, 10, decision="dropped", reason="oversize"))
    for outcome in (Outcome.MATCHED, Outcome.MATCHED, Outcome.LIVE_ONLY):
        book.ended("e", "t", outcome)
    (only,) = book.accounts({("e", "t"): 4})
    assert only.outcomes == {"matched": 2, "live_only": 1}
    assert only.missing == 12 - 3 - 4


def test_a_sender_of_endless_series_targets_and_reasons_is_bounded() -> None:
    book = FunnelBook(most_series=10)
    for n in range(100):
        book.add(point(1, 10, instance=f"i{n}", target=f"t{n}", decision="dropped", reason=f"r{n}"))
        book.ended("e", f"x{n}", Outcome.MATCHED)
    accounts = book.accounts({})
    assert len(accounts) == 21
    assert sum(one.sent for one in accounts) == 100
    assert sum(sum(one.outcomes.values()) for one in accounts) == 100
    narrow = FunnelBook()
    for n in range(200):
        narrow.add(point(1, 10, decision="dropped", reason=f"r{n}"))
    assert len(account(narrow).drop_reasons) == 65
    assert sum(account(narrow).drop_reasons.values()) == 200


@given(st.lists(st.integers(0, 50), min_size=1), st.randoms(use_true_random=False), st.data())
def test_repeats_never_change_what_a_growing_counter_adds_up_to(
    increments: list[int], random: Any, data: st.DataObject
) -> None:
    totals = [sum(increments[: n + 1]) for n in range(len(increments))]
    points = [point(total, at) for at, total in enumerate(totals)]
    repeated = [one for one in points for _ in range(data.draw(st.integers(1, 2)))]
    random.shuffle(repeated)
    assert booked(*repeated) == {"mirrored": totals[-1]}


def test_a_book_that_was_saved_and_restored_books_on_as_if_nothing_had_happened() -> None:
    whole, before = FunnelBook(), FunnelBook()
    for book in (whole, before):
        book.add(point(10, 1))
        book.add(point(3, 1, decision="dropped", reason="queue_full"))
        book.ended("exp", "candidate", Outcome.MATCHED)
    after = FunnelBook()
    after.restore(json.loads(json.dumps(before.state())))
    for book in (whole, after):
        # Re-delivered, then grown.
        book.add(point(10, 1))
        book.add(point(25, 2))
    assert after.accounts({}) == whole.accounts({})
    assert after.state() == whole.state()
