"""Exchanges of one session are alike: the guard sees it where it is known, and takes nothing from others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.columns import START_NS, a_batch, drawn, ledger_of

from shadowmesh.verdict.coverage import pace
from shadowmesh.verdict.facts import NO_SESSION, PairColumns, State
from shadowmesh.verdict.ledger import MINUTE_NS, Ledger
from shadowmesh.verdict.records import EvidenceKey, Finding, Verdict
from shadowmesh.verdict.settings import CriteriaSettings
from shadowmesh.verdict.together import SESSIONS
from shadowmesh.verdict.verdict import judge

KEY = EvidenceKey(experiment="summaries", target="candidate", target_digest="aaa", config_digest="bbb")
PAIRS = 12_000


def of_sessions(columns: PairColumns, many: int, *, seed: int = 1, known: float = 1.0) -> PairColumns:
    """Return the pairs as those of so many sessions, at times by chance; of a share it is ``known`` of which."""
    random = np.random.default_rng(seed)
    bucket = random.integers(0, 256, many)[random.integers(0, many, len(columns))]
    return replace(columns, session=np.where(random.random(len(columns)) < known, bucket, NO_SESSION))


def alike(columns: PairColumns, side: str, *, what: str) -> PairColumns:
    """Let one side of one bucket in twenty fail throughout, or take twice as long."""
    assert columns.session is not None
    leg, hit = getattr(columns, side), columns.session % 20 == 3
    if what == "errors":
        leg = replace(leg, state=np.where(hit, State.FAILED, leg.state).astype(np.uint8))
    else:
        leg = replace(leg, duration=np.where(hit, 4 * leg.duration, leg.duration))
    changed: Any = {side: leg}
    return replace(columns, **changed)


def judged(*batches: PairColumns) -> Verdict:
    return judge(KEY, {"/s/Generate": ledger_of(*batches)}, CriteriaSettings(), now_ns=START_NS + 121 * MINUTE_NS)


def found(verdict: Verdict, name: str) -> Finding:
    (finding,) = (one for one in verdict.findings if one.name == name)
    return finding


@pytest.mark.parametrize(("what", "name"), [("errors", "errors"), ("durations", "latency.duration.p95")])
def test_sessions_that_are_alike_make_the_evidence_worth_less(what: str, name: str) -> None:
    columns = alike(of_sessions(drawn(PAIRS), 5000), "shadow", what=what)
    unknown = replace(columns, session=None)
    assert found(judged(unknown), name).variance_factor < 1.5, "every minute has its share of them"
    assert found(judged(columns), name).variance_factor > 5


@pytest.mark.parametrize("seed", range(5))
def test_exchanges_that_are_independent_lose_nothing(seed: int) -> None:
    columns = drawn(PAIRS, similarity=0.7, floor=0.7, control_ratio=1.0, seed=seed)
    plain, known = (judged(one) for one in (columns, of_sessions(columns, 3000, seed=seed)))
    assert [one.variance_factor for one in known.findings] == [one.variance_factor for one in plain.findings]


def test_where_most_pairs_are_of_no_known_session_nothing_is_said_of_sessions() -> None:
    columns = of_sessions(drawn(PAIRS), 5000, known=0.4)
    assert found(judged(alike(columns, "shadow", what="errors")), "errors").variance_factor < 1.5


def test_few_sessions_are_said_and_not_reckoned_with() -> None:
    columns = of_sessions(drawn(PAIRS), 9)
    assert columns.session is not None
    said = [one for one in judged(columns).warnings if "sessions" in one]
    (warning,) = said
    assert f"of {len(set(columns.session.tolist()))} sessions" in warning
    assert found(judged(columns), "errors").variance_factor < 1.5
    (one,) = judged(replace(columns, session=np.zeros(PAIRS, np.int64))).warnings
    assert "of 1 session or" in one
    assert not judged(of_sessions(drawn(PAIRS), 9, known=0.01)).warnings, "of the others nobody knows"
    assert not any("sessions" in one for one in judged(drawn(PAIRS)).warnings)
    assert not any("sessions" in one for one in judged(of_sessions(drawn(PAIRS), 500)).warnings)


@given(a_batch(40), st.integers(0, 1000), st.integers(0, 40))
def test_parts_with_and_without_sessions_merge_to_the_ledger_of_all(columns: PairColumns, seed: int, cut: int) -> None:
    columns = of_sessions(columns, 10, seed=seed, known=0.7)
    whole = ledger_of(columns)
    order = np.random.default_rng(seed).permutation(len(columns))
    parts = [columns.where(order[:cut]), columns.where(order[cut:])]
    merged = Ledger()
    for part in parts:
        merged.merge(Ledger.from_bytes(ledger_of(part).to_bytes()))
    assert merged.to_bytes() == whole.to_bytes() == ledger_of(*parts).to_bytes()


def test_a_ledger_without_sessions_has_the_bytes_that_it_always_had() -> None:
    columns = drawn(500)
    nobody = replace(columns, session=np.full(len(columns), NO_SESSION))
    assert ledger_of(nobody).to_bytes() == ledger_of(columns).to_bytes()
    assert pace(ledger_of(nobody), START_NS + 121 * MINUTE_NS) > 0


def test_what_is_skipped_is_of_no_session() -> None:
    columns = of_sessions(drawn(600), 300)
    states = np.where(np.arange(600) % 2, State.SKIPPED, State.OK).astype(np.uint8)
    columns = replace(columns, shadow=replace(columns.shadow, state=states))
    assert ledger_of(columns).tally(SESSIONS + "pairs").total() == 300


@pytest.mark.parametrize("key", [-1, 256 << 8])
def test_buckets_that_cannot_be_are_refused(key: int) -> None:
    ledger = ledger_of(of_sessions(drawn(10), 5))
    ledger.tally("sessions.pairs").add(np.array([key]))
    with pytest.raises(ValueError, match="out of range"):
        Ledger.from_bytes(ledger.to_bytes())
