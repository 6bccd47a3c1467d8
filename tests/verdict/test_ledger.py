"""Ledgers merge to what one ledger of all pairs would be, in any order, and survive being written down."""

from __future__ import annotations

import json
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.columns import START_NS, a_batch, drawn, ledger_of

from shadowmesh.verdict import blocks
from shadowmesh.verdict.facts import MEASURES, PairColumns, State
from shadowmesh.verdict.ledger import COST_UNITS, MINUTE_NS, Ledger
from shadowmesh.verdict.ledger_bytes import MARK
from shadowmesh.verdict.tally import Tally


def shuffled(columns: PairColumns, seed: int) -> PairColumns:
    return columns.where(np.random.default_rng(seed).permutation(len(columns)))


@given(a_batch(), a_batch(), a_batch(), st.integers(0, 1000))
def test_merged_shards_are_one_ledger_byte_for_byte(
    one: PairColumns, other: PairColumns, third: PairColumns, seed: int
) -> None:
    whole = ledger_of(one, other, third)
    left, right = ledger_of(shuffled(third, seed)), ledger_of(shuffled(one, seed))
    right.merge(ledger_of(other))
    left.merge(right)
    assert left.to_bytes() == whole.to_bytes()


@given(a_batch())
def test_a_ledger_is_read_back_as_it_was_written(batch: PairColumns) -> None:
    written = ledger_of(batch).to_bytes()
    again = Ledger.from_bytes(written)
    assert again.to_bytes() == written
    assert again.pairs == len(batch)


@given(a_batch(), a_batch())
def test_a_ledger_that_was_read_back_goes_on_counting(one: PairColumns, other: PairColumns) -> None:
    again = Ledger.from_bytes(ledger_of(one).to_bytes())
    again.priced_in("USD")
    again.add(other)
    assert again.to_bytes() == ledger_of(one, other).to_bytes()


@given(a_batch())
def test_merging_nothing_changes_nothing(batch: PairColumns) -> None:
    ledger = ledger_of(batch)
    ledger.merge(Ledger())
    empty = Ledger()
    empty.merge(ledger)
    assert ledger.to_bytes() == empty.to_bytes() == ledger_of(batch).to_bytes()


def test_merging_leaves_the_other_as_it_was() -> None:
    other = ledger_of(drawn(100))
    before = other.to_bytes()
    ledger = ledger_of(drawn(100, seed=1))
    ledger.merge(other)
    ledger.add(drawn(100, seed=2))
    assert other.to_bytes() == before


def test_blocks_lengthen_when_minutes_are_many_and_sums_stay() -> None:
    columns = drawn(20_000, minutes=10_000, shadow_errors=0.05)
    short, long = ledger_of(columns.where(columns.dispatched_ns < START_NS + 1000 * MINUTE_NS)), ledger_of(columns)
    assert short.shift == 0
    written = long.to_bytes()
    assert long.shift == 3
    assert len(long.tally("blocks.pairs").items()[0]) <= blocks.MOST
    assert len(long.tally("minutes").items()[0]) > 5 * blocks.MOST / 2
    assert long.tally("blocks.pairs").total() == 20_000
    failed = (columns.shadow.state == State.FAILED).sum() - (columns.live.state == State.FAILED).sum()
    assert long.tally("blocks.errors").total() == failed
    short.merge(ledger_of(columns.where(columns.dispatched_ns >= START_NS + 1000 * MINUTE_NS)))
    assert short.to_bytes() == written


def test_what_was_skipped_is_counted_and_nothing_else() -> None:
    columns = drawn(100)
    columns.shadow.state[:] = State.SKIPPED
    ledger = ledger_of(columns)
    assert ledger.pairs == 100
    assert {name for name, tally in ledger.tallies.items() if len(tally.items()[0])} == {"states"}


def test_calls_that_are_no_streams_have_no_first_chunk_to_compare() -> None:
    columns = drawn(100, live_errors=0, shadow_errors=0)
    for leg in (columns.live, columns.shadow):
        leg.first_chunk[:] = np.nan
    ledger = ledger_of(columns)
    assert ledger.tally("joint.first_chunk").total() == 0
    assert ledger.tally("joint.duration").total() == 100


def test_costs_of_two_currencies_are_kept_apart() -> None:
    euros, dollars = ledger_of(drawn(10), currency="EUR"), ledger_of(drawn(10), currency="USD")
    euros.merge(dollars)
    assert sorted(euros.costs()) == ["EUR", "USD"]
    assert euros.costs()["EUR"].live == pytest.approx(COST_UNITS * float(drawn(10).live.cost.sum()), rel=1e-6)


