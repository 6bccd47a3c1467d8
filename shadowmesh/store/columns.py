"""
Rows to columns: what a verdict needs of many pairs, without making a record of any.

A page of rows is read with the columns below and nothing else, turned on its side, and parted by evidence key and
method. What legs have in common is looked up once for each set of traits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from itertools import islice
from typing import Any, NamedTuple, TypeVar

import numpy as np
from sqlalchemy import Connection, Select, and_, select

from shadowmesh.names import TargetKind
from shadowmesh.store.rows import key_text
from shadowmesh.store.states import NOTHING, Said, said
from shadowmesh.store.tables import NUMBER_BITS, PAIRS, TEXTS, TRAITS
from shadowmesh.store.text_columns import Control, floats, text_columns
from shadowmesh.store.traits import from_facts
from shadowmesh.verdict.facts import (
    NO_PROMPT,
    NO_SESSION,
    Floats,
    Ints,
    LegColumns,
    PairColumns,
    State,
    TextColumns,
)
from shadowmesh.verdict.records import EvidenceKey

_ROW = ("id", "experiment", "target", "pair_id", "dispatched_ns", "match_output", "session", "prompt_bucket")
_LEG = (
    "traits",
    "duration_ns",
    "write_stall",
    "time_to_first_chunk",
    "input_tokens",
    "cached_input_tokens",
    "output_tokens",
    "cost",
    "concurrency",
)
_TEXTS = ("similarity", "equal", "guards")
_MOST_KNOWN = 20_000
_IDS_AT_ONCE = 500
_SIDES = ("live", "shadow")
_NAMES = (*_ROW, *(f"{side}_{name}" for side in _SIDES for name in _LEG), "lag_ns", *_TEXTS)
# By state.
_MEASURED = np.isin(list(State), (State.OK, State.FAILED, State.TIMED_OUT, State.STOPPED))
_AT_LEAST = np.isin(list(State), (State.TIMED_OUT, State.STOPPED))

Columns = TypeVar("Columns", LegColumns, TextColumns)


def _leg_columns(side: str) -> list[Any]:
    columns = PAIRS.c
    duration = columns[f"{side}_ended_ns"] - columns[f"{side}_started_ns"]
    return [
        duration.label(f"{side}_duration_ns") if name == "duration_ns" else columns[f"{side}_{name}"] for name in _LEG
    ]


_TEXT_OF_PAIR = and_(
    TEXTS.c.pair_id == PAIRS.c.pair_id, TEXTS.c.target == PAIRS.c.target, TEXTS.c.experiment == PAIRS.c.experiment
)


def rows_to_fold() -> Select[Any]:
    """Return the query of what :func:`batches` takes; whoever asks adds the conditions and the order."""
    return select(
        *(PAIRS.c[name] for name in _ROW),
        *(column for side in _SIDES for column in _leg_columns(side)),
        (PAIRS.c.shadow_started_ns - PAIRS.c.live_started_ns).label("lag_ns"),
        *(TEXTS.c[name] for name in _TEXTS),
    ).select_from(PAIRS.outerjoin(TEXTS, _TEXT_OF_PAIR))


_CONTROLS = select(
    PAIRS.c.id, PAIRS.c.experiment, PAIRS.c.pair_id, *_leg_columns("shadow"), TEXTS.c.similarity, TEXTS.c.guards
).select_from(PAIRS.outerjoin(TEXTS, _TEXT_OF_PAIR))


class Batch(NamedTuple):
    """
    Pairs of one key, one method and one currency.

    ``mixed`` costs were left out: those of shadows that were paid in another currency than the live leg.
    """

    key: EvidenceKey
    kind: str
    method: str
    currency: str | None
    columns: PairColumns
    mixed: int


class TraitsSaid:
    """What sets of traits say, read when they are first named."""

    def __init__(self) -> None:
        self._said: dict[int, Said] = {}

    def read(self, connection: Connection, ids: Iterable[int | None]) -> Mapping[int | None, Said]:
        """Return what each of these says; one that is not there says as little as a leg that never came."""
        wanted = set(ids) - {None}
        if len(self._said) > _MOST_KNOWN:
            self._said.clear()
        unknown = iter([id_ for id_ in wanted if id_ not in self._said])
        while some := list(islice(unknown, _IDS_AT_ONCE)):
            rows = connection.execute(select(TRAITS.c.id, TRAITS.c.facts).where(TRAITS.c.id.in_(some)))
            self._said.update((id_, said(from_facts(facts))) for id_, facts in rows)
        return {None: NOTHING} | {id_: self._said.get(id_, NOTHING) for id_ in wanted if id_ is not None}


class _Group(NamedTuple):
    """What the pairs of a batch have in common; ``mixed`` is whether the legs were paid in different currencies."""

    key: EvidenceKey
    kind: str
    method: str
    currency: str | None
    mixed: bool


class _Kind(NamedTuple):
    """What rows of a kind have in common: their target, and what the traits of their legs say."""

    experiment: str
    target: str
    live: Said
    shadow: Said


def batches(connection: Connection, rows: Sequence[Sequence[Any]], traits: TraitsSaid) -> Iterator[Batch]:
    """
    Return rows of :func:`rows_to_fold` as columns, by key and method in the order they first come.

    The legs at the control target are those that the same processor has stored of the same exchange.
    """
    if not rows:
        return
    by_name = dict(zip(_NAMES, zip(*rows, strict=True), strict=True))
    kinds, codes = _kinds(connection, by_name, traits)
    controls = _controls(connection, by_name, kinds, codes, traits)
    lives = [kind.live for kind in kinds]
    live = _of_all_calls(_legs([by_name[f"live_{name}"] for name in _LEG], lives, codes), lives, codes)
    shadow = _legs([by_name[f"shadow_{name}"] for name in _LEG], [kind.shadow for kind in kinds], codes)
    control = _control_legs(connection, controls, len(rows), traits)
    texts = text_columns(by_name, controls)
    digests = floats(by_name["match_output"])
    exact = np.where(np.isnan(digests), floats(by_name["equal"]), digests)
    dispatched = np.array(by_name["dispatched_ns"], dtype=np.int64)
    lag = _lags(by_name["lag_ns"], [kind.shadow for kind in kinds], codes)
    session, prompt = _buckets(by_name["session"], NO_SESSION), _buckets(by_name["prompt_bucket"], NO_PROMPT)
    for group, at in _groups(kinds, codes):
        beside = None if control is None else _taken(control, at)
        columns = PairColumns(
            dispatched_ns=dispatched[at],
            live=_taken(live, at),
            shadow=_taken(shadow, at),
            control=beside if beside is not None and (beside.state != State.MISSING).any() else None,
            exact=exact[at],
            texts=None if texts is None else _taken(texts, at),
            lag=lag[at],
            session=None if session is None else session[at],
            prompt=None if prompt is None else prompt[at],
        )
        mixed = int(np.count_nonzero(~np.isnan(columns.shadow.cost))) if group.mixed else 0
        if group.mixed:
            columns.shadow.cost[:] = np.nan
        yield Batch(group.key, group.kind, group.method, group.currency, columns, mixed)


def _buckets(buckets: Sequence[int | None], unknown: int) -> Ints | None:
    """Return the buckets, of which one stands for those that are unknown; ``None`` where all are."""
    if not any(bucket is not None for bucket in buckets):
        return None
    return np.array([unknown if bucket is None else bucket for bucket in buckets], dtype=np.int64)


def _lags(lag_ns: Sequence[int | None], shadows: Sequence[Said], codes: Ints) -> Floats:
    """Return how far shadows began behind live, at least 0; NaN where one of them never began."""
    began = np.array([_MEASURED[one.state] for one in shadows], dtype=bool)[codes]
    return np.where(began, np.maximum(floats(lag_ns) * 1e-9, 0.0), np.nan)


def _kinds(
    connection: Connection, by_name: Mapping[str, Sequence[Any]], traits: TraitsSaid
) -> tuple[list[_Kind], Ints]:
    """Return what kinds of rows there are, and the place there of each row's."""
    names = ("experiment", "target", "live_traits", "shadow_traits")
    places: dict[tuple[Any, ...], int] = {}
    of_rows = zip(*(by_name[name] for name in names), strict=True)
    codes = np.array([places.setdefault(one, len(places)) for one in of_rows], dtype=np.int64)
    said_by = traits.read(connection, {id_ for *_, live, shadow in places for id_ in (live, shadow)})
    kinds = [_Kind(experiment, target, said_by[live], said_by[shadow]) for experiment, target, live, shadow in places]
    return kinds, codes


