"""
What a report shows of single pairs and of statuses; the figures of a verdict are in ledgers, not here.

Everything is read from the newest pairs of one evidence key, of which there are so many at most: a report is read by
people, and a store may hold ten million rows.
"""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, FromClause, and_, false, func, or_, select

from shadowmesh.store.reader import Reader
from shadowmesh.store.records import StoredPair
from shadowmesh.store.rows import key_text
from shadowmesh.store.states import said
from shadowmesh.store.tables import CHECKPOINTS, PAIRS, TEXTS, TRAITS
from shadowmesh.store.traits import LegFacts, from_facts
from shadowmesh.verdict.facts import State
from shadowmesh.verdict.records import EvidenceKey

NEWEST = 200_000
"""So many pairs of a target, the newest by dispatch, are looked at."""

_IDS_AT_ONCE = 5000
"""Sets of traits that a query can name; of more, the last used are."""


class By(StrEnum):
    """What a pair is bad by."""

    DURATION = "duration"
    """Shadow over live, where both succeeded."""
    COST = "cost"
    """Shadow less live, where both are known and in one currency."""
    STATUS = "status"
    """The live leg succeeded and the shadow ended with another status; the newest first."""
    SIMILARITY = "similarity"
    """Of the captured outputs, the least first."""


class Worst(NamedTuple):
    """A pair and what it is bad by: a ratio, money, a similarity; ``None`` for a status."""

    stored: StoredPair
    value: float | None


class Ends(NamedTuple):
    """
    How two legs ended. A status is ``None`` where there is no leg or nobody knows it; an end is a ``names.CallEnd``,
    and ``None`` without a leg.
    """

    live: str | None
    live_end: str | None
    shadow: str | None
    shadow_end: str | None
    drop_reason: str | None


class StatusCount(NamedTuple):
    """How many pairs ended so, and how many calls they stand for: one over the probability they were sampled with."""

    ends: Ends
    pairs: int
    calls: float


def worst(
    reader: Reader,
    key: EvidenceKey,
    by: By,
    limit: int = 10,
    *,
    since_ns: int | None = None,
    until_ns: int | None = None,
) -> list[Worst]:
    """
    Return the worst of the newest pairs of a key, the worst first.

    Args:
        since_ns, until_ns: pairs dispatched before or after are not looked at.

    Raises:
        StoreError: the database failed.
    """
    newest = _newest(key, since_ns, until_ns)
    columns, value = newest.c, _value(newest, by)
    rows = select(columns.id, value.label("value")).where(
        value.is_not(None), or_(false(), *_eligible(reader, key, by, newest))
    )
    if by is By.SIMILARITY:
        texts = TEXTS.c
        rows = rows.join(
            TEXTS,
            and_(
                texts.pair_id == columns.pair_id, texts.target == columns.target, texts.experiment == columns.experiment
            ),
        )
    order = value.asc() if by is By.SIMILARITY else value.desc()
    with reader.reading() as connection:
        found = {row.id: row.value for row in connection.execute(rows.order_by(order).limit(limit))}
    stored = {one.id: one for one in reader.by_id(found)}
    return [
        Worst(stored[id_], None if by is By.STATUS else float(shown)) for id_, shown in found.items() if id_ in stored
    ]


def statuses(
    reader: Reader, key: EvidenceKey, *, since_ns: int | None = None, until_ns: int | None = None
) -> list[StatusCount]:
    """
    Return how the newest pairs of a key ended, the most frequent first.

    A pair whose shadow never came belongs to every candidate under its configuration.

    Args:
        since_ns, until_ns: pairs dispatched before or after are not looked at.

    Raises:
        StoreError: the database failed.
    """
    live_traits, shadow_traits = _traits(reader, key)
    newest = _newest(key, since_ns, until_ns)
    columns = newest.c
    by = (columns.live_traits, columns.shadow_traits)
    ours = or_(
        columns.shadow_traits.in_(shadow_traits),
        and_(columns.shadow_traits.is_(None), columns.live_traits.in_(live_traits)),
    )
    found: Counter[Ends] = Counter()
    calls: Counter[Ends] = Counter()
    with reader.reading() as connection:
        for live_id, shadow_id, pairs in connection.execute(select(*by, func.count()).where(ours).group_by(*by)):
            live, shadow = live_traits.get(live_id), shadow_traits.get(shadow_id)
            reason = None if shadow is None else shadow.leg.get("drop_reason")
            ends = Ends(*_ended(live), *_ended(shadow), reason)
            found[ends] += pairs
            calls[ends] += pairs / _probability(live or shadow)
    return [StatusCount(ends, pairs, calls[ends]) for ends, pairs in found.most_common()]


