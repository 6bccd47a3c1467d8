"""
What captured texts show, into the table ``texts``: compared once, kept without content and as long as the pair.

Legs come as spans and their texts as log events, by other ways and in any order, so no pair can wait for its text. The
texts of a pair are compared later, when the evidence is folded that the pair belongs to, by the processor that has
stored the pair. A text that comes later still is not compared, and counted (``late_texts``).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Row, and_, func, select, tuple_

from shadowmesh.compare.divergence import Output
from shadowmesh.compare.similarity import Similarity
from shadowmesh.compare.texts import TextComparison, captured_output, compare_texts
from shadowmesh.model import Leg
from shadowmesh.names import Outcome, Role
from shadowmesh.store.database import Database
from shadowmesh.store.records import ComparedPair, StoredPair
from shadowmesh.store.rows import WRITTEN, from_row
from shadowmesh.store.tables import CONTENT, NUMBER_BITS, PAIRS, TEXTS, TRAITS
from shadowmesh.store.traits import LegFacts, from_facts
from shadowmesh.telemetry.faults import Faults

_PAGE = 1000
_MOST_KNOWN = 20_000
_BYTES_AT_ONCE = 8 << 20
# Of ordinary answers that is less than a tenth of a second, in which the writer waits.
_PAIRS_AT_ONCE = 100
# Of the text of a leg: more than three times the most that content_limit can be, so ShadowMesh has not sent it.
_MOST_BYTES = 1 << 20
_KEY = ("experiment", "pair_id", "target")
_COLUMNS = tuple(PAIRS.c[name] for name in WRITTEN)
_SHOWN = tuple(TEXTS.c[name] for name in ("similarity", "divergence_at", "divergence_share", "equal", "guards"))
_LIVE, _SHADOW = CONTENT.alias("live_content"), CONTENT.alias("shadow_content")

TextsKey = tuple[str, str, str]
"""Experiment, pair id and target, as they are stored."""


_Shown = tuple[StoredPair, TextComparison]
_Content = Row[Any, Any, Any]
"""Id, output, and what was truncated."""


class _Texts(NamedTuple):
    stored: StoredPair
    live: _Content
    shadow: _Content


class _Captured(NamedTuple):
    """The ids of a pair and of the contents of its legs, and the bytes of both."""

    pair: int
    live: int
    shadow: int
    size: int


def compare_missing(
    database: Database,
    wanted: Sequence[ColumnElement[bool]],
    *,
    similarity: Similarity,
    faults: Faults,
    wall_ns: Callable[[], int],
) -> Iterator[list[ComparedPair]]:
    """
    Compare the captured texts of those pairs that have both and were not compared; yield what was newly stored.

    Each step looks at a thousand rows, or compares a hundred pairs or 8 MiB of text, and writes at most once; it may
    find nothing. It is for the thread that writes, which may do something else between two steps.

    Args:
        wanted: which pairs, as conditions on the columns of ``pairs``: see
            :meth:`~shadowmesh.store.unfolded.Unfolded.conditions`.
        faults: where it is counted that two texts cannot be compared, which must not take others with them.

    Raises:
        StoreError: see :meth:`Database.writing`; steps before are done.
    """
    with database.reading() as connection:
        if connection.execute(select(CONTENT.c.id).limit(1)).first() is None:
            return
    traits: dict[int, LegFacts] = {}
    last = 0
    while True:
        with database.reading() as connection:
            rows = select(PAIRS.c.id).where(*wanted, PAIRS.c.id > last).order_by(PAIRS.c.id).limit(_PAGE).subquery()
            end = connection.execute(select(func.max(rows.c.id))).scalar()
            if end is None:
                return
            found = _captured(connection, [*wanted, PAIRS.c.id > last, PAIRS.c.id <= end])
        last = end
        if not found:
            yield []
        for some in _bounded(found):
            with database.reading() as connection:
                texts = _texts(connection, some, traits)
            compared = _compared(texts, similarity, faults)
            yield _stored(database, compared, wall_ns())
        if len(traits) > _MOST_KNOWN:
            traits.clear()


def compared_after(database: Database, writer: int, *, after_ns: int) -> Iterator[ComparedPair]:
    """
    Return what of a processor's pairs was compared and stored after a moment, in that order.

    Raises:
        StoreError: the database failed.
    """
    pair, texts = PAIRS.c, TEXTS.c
    same = and_(pair.pair_id == texts.pair_id, pair.target == texts.target, pair.experiment == texts.experiment)
    order = (texts.stored_ns, pair.id)
    rows = (
        select(*_SHOWN, *order)
        .join(PAIRS, same)
        .where(pair.id > writer << NUMBER_BITS, pair.id < writer + 1 << NUMBER_BITS, texts.stored_ns > after_ns)
        .order_by(*order)
        .limit(_PAGE)
    )
    traits: dict[int, LegFacts] = {}
    beyond = rows
    while True:
        with database.reading() as connection:
            page = connection.execute(beyond).all()
            pairs = _pairs(connection, [row.id for row in page], traits)
        # A pair may be swept meanwhile.
        yield from (ComparedPair(pairs[row.id], _comparison(row), row.stored_ns) for row in page if row.id in pairs)
        if not page:
            return
        beyond = rows.where(tuple_(*order) > (page[-1].stored_ns, page[-1].id))


def texts_of(connection: Connection, pair_ids: Iterable[str]) -> dict[TextsKey, TextComparison]:
    """Return what the texts of these pairs showed, of all that were compared; a page or so at a time."""
    rows = connection.execute(select(TEXTS).where(TEXTS.c.pair_id.in_(set(pair_ids))))
    return {(row.experiment, row.pair_id, row.target): _comparison(row) for row in rows}


def flags_of(guards: str | None) -> dict[str, tuple[bool | None, bool]]:
    """Return what the column ``guards`` holds; see :data:`~shadowmesh.compare.guards.Flags`."""
    return {} if guards is None else {name: (live, shadow) for name, (live, shadow) in json.loads(guards).items()}


def _comparison(row: Any) -> TextComparison:
    return TextComparison(row.similarity, row.divergence_at, row.divergence_share, row.equal, flags_of(row.guards))


def _captured(connection: Connection, wanted: Sequence[ColumnElement[bool]]) -> list[_Captured]:
    """Return those of the pairs that have both texts and no row in ``texts``."""
    pair, live, shadow = PAIRS.c, _LIVE.c, _SHADOW.c
    same = [(one.experiment == pair.experiment) & (one.pair_id == pair.pair_id) for one in (live, shadow, TEXTS.c)]
    rows = (
        select(pair.id, live.id, shadow.id, live.bytes + shadow.bytes)
        .join(_LIVE, and_(same[0], live.role == Role.LIVE.value, live.target == ""))
        .join(_SHADOW, and_(same[1], shadow.role == Role.SHADOW.value, shadow.target == pair.target))
        .outerjoin(TEXTS, and_(same[2], TEXTS.c.target == pair.target))
        .where(*wanted, pair.outcome == Outcome.MATCHED.value, TEXTS.c.pair_id.is_(None))
        .where(live.bytes <= _MOST_BYTES, shadow.bytes <= _MOST_BYTES)
    )
    return [_Captured(*row) for row in connection.execute(rows)]


def _bounded(found: Sequence[_Captured]) -> Iterator[list[_Captured]]:
    """Yield them in as many pieces as it takes for each to be short work, whose texts fit into memory."""
    some: list[_Captured] = []
    size = 0
    for one in found:
        if some and (size + one.size > _BYTES_AT_ONCE or len(some) == _PAIRS_AT_ONCE):
            yield some
            some, size = [], 0
        some.append(one)
        size += one.size
    if some:
        yield some


def _texts(connection: Connection, some: Sequence[_Captured], traits: dict[int, LegFacts]) -> Iterator[_Texts]:
    """Return the pairs with what of their texts can be read."""
    pairs = _pairs(connection, [one.pair for one in some], traits)
    columns = CONTENT.c
    ids = {id_ for one in some for id_ in (one.live, one.shadow)}
    rows = connection.execute(select(columns.id, columns.output, columns.truncated).where(columns.id.in_(ids)))
    texts = {row.id: row for row in rows}
    # A pair, or a text, may be swept meanwhile.
    return (
        _Texts(pairs[one.pair], texts[one.live], texts[one.shadow])
        for one in some
        if one.pair in pairs and one.live in texts and one.shadow in texts
    )


def _compared(texts: Iterable[_Texts], similarity: Similarity, faults: Faults) -> list[_Shown]:
    """Return what the texts show, without the pairs of which they show nothing."""
    compared: list[_Shown] = []
    for stored, live_content, shadow_content in texts:
        pair = stored.record.pair
        try:
            live, shadow = _said(pair.live, live_content), _said(pair.shadow, shadow_content)
            if live is not None and shadow is not None:
                shown = compare_texts(live, shadow, similarity)
                if shown != TextComparison():
                    compared.append((stored, shown))
        except Exception as error:  # noqa: BLE001 - the one boundary: texts are whatever somebody has sent
            faults.report("texts", error)
    return compared


def _said(leg: Leg | None, content: _Content) -> tuple[Leg, Output] | None:
    """Return a leg with its output, if both are there."""
    if leg is None:
        return None
    output = captured_output(leg, content.output, json.loads(content.truncated) if content.truncated else ())
    return None if output is None else (leg, output)


def _pairs(connection: Connection, ids: Sequence[int], traits: dict[int, LegFacts]) -> dict[int, StoredPair]:
    rows = connection.execute(select(*_COLUMNS).where(PAIRS.c.id.in_(ids))).all()
    named = {id_ for row in rows for id_ in (row.live_traits, row.shadow_traits)} - traits.keys()
    known = connection.execute(select(TRAITS.c.id, TRAITS.c.facts).where(TRAITS.c.id.in_(named)))
    traits.update((id_, from_facts(facts)) for id_, facts in known)
    return {row.id: from_row(row, traits) for row in rows}


def _stored(database: Database, compared: Sequence[_Shown], now_ns: int) -> list[ComparedPair]:
    """Store what is not there yet; return that."""
    if not compared:
        return []
    rows = [_row(stored, shown, now_ns) for stored, shown in compared]
    once = database.backend.insert(TEXTS).on_conflict_do_nothing(index_elements=["pair_id", "target", "experiment"])
    with database.writing() as connection:
        returned = connection.execute(once.returning(*(TEXTS.c[name] for name in _KEY)), rows)
        new = {tuple(row) for row in returned}
    return [
        ComparedPair(*one, now_ns)
        for one, row in zip(compared, rows, strict=True)
        if tuple(row[name] for name in _KEY) in new
    ]


def _row(stored: StoredPair, shown: TextComparison, now_ns: int) -> dict[str, Any]:
    pair = stored.record.pair
    leg = pair.live or pair.shadow
    return {
        "experiment": "" if leg is None else leg.experiment,
        "pair_id": pair.pair_id,
        "target": pair.target,
        "similarity": shown.similarity,
        "equal": shown.equal,
        "divergence_at": shown.divergence_at,
        "divergence_share": shown.divergence_share,
        "guards": json.dumps(shown.guards, separators=(",", ":")) if shown.guards else None,
        "stored_ns": now_ns,
    }