def _groups(kinds: Sequence[_Kind], codes: Ints) -> Iterator[tuple[_Group, Ints]]:
    """Return which rows belong together."""
    groups: dict[_Group, int] = {}
    of_kind = []
    for experiment, target, live, shadow in kinds:
        key = EvidenceKey(
            experiment=experiment,
            target=target,
            # Of any length and with any character, as somebody sent it.
            target_digest=key_text(shadow.target_digest),
            config_digest=key_text(shadow.config_digest or live.config_digest),
        )
        currency = live.currency or shadow.currency
        mixed = shadow.currency not in (None, currency)
        group = _Group(key, shadow.kind, key_text(live.method or shadow.method), currency, mixed)
        of_kind.append(groups.setdefault(group, len(groups)))
    group_of = np.array(of_kind, dtype=np.int64)[codes]
    order = np.argsort(group_of, kind="stable")
    ends = np.searchsorted(group_of[order], np.arange(1, len(groups)))
    yield from zip(groups, np.split(order, ends), strict=True)


def _legs(leg: Sequence[Sequence[Any]], said_by: Sequence[Said], codes: Ints) -> LegColumns:
    """Return the figures of legs; ``codes`` are the places in ``said_by`` of what their traits say."""
    _, elapsed, stall, first, input_tokens, cached_tokens, output_tokens, cost, concurrency = map(floats, leg)
    state = np.array([one.state for one in said_by], dtype=np.uint8)[codes]
    streaming = np.array([one.streaming for one in said_by], dtype=bool)[codes]
    duration = np.maximum(elapsed * 1e-9 - np.nan_to_num(stall), 0.0)
    duration[~_MEASURED[state]] = np.nan
    # A stream that was ended before anything came takes at least so long to its first chunk.
    none_yet = streaming & np.isnan(first) & _AT_LEAST[state]
    generating = duration - first
    steady = (state == State.OK) & (output_tokens >= 2) & (generating > 0)
    # As in compare.pace: what follows the first chunk, over the tokens after the first.
    per_token = np.divide(generating, output_tokens - 1, out=np.full(len(state), np.nan), where=steady)
    return LegColumns(
        state=state,
        duration=duration,
        first_chunk=np.where(none_yet, duration, first),
        per_token=per_token,
        input_tokens=input_tokens,
        cached_tokens=cached_tokens,
        output_tokens=output_tokens,
        cost=cost,
        in_flight=concurrency,
    )


