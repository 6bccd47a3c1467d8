"""A record made from a list of values is the one its class would make."""

from __future__ import annotations

from dataclasses import MISSING, dataclass, field, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.legs import live, usage

from shadowmesh.model import Comparison, Cost, Fields, Leg
from shadowmesh.processor.decode_records import Maker


@given(st.dictionaries(st.sampled_from(list(Maker(Fields).place)), st.integers() | st.text()))
def test_it_equals_what_the_class_makes(values: dict[str, object]) -> None:
    maker = Maker(Fields)
    blank = maker.blank.copy()
    maker.fill(blank, values)
    made = maker.make(blank)
    assert made == Fields(**values)  # type: ignore[arg-type]  # of any type: nothing is checked here
    assert hash(made) == hash(Fields(**values))  # type: ignore[arg-type]


def test_it_is_frozen_and_of_its_class() -> None:
    maker = Maker(Leg)
    leg = live(fields=usage(1, 2))
    values = [getattr(leg, name) for name in maker.place]
    made = maker.make(values)
    assert (type(made), made, made.duration) == (Leg, leg, leg.duration)
    with pytest.raises(AttributeError):
        made.role = "shadow"  # type: ignore[misc]


def test_a_value_can_be_put_into_a_record_that_was_just_made() -> None:
    maker = Maker(Leg)
    leg, cost = live(), Cost(amount=1.0, currency="USD", source="local")
    made = maker.make([getattr(leg, name) for name in maker.place])
    maker.put(made, "cost", cost)
    assert made == replace(leg, cost=cost)


def test_it_says_what_is_missing_and_what_was_said() -> None:
    maker = Maker(Cost)
    values = maker.blank.copy()
    assert (maker.missing(values), values[0]) == ("amount", MISSING)
    maker.fill(values, {"amount": 1.0, "currency": "USD"})
    assert maker.missing(values) == "source"
    assert maker.said(values) == {"amount": 1.0, "currency": "USD"}
    maker.fill(values, {"source": "local"})
    assert maker.missing(values) is None
    assert maker.make(values) == Cost(amount=1.0, currency="USD", source="local")


def test_a_blank_is_nobody_s_own() -> None:
    maker = Maker(Fields)
    values = maker.blank.copy()
    maker.fill(values, {"provider": "x"})
    assert maker.make(maker.blank.copy()) == Fields()


def test_a_record_whose_defaults_must_be_made_anew_is_refused() -> None:
    @dataclass(frozen=True, slots=True)
    class Listing:
        items: list[int] = field(default_factory=list)

    for record in (Listing, Comparison):
        with pytest.raises(TypeError, match="made anew"):
            Maker(record)