def test_amounts_tell_the_mean_change_and_its_spread() -> None:
    columns = drawn(1000)
    columns.shadow.output_tokens[:] = np.arange(1000.0)
    columns.shadow.output_tokens[0] = np.nan
    moments = ledger_of(columns).moments["output_tokens"]
    expected = np.arange(1.0, 1000.0) - 100.0
    assert (moments.pairs, moments.unknown) == (999, 1)
    assert moments.change == pytest.approx(expected.mean())
    assert moments.deviation == pytest.approx(expected.std(ddof=1))


@pytest.mark.parametrize("mark", [b"SML\x02", b"SML\x03"])
def test_a_ledger_of_a_version_before_is_read(mark: bytes) -> None:
    columns = drawn(100, live_errors=0.2, shadow_errors=0.2)
    ledger, then = ledger_of(columns), ledger_of(columns)
    states, pairs = then.tally("states").items()
    live, shadow = np.divmod(states, len(State))
    then.tallies["states"] = Tally(live * 7 + shadow, pairs)
    plain = zlib.decompress(then.to_bytes()[len(MARK) :])
    (length,) = struct.unpack_from("<I", plain)
    header, arrays = json.loads(plain[4 : 4 + length]), plain[4 + length :]
    if mark == b"SML\x02":
        for numbers in header["moments"].values():
            numbers[4:4] = [7, 8]
    text = json.dumps(header).encode()
    data = mark + zlib.compress(struct.pack("<I", len(text)) + text + arrays)
    assert Ledger.from_bytes(data).to_bytes() == ledger.to_bytes()
    if mark == b"SML\x02":
        with pytest.raises(ValueError, match="ledger"):
            Ledger.from_bytes(MARK + data[len(MARK) :])


@pytest.mark.parametrize("name", ["prompts", "lag", "answer", "load.live.duration", "circumstances"])
@pytest.mark.parametrize("key", [-1, 1 << 40])
def test_counts_of_what_there_is_not_are_refused(name: str, key: int) -> None:
    ledger = ledger_of(drawn(10))
    ledger.tally(name).add(np.array([key]), np.array([1]))
    with pytest.raises(ValueError, match="out of range"):
        Ledger.from_bytes(ledger.to_bytes())


@given(st.binary(max_size=200))
def test_bytes_that_are_no_ledger_are_refused(data: bytes) -> None:
    for tried in (data, MARK + data, *(mark + zlib.compress(data) for mark in (MARK, b"SML\x02"))):
        with pytest.raises(ValueError, match=r"."):
            Ledger.from_bytes(tried)


@given(a_batch(5), st.data())
@settings(max_examples=300)
def test_a_damaged_ledger_is_read_or_refused_and_never_anything_else(batch: PairColumns, data: st.DataObject) -> None:
    plain = bytearray(zlib.decompress(ledger_of(batch).to_bytes()[4:]))
    for _ in range(data.draw(st.integers(1, 4))):
        plain[data.draw(st.integers(0, len(plain) - 1))] = data.draw(st.integers(0, 255))
    try:
        ledger = Ledger.from_bytes(MARK + zlib.compress(bytes(plain)))
    except ValueError:
        return
    ledger.merge(ledger_of(batch))
    ledger.to_bytes()


@pytest.mark.parametrize(
    "change",
    [
        {"pairs": -1},
        {"pairs": 1e3},
        {"shift": 99},
        {"moments": {"cost.USD": [1, 2]}},
        {"moments": []},
        {"tallies": [["joint.duration", 1, "<i1", "<i1"]]},
        {"tallies": [["joint.duration", 1 << 60, "<i8", "<i8"]]},
        {"tallies": [["joint.duration", 1, "<U9", "O"]]},
        {"tallies": [7]},
    ],
)
def test_a_header_that_cannot_be_is_refused(change: dict[str, object]) -> None:
    header = {"pairs": 0, "first_ns": 0, "last_ns": 0, "shift": 0, "moments": {}, "tallies": [], **change}
    text = json.dumps(header).encode()
    with pytest.raises(ValueError, match="ledger"):
        Ledger.from_bytes(MARK + zlib.compress(struct.pack("<I", len(text)) + text))


def test_a_ledger_has_the_same_joint_cells_however_it_was_batched() -> None:
    columns = drawn(3000)
    single = ledger_of(*(columns.where(np.arange(at, at + 1)) for at in range(300)))
    assert single.to_bytes() == ledger_of(columns.where(np.arange(300))).to_bytes()
    assert all(single.tally(f"joint.{measure}").total() == 300 for measure in MEASURES)