def _of_all_calls(live: LegColumns, said_by: Sequence[Said], codes: Ints) -> LegColumns:
    """
    Return live legs with the calls in flight of all calls: a live process counts those that it mirrors.

    Each of the others was seen with the chance that the leg had itself, which makes the sum right on average (Horvitz
    and Thompson, JASA 47, 1952, doi:10.1080/01621459.1952.10483446).
    """
    chance = np.array([one.probability if 0.0 < one.probability <= 1.0 else 1.0 for one in said_by])[codes]
    return replace(live, in_flight=1.0 + (live.in_flight - 1.0) / chance)


def _control_legs(
    connection: Connection, controls: Mapping[int, Control], rows: int, traits: TraitsSaid
) -> LegColumns | None:
    """Return the control's leg beside every row, ``MISSING`` where there is none; ``None`` where no row has one."""
    if not controls:
        return None
    leg = list(zip(*(one.leg for one in controls.values()), strict=True))
    said_by = traits.read(connection, set(leg[0]))
    found = _legs(leg, [said_by[id_] for id_ in leg[0]], np.arange(len(controls)))
    at = np.array(list(controls), dtype=np.int64)
    beside: dict[str, Any] = {}
    for field in fields(LegColumns):
        column = getattr(found, field.name)
        beside[field.name] = np.full(rows, State.MISSING if field.name == "state" else np.nan, dtype=column.dtype)
        beside[field.name][at] = column
    return LegColumns(**beside)


def _controls(
    connection: Connection,
    by_name: Mapping[str, Sequence[Any]],
    kinds: Sequence[_Kind],
    codes: Ints,
    traits: TraitsSaid,
) -> dict[int, Control]:
    """Return for the rows of candidates, by their places, what the control of their exchange did."""
    of_several = np.array([kind.live.several and kind.shadow.kind != TargetKind.CONTROL for kind in kinds], dtype=bool)
    asked = {
        at: (by_name["id"][at] >> NUMBER_BITS, by_name["experiment"][at], by_name["pair_id"][at])
        for at in np.flatnonzero(of_several[codes]).tolist()
    }
    wanted = iter(sorted({pair_id for *_, pair_id in asked.values()}))
    found: dict[tuple[int, str, str], Control] = {}
    while some := list(islice(wanted, _IDS_AT_ONCE)):
        stored = connection.execute(_CONTROLS.where(PAIRS.c.pair_id.in_(some)).order_by(PAIRS.c.target)).all()
        known = traits.read(connection, {row.shadow_traits for row in stored})
        for id_, experiment, pair_id, *leg, similarity, guards in stored:
            # Of a control that was warming up not even its text is held against anything.
            if known[leg[0]].kind == TargetKind.CONTROL and known[leg[0]].state is not State.WARM_UP:
                found.setdefault((id_ >> NUMBER_BITS, experiment, pair_id), Control(leg, similarity, guards))
    return {at: found[one] for at, one in asked.items() if one in found}


def _taken(columns: Columns, at: Ints) -> Columns:
    """Return some places of every column."""
    taken: dict[str, Any] = {}
    for field in fields(columns):
        column = getattr(columns, field.name)
        taken[field.name] = (
            {name: (one[at], other[at]) for name, (one, other) in column.items()}
            if isinstance(column, dict)
            else column[at]
        )
    return type(columns)(**taken)
