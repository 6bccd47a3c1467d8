"""A report out of a store: the verdicts' ledgers, and single pairs to look at. Blocking."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from shadowmesh.compare.texts import captured_output
from shadowmesh.errors import DecodeError
from shadowmesh.model import Leg
from shadowmesh.names import Role
from shadowmesh.processor import checkpoint
from shadowmesh.processor.funnel import Account, FunnelBook
from shadowmesh.report import ledger_views, units
from shadowmesh.report.candidate import (
    CandidateReport,
    DailyUse,
    OutputDiff,
    Report,
    StatusRow,
    Trouble,
    WorstPair,
)
from shadowmesh.report.word_diff import word_diff
from shadowmesh.store import insights
from shadowmesh.store.insights import By, StatusCount, Worst
from shadowmesh.store.reader import Reader
from shadowmesh.store.records import Content, StoredPair
from shadowmesh.verdict.judgement import Evidence, Judgement
from shadowmesh.verdict.ledger import Ledger
from shadowmesh.verdict.records import Verdict

_TROUBLES = {
    By.DURATION: (Trouble.LATENCY, 5),
    By.STATUS: (Trouble.STATUS, 5),
    By.COST: (Trouble.COST, 3),
    By.SIMILARITY: (Trouble.SIMILARITY, 5),
}
# A pair from here on (of similarity: up to here) is no trouble.
_FINE = {By.DURATION: 1.0, By.COST: 0.0, By.SIMILARITY: 1.0}
_MOST_DIFFS = 5
_DAY = 86_400.0
_SHORT = 3600.0
# The pairs of less are a burst, and no rate.
_LEAST = 10.0


def gather(
    reader: Reader,
    evidence: Evidence,
    judged: Judgement,
    *,
    place: str,
    version: str,
    jaeger: str = "",
    with_content: bool = True,
) -> Report:
    """
    Return all that is shown of what was judged.

    Args:
        evidence: what ``judged`` was judged from.
        with_content: whether captured outputs are quoted.

    Raises:
        StoreError: the database failed.
    """
    accounts = _accounts(reader)
    known = set(evidence.keys())
    return Report(
        candidates=tuple(
            _candidate(
                reader,
                verdict,
                ledger_views.whole(evidence.ledgers(verdict.key)) if verdict.key in known else Ledger(),
                accounts.get((verdict.key.experiment, verdict.key.target)),
                since_ns=judged.since_ns,
                until_ns=judged.at_ns,
                with_content=with_content,
            )
            for verdict in judged.verdicts
        ),
        created_ns=judged.at_ns,
        since_ns=judged.since_ns,
        place=place,
        version=version,
        jaeger=jaeger,
    )


def _candidate(
    reader: Reader,
    verdict: Verdict,
    ledger: Ledger,
    account: Account | None,
    *,
    since_ns: int | None,
    until_ns: int,
    with_content: bool,
) -> CandidateReport:
    key = verdict.key
    counts = insights.statuses(reader, key, since_ns=since_ns, until_ns=until_ns)
    found = {
        by: insights.worst(reader, key, by, most, since_ns=since_ns, until_ns=until_ns)
        for by, (_, most) in _TROUBLES.items()
    }
    bad = {by: [one for one in worst if by not in _FINE or _is_bad(by, one.value)] for by, worst in found.items()}
    similar = {one.stored.id: one.value for one in found[By.SIMILARITY]}
    looked_at = [one.stored for by in (By.SIMILARITY, By.STATUS, By.DURATION) for one in bad[by]]
    return CandidateReport(
        verdict=verdict,
        distributions=ledger_views.distributions(ledger),
        by_load=ledger_views.by_load(ledger),
        timeline=ledger_views.timeline(ledger, verdict.findings),
        use=_use(ledger, counts),
        statuses=_statuses(counts),
        account=account,
        worst=_worst_pairs(bad, similar),
        diffs=tuple(_diffs(reader, looked_at, similar)) if with_content else (),
    )


def _is_bad(by: By, value: float | None) -> bool:
    return value is not None and (value < _FINE[by] if by is By.SIMILARITY else value > _FINE[by])


def _accounts(reader: Reader) -> dict[tuple[str, str], Account]:
    """Return the funnel of all processors together; where none has saved one, how the stored pairs ended."""
    decisions: dict[tuple[str, str], Counter[str]] = {}
    reasons: dict[tuple[str, str], Counter[str]] = {}
    outcomes: dict[tuple[str, str], Counter[str]] = {}
    for state in insights.checkpoints(reader):
        book = FunnelBook()
        try:
            book.restore(checkpoint.from_bytes(state).counted["funnel"])
        except (DecodeError, KeyError, TypeError, ValueError):
            # Of another version: what it counted is unknown to us, the rest of the report is not.
            continue
        for one in book.accounts({}):
            at = (one.experiment, one.target)
            for into, counted in (
                (decisions, one.decisions),
                (reasons, one.drop_reasons),
                (outcomes, one.outcomes),
            ):
                into.setdefault(at, Counter()).update(counted)
    stored: dict[tuple[str, str], Counter[str]] = {}
    for (experiment, target, outcome), pairs in reader.outcomes().items():
        stored.setdefault((experiment, target), Counter())[outcome] += pairs
    return {
        at: Account(
            experiment=at[0],
            target=at[1],
            decisions=dict(decisions.get(at, {})),
            drop_reasons=dict(reasons.get(at, {})),
            outcomes=dict(outcomes.get(at) or stored.get(at) or {}),
        )
        for at in decisions.keys() | outcomes.keys() | stored.keys()
    }


def _use(ledger: Ledger, counts: Sequence[StatusCount]) -> DailyUse | None:
    """Return what a day uses; ``None`` where neither tokens nor cost are known."""
    live, shadow, currency, pairs = ledger_views.per_call(ledger)
    if not pairs:
        return None
    lasted = (ledger.last_ns - ledger.first_ns) / 1e9
    looked_at = sum(one.pairs for one in counts)
    calls_a_pair = sum(one.calls for one in counts) / looked_at if looked_at else 1.0
    assumptions = [f"Means over {pairs:,} pairs of which both legs are known."]
    calls_per_day = None
    if lasted >= _LEAST:
        calls_per_day = ledger.pairs * calls_a_pair / lasted * _DAY
        assumptions.append(
            f"Calls a day: {ledger.pairs:,} pairs in {units.elapsed(lasted)}, each standing for {calls_a_pair:,.3g}"
            " (one over the sampling probability)."
        )
        if lasted < _SHORT:
            assumptions.append("That is less than an hour: a day may look different.")
    assumptions.append("The shadow is assumed to answer every call as it answered the sampled ones.")
    return DailyUse(
        calls_per_day=calls_per_day,
        live=live,
        shadow=shadow,
        pairs=pairs,
        currency=currency,
        assumptions=tuple(assumptions),
    )


def _statuses(counts: Sequence[StatusCount]) -> tuple[StatusRow, ...]:
    rows: Counter[tuple[str, str]] = Counter()
    for one in counts:
        ends = one.ends
        held_back = f"held back: {ends.drop_reason.replace('_', ' ')}" if ends.drop_reason else ""
        rows[ends.live or "", held_back or ends.shadow or ""] += one.pairs
    return tuple(StatusRow(*names, pairs) for names, pairs in rows.most_common())


def _worst_pairs(bad: Mapping[By, Sequence[Worst]], similar: Mapping[int, float | None]) -> tuple[WorstPair, ...]:
    """Return each pair once, where it is bad by several things among the first of them."""
    pairs: dict[int, WorstPair] = {}
    for by, (trouble, _) in _TROUBLES.items():
        for stored in (one.stored for one in bad[by]):
            seen = pairs.get(stored.id)
            pairs[stored.id] = (
                _worst_pair(trouble, stored, similar.get(stored.id))
                if seen is None
                else replace(seen, also=(*seen.also, trouble))
            )
    return tuple(pairs.values())


def _worst_pair(trouble: Trouble, stored: StoredPair, similarity: float | None) -> WorstPair:
    pair = stored.record.pair
    live, shadow = pair.live, pair.shadow
    return WorstPair(
        trouble=trouble,
        pair_id=pair.pair_id,
        trace_id=_trace(stored),
        method=next((leg.method for leg in (live, shadow) if leg is not None), ""),
        dispatched_ns=stored.dispatched_ns,
        live_status=_status(live),
        shadow_status=_status(shadow),
        live_duration=live.duration if live is not None else None,
        shadow_duration=shadow.duration if shadow is not None else None,
        live_cost=live.cost.amount if live is not None and live.cost is not None else None,
        shadow_cost=shadow.cost.amount if shadow is not None and shadow.cost is not None else None,
        similarity=similarity,
    )


def _status(leg: Leg | None) -> str:
    return leg.status or "" if leg is not None else ""


def _trace(stored: StoredPair) -> str:
    pair = stored.record.pair
    return next((f"{leg.trace_id:032x}" for leg in (pair.live, pair.shadow) if leg is not None and leg.trace_id), "")


def _diffs(reader: Reader, pairs: Sequence[StoredPair], similar: Mapping[int, float | None]) -> Iterator[OutputDiff]:
    """Return the first few outputs that were captured on both sides and differ."""
    contents = reader.content(pairs)
    shown: set[int] = set()
    for stored in pairs:
        if stored.id in shown or len(shown) == _MOST_DIFFS:
            continue
        pair = stored.record.pair
        if pair.live is None or pair.shadow is None:
            continue
        at = (pair.live.experiment, pair.pair_id)
        live = _text(pair.live, contents.get((*at, Role.LIVE.value, "")))
        shadow = _text(pair.shadow, contents.get((*at, Role.SHADOW.value, pair.target)))
        if live is None or shadow is None or live == shadow:
            continue
        shown.add(stored.id)
        pieces, cut = word_diff(live, shadow)
        yield OutputDiff(
            pair_id=pair.pair_id,
            trace_id=_trace(stored),
            pieces=pieces,
            similarity=similar.get(stored.id),
            cut=cut,
        )


def _text(leg: Leg, content: Content | None) -> str | None:
    output = None if content is None else captured_output(leg, content.output, content.truncated)
    return None if output is None else output.text