def checkpoints(reader: Reader) -> list[bytes]:
    """
    Return what every processor has counted, as each has saved it last; it holds the funnel.

    Raises:
        StoreError: the database failed.
    """
    with reader.reading() as connection:
        return [bytes(state) for (state,) in connection.execute(select(CHECKPOINTS.c.state))]


def _probability(facts: LegFacts | None) -> float:
    return (facts and facts.leg.get("probability")) or 1.0


def _newest(key: EvidenceKey, since_ns: int | None, until_ns: int | None) -> FromClause:
    """Return the rows of a target that are looked at; which of them are of the key, their traits tell."""
    columns = PAIRS.c
    of_target = select(columns.id).where(columns.experiment == key.experiment, columns.target == key.target)
    if since_ns is not None:
        of_target = of_target.where(columns.dispatched_ns >= since_ns)
    if until_ns is not None:
        of_target = of_target.where(columns.dispatched_ns <= until_ns)
    newest = of_target.order_by(columns.dispatched_ns.desc()).limit(NEWEST).subquery()
    return select(PAIRS).join(newest, newest.c.id == columns.id).subquery()


def _eligible(reader: Reader, key: EvidenceKey, by: By, newest: FromClause) -> list[ColumnElement[bool]]:
    """Return the sets of traits that two legs may have; one of these conditions has to hold."""
    live, shadow = _traits(reader, key)
    columns = newest.c
    shadow = {id_: facts for id_, facts in shadow.items() if said(facts).state is not State.WARM_UP}
    if by in (By.DURATION, By.STATUS):
        live = {id_: facts for id_, facts in live.items() if _succeeded(facts)}
    if by is By.DURATION:
        shadow = {id_: facts for id_, facts in shadow.items() if _succeeded(facts)}
    if by is By.STATUS:
        shadow = {id_: facts for id_, facts in shadow.items() if _failed(facts)}
    kinds = {_currency(facts) for facts in live.values()} if by is By.COST else {None}
    return [
        and_(
            *(
                column.in_([id_ for id_, facts in of.items() if by is not By.COST or _currency(facts) == kind])
                for column, of in ((columns.live_traits, live), (columns.shadow_traits, shadow))
            )
        )
        for kind in kinds
    ]


def _traits(reader: Reader, key: EvidenceKey) -> tuple[dict[int, LegFacts], dict[int, LegFacts]]:
    """Return the sets of traits of live and of shadow legs of a key, those that were used last."""
    live: dict[int, LegFacts] = {}
    shadow: dict[int, LegFacts] = {}
    rows = select(TRAITS.c.id, TRAITS.c.facts).order_by(TRAITS.c.seen_ns.desc())
    with reader.reading() as connection:
        for id_, text in connection.execute(rows):
            facts = from_facts(text)
            if key_text(facts.leg.get("config_digest") or "") != key.config_digest:
                continue
            if facts.leg.get("target_kind") is None:
                live[id_] = facts
            elif key_text(facts.leg.get("target_digest") or "") == key.target_digest:
                shadow[id_] = facts
            if len(live) >= _IDS_AT_ONCE or len(shadow) >= _IDS_AT_ONCE:
                break
    return live, shadow


def _succeeded(facts: LegFacts) -> bool:
    return said(facts).state == State.OK


def _failed(facts: LegFacts) -> bool:
    return said(facts).state in (State.FAILED, State.TIMED_OUT)


def _currency(facts: LegFacts) -> str | None:
    return None if facts.cost is None else facts.cost.get("currency")


def _ended(facts: LegFacts | None) -> tuple[str | None, str | None]:
    return (None, None) if facts is None else (facts.leg.get("status"), facts.leg.get("end"))


def _value(newest: FromClause, by: By) -> ColumnElement[Any]:
    columns = newest.c
    if by is By.SIMILARITY:
        return TEXTS.c.similarity
    if by is By.COST:
        return columns.shadow_cost - columns.live_cost
    if by is By.STATUS:
        return columns.dispatched_ns
    live, shadow = (
        (columns[f"{side}_ended_ns"] - columns[f"{side}_started_ns"]) / 1e9 - columns[f"{side}_write_stall"]
        for side in ("live", "shadow")
    )
    return shadow / func.nullif(live, 0.0)
