"""Rows as columns: the figures of records, without records."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from support.folded import ALWAYS, KEY, at, fold, pair
from support.legs import T0, usage
from support.stored_pairs import records
from support.stores import OpenStore

from shadowmesh.compare.comparison import succeeded
from shadowmesh.compare.pace import pace_of
from shadowmesh.model import Cost, Leg
from shadowmesh.store.records import PairRecord
from shadowmesh.store.store import Store
from shadowmesh.store.tables import TEXTS
from shadowmesh.store.unfolded import ALL_NUMBERS, NOTHING_FOLDED, Extent, Unfolded
from shadowmesh.verdict.facts import NO_PROMPT, LegColumns, PairColumns, State


def columns_of(store: Store) -> list[tuple[str | None, int, PairColumns]]:
    """Return currency, mixed costs and columns of everything that is stored, by batch."""
    pages = Unfolded(store.reader.reading).pages(1, NOTHING_FOLDED, Extent(ALL_NUMBERS, ALWAYS))
    return [(batch.currency, batch.mixed, batch.columns) for page in pages for batch in page.batches]


def the_columns(store: Store) -> PairColumns:
    ((_, _, columns),) = columns_of(store)
    return columns


def figure(value: float | None) -> Any:
    return pytest.approx(np.nan if value is None else value, rel=1e-9, abs=1e-9, nan_ok=True)


def assert_as_said(columns: LegColumns, leg: Leg) -> None:
    pace = pace_of(leg) if succeeded(leg) and not leg.warm_up else None
    known = columns.state[0] not in (State.MISSING, State.SHED, State.SKIPPED, State.WARM_UP)
    assert columns.duration[0] == figure(leg.duration if known else None)
    assert columns.per_token[0] == figure(None if pace is None else pace.per_token)
    assert columns.input_tokens[0] == figure(leg.fields.input_tokens)
    assert columns.output_tokens[0] == figure(leg.fields.output_tokens)
    assert columns.cached_tokens[0] == figure(leg.fields.cached_input_tokens)
    if succeeded(leg) and not leg.warm_up:
        assert columns.first_chunk[0] == figure(leg.time_to_first_chunk)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(record=records())
def test_columns_say_what_the_records_say_whatever_they_are(open_store: OpenStore, record: PairRecord) -> None:
    store = open_store()
    with store._database.writing() as connection:
        connection.exec_driver_sql("DELETE FROM pairs")
    store.add([record], now_ns=T0)
    columns = the_columns(store)
    for side, leg in ((columns.live, record.pair.live), (columns.shadow, record.pair.shadow)):
        if leg is None:
            assert side.state[0] == State.MISSING
            assert np.isnan(side.duration[0])
        else:
            assert_as_said(side, leg)
    equal = record.comparison.matches.get("output_exact")
    assert columns.exact[0] == figure(None if equal is None else float(equal))
    store.folding.restart()
    assert fold(store) == 1
    store.close()


def test_of_live_the_calls_in_flight_are_reckoned_from_those_that_were_sampled(store: Store) -> None:
    store.add(
        [
            pair("a", concurrency=3.0, probability=0.1),
            pair("b", concurrency=1.0, probability=0.1),
            pair("c", concurrency=3.0, probability=1.0),
            pair("d", concurrency=None, probability=1.0),
            pair("e", concurrency=3.0, probability=0.0),
            pair("f", concurrency=3.0, probability=-2.0),
        ],
        now_ns=T0,
    )
    columns = the_columns(store)
    assert list(columns.live.in_flight) == [figure(each) for each in (21.0, 1.0, 3.0, None, 3.0, 3.0)]
    assert list(columns.shadow.in_flight) == [figure(each) for each in (3.0, 1.0, 3.0, None, 3.0, 3.0)]


def test_the_lag_is_how_far_a_shadow_that_began_did_so_behind_live(store: Store) -> None:
    def late(name: str, seconds: float, **changes: Any) -> PairRecord:
        record = pair(name)
        assert record.pair.shadow is not None
        shadow = replace(record.pair.shadow, started_ns=at(seconds), **changes)
        return record._replace(pair=replace(record.pair, shadow=shadow))

    shed: dict[str, Any] = {"end": "shed", "drop_reason": "queue_full", "status": None}
    one_sided = pair("d")
    store.add(
        [
            late("a", 0.25),
            late("b", -0.5),
            late("c", 0.25, **shed),
            one_sided._replace(pair=replace(one_sided.pair, shadow=None)),
        ],
        now_ns=T0,
    )
    lags = {seconds for _, _, columns in columns_of(store) for seconds in map(str, columns.lag.tolist())}
    assert lags == {"0.25", "0.0", "nan"}


def test_prompts_stand_beside_the_pairs_whose_live_leg_says_one(store: Store) -> None:
    store.add([pair("a", prompt_bucket=7), pair("b"), pair("c", prompt_bucket=0)], now_ns=T0)
    prompt = the_columns(store).prompt
    assert prompt is not None
    assert prompt.tolist() == [7, NO_PROMPT, 0]


def test_without_any_prompt_there_is_no_column(store: Store) -> None:
    store.add([pair("a")], now_ns=T0)
    assert the_columns(store).prompt is None


def test_a_control_that_was_warming_up_is_held_against_nothing(store: Store) -> None:
    control = replace(KEY, target="control", target_digest="t0")
    both = ("candidate", "control")
    for name, warm_up in (("a", True), ("b", False)):
        of_control = pair(name, key=control, targets=both, target_kind="control")
        assert of_control.pair.shadow is not None
        shadow = replace(of_control.pair.shadow, warm_up=warm_up)
        store.add(
            [pair(name, targets=both), of_control._replace(pair=replace(of_control.pair, shadow=shadow))], now_ns=T0
        )
    (columns,) = (columns for _, _, columns in columns_of(store) if columns.control is not None)
    assert columns.control is not None
    assert list(columns.control.state) == [State.MISSING, State.OK]


def test_a_stream_that_ended_before_anything_came_takes_at_least_so_long_to_its_first_chunk(store: Store) -> None:
    ended: dict[str, Any] = {"end": "deadline", "status": "DEADLINE_EXCEEDED", "complete": False}
    store.add([pair("a", seconds=3.0, streaming=True, **ended), pair("b", seconds=3.0, **ended)], now_ns=T0)
    columns = the_columns(store)
    assert list(columns.shadow.first_chunk) == [figure(3.0), figure(None)]


def test_costs_are_parted_by_currency_and_never_mixed(store: Store) -> None:
    def paid(currency: str) -> Cost:
        return Cost(amount=2.0, currency=currency, source="local")

    dear, (other, comparison) = pair("c", cost=paid("USD")).pair, pair("c", cost=paid("EUR"))
    store.add(
        [
            pair("a", cost=paid("USD"), fields=usage(1, 2)),
            pair("b", cost=paid("EUR")),
            PairRecord(replace(dear, shadow=other.shadow), comparison),
        ],
        now_ns=T0,
    )
    shown = {
        (currency, left_out): (list(columns.live.cost), list(columns.shadow.cost))
        for currency, left_out, columns in columns_of(store)
    }
    assert shown == {
        ("USD", 0): ([2.0], [2.0]),
        ("EUR", 0): ([2.0], [2.0]),
        ("USD", 1): ([2.0], [figure(None)]),
    }


def test_what_texts_show_stands_beside_what_the_controls_show(store: Store) -> None:
    control = replace(KEY, target="control", target_digest="t0")
    both = ("candidate", "control")
    store.add(
        [pair("a", targets=both), pair("a", key=control, targets=both, target_kind="control"), pair("b")], now_ns=T0
    )
    row = {"experiment": "summaries", "stored_ns": T0}
    with store._database.writing() as connection:
        connection.execute(
            TEXTS.insert(),
            [
                {**row, "pair_id": "a", "target": "candidate", "similarity": 0.5, "equal": False}
                | {"guards": '{"numbers":[null,true],"refusal":[false,true]}'},
                {**row, "pair_id": "a", "target": "control", "similarity": 0.9, "equal": False}
                | {"guards": '{"numbers":[null,false],"refusal":[false,true]}'},
            ],
        )
    columns = next(columns for _, _, columns in columns_of(store) if len(columns) == 2)
    texts = columns.texts
    assert texts is not None
    assert columns.control is not None
    assert list(columns.control.state) == [State.OK, State.MISSING]
    assert list(texts.similarity) == [0.5, figure(None)]
    assert list(texts.floor) == [0.9, figure(None)]
    assert list(columns.exact) == [0.0, figure(None)]
    # What differs from the live text is held against the control; what looks at one text, against the live one.
    assert {name: [side[0] for side in sides] for name, sides in texts.guards.items()} == {
        "numbers": [1.0, 0.0],
        "refusal": [1.0, 0.0],
    }
