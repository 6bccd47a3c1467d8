"""A leg and the attributes of its span say the same, both ways."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.legs import live, shadow

from shadowmesh import names
from shadowmesh.errors import DecodeError
from shadowmesh.model import ChunkGaps, Cost, Fields, Leg
from shadowmesh.telemetry.attributes import SLOTS, error_type, from_attributes, to_attributes

TEXTS = st.text(max_size=10)
INTEGERS = st.integers(-(2**63), 2**63 - 1)
NUMBERS = st.floats(allow_nan=False)
LISTS = st.lists(TEXTS, max_size=3).map(tuple)
IDS = st.integers(0, 2**64 - 1)
BY_TYPE: dict[str, st.SearchStrategy[Any]] = {
    "str": TEXTS,
    "int": INTEGERS,
    "float": NUMBERS,
    "bool": st.booleans(),
    "tuple[str, ...]": LISTS,
}


def any_of(record: type[Any], **given: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Any value of every field of a record, by its declared type; optional fields may be ``None``."""
    strategies = {}
    for field in fields(record):
        kind, _, optional = str(field.type).partition(" | ")
        if field.name not in given:
            strategies[field.name] = st.none() | BY_TYPE[kind] if optional == "None" else BY_TYPE[kind]
    return st.builds(record, **strategies, **given)


LEGS: st.SearchStrategy[Leg] = any_of(
    Leg,
    trace_id=st.integers(0, 2**128 - 1),
    span_id=IDS,
    parent_span_id=IDS,
    fields=any_of(Fields),
    chunk_gaps=st.none() | any_of(ChunkGaps),
    cost=st.none() | any_of(Cost),
)


def back(attributes: dict[str, Any], leg: Leg) -> Leg:
    return from_attributes(
        attributes,
        trace_id=leg.trace_id,
        span_id=leg.span_id,
        parent_span_id=leg.parent_span_id,
        started_ns=leg.started_ns,
        ended_ns=leg.ended_ns,
    )


@given(LEGS)
def test_any_leg_survives_its_span(leg: Leg) -> None:
    attributes = to_attributes(leg)
    assert back(dict(attributes), leg) == leg
    assert {type(value) for value in attributes.values()} <= {bool, int, float, str, tuple}


@given(LEGS)
def test_any_leg_survives_a_wire_that_turns_lists_and_whole_floats_into_their_kin(leg: Leg) -> None:
    wire: dict[str, Any] = {}
    for key, value in to_attributes(leg).items():
        whole = isinstance(value, float) and value.is_integer() and abs(value) < 2**53
        wire[key] = list(value) if isinstance(value, tuple) else int(value) if whole else value
    assert back(wire, leg) == leg


def filled(record: type[Any], *without: str) -> dict[str, Any]:
    """A value that is no default for every flat field of a record."""
    values = {"str": "x", "int": 7, "float": 7.5, "bool": True, "tuple[str, ...]": ("x",)}
    kinds = {field.name: str(field.type).partition(" | ")[0] for field in fields(record)}
    return {name: values[kind] for name, kind in kinds.items() if name not in without}


def test_every_field_of_a_leg_has_exactly_one_attribute() -> None:
    full = Leg(
        **filled(Leg, "fields", "chunk_gaps", "cost", "complete"),
        complete=False,
        chunk_gaps=ChunkGaps(p50=1, p95=2, max=3),
        cost=Cost(amount=1, currency="USD", source="local", pricing_version="v"),
        fields=Fields(**filled(Fields)),
    )
    written = to_attributes(full).keys() - {names.RPC_SYSTEM_NAME, names.ERROR_TYPE}
    assert written == SLOTS.keys()
    outside = {"trace_id", "span_id", "parent_span_id", "started_ns", "ended_ns", "fields", "chunk_gaps", "cost"}
    flat = len(fields(Leg)) - len(outside) + len(fields(Fields)) + len(fields(ChunkGaps)) + len(fields(Cost))
    assert len(SLOTS) == flat


def test_what_a_reader_must_not_guess_is_always_said_and_other_defaults_are_not() -> None:
    attributes = to_attributes(live(leg_count=0, targets=()))
    assert attributes[names.PAIR_LEG_COUNT] == 0
    assert attributes[names.SAMPLING_PROBABILITY] == 1.0
    assert attributes[names.STREAM_MESSAGE_COUNT] == 0
    assert attributes[names.STREAM_COMPLETE] is True
    assert attributes[names.RPC_SYSTEM_NAME] == "grpc"
    assert not attributes.keys() & {
        names.GEN_AI_REQUEST_STREAM,
        names.CALL_ATTEMPT,
        names.PAIR_TARGETS,
        names.COST_AMOUNT,
    }


@pytest.mark.parametrize(
    ("status", "error"), [("OK", None), (None, None), ("UNAVAILABLE", "UNAVAILABLE"), ("CANCELLED", "CANCELLED")]
)
def test_only_a_failure_has_an_error_type_and_an_unknown_status_is_no_failure(
    status: str | None, error: str | None
) -> None:
    leg = shadow(status=status)
    assert error_type(leg) == error
    assert to_attributes(leg).get(names.ERROR_TYPE) == error


WRONG: dict[type, list[Any]] = {
    str: [1, 1.5, True, ("x",), b"x"],
    int: [1.0, "1", True, (1,)],
    float: ["1.5", True, (1.5,), b"x"],
    bool: [1, 0, "true", 1.0],
    tuple: ["x", 1, (1,), ("x", 2), b"x"],
}


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        (names.PAIR_ID, str),
        (names.GEN_AI_REQUEST_MODEL, str),
        (names.COST_CURRENCY, str),
        (names.PAIR_LEG_COUNT, int),
        (names.GEN_AI_USAGE_INPUT_TOKENS, int),
        (names.SAMPLING_PROBABILITY, float),
        (names.STREAM_CHUNK_GAP_P50, float),
        (names.STREAM_COMPLETE, bool),
        (names.GEN_AI_REQUEST_STREAM, bool),
        (names.PAIR_TARGETS, tuple),
        (names.GEN_AI_RESPONSE_FINISH_REASONS, tuple),
    ],
)
def test_a_value_of_the_wrong_type_is_refused_and_named(key: str, kind: type) -> None:
    leg = live()
    for value in WRONG[kind]:
        with pytest.raises(DecodeError, match=f"{key} is a {type(value).__name__}, not a {kind.__name__}"):
            back({**to_attributes(leg), key: value}, leg)


@pytest.mark.parametrize("key", [names.EXPERIMENT_NAME, names.PAIR_ID, names.ROLE, names.RPC_METHOD, names.CALL_END])
def test_a_leg_without_what_no_leg_can_lack_is_refused(key: str) -> None:
    leg = live()
    attributes = dict(to_attributes(leg))
    del attributes[key]
    with pytest.raises(DecodeError, match="leg without"):
        back(attributes, leg)


def test_attributes_of_others_are_left_alone() -> None:
    leg = live()
    assert back({**to_attributes(leg), "acme.more": object(), names.PAIR_OUTCOME: 7}, leg) == leg


def test_gaps_and_costs_that_are_not_whole_are_unknown() -> None:
    leg = replace(
        live(),
        chunk_gaps=ChunkGaps(p50=1.0, p95=2.0, max=3.0),
        cost=Cost(amount=1.0, currency="USD", source="local"),
    )
    attributes = dict(to_attributes(leg))
    del attributes[names.STREAM_CHUNK_GAP_P95]
    del attributes[names.COST_CURRENCY]
    read = back(attributes, leg)
    assert (read.chunk_gaps, read.cost) == (None, None)
