"""
Counts made of pairs, without content: all that a verdict is computed from.

A ledger is of one evidence key and one stratum. Everything in it is a whole number summed by key, so ledgers of
several processors merge by addition, in any order, to the same bytes as one ledger of all pairs.

| tally | key | what is summed |
|---|---|---|
| ``states`` | live state, shadow state | pairs |
| ``joint.MEASURE`` | code of live's latency, code of shadow's (``bins``) | pairs |
| ``triple.MEASURE`` | code of the control's latency, code of shadow's | exchanges that have all three |
| ``sizes`` | length of live's answer in coarse bins, whether the shadow was shed | exchanges that live answered |
| ``minutes`` | dispatch minute | compared pairs |
| ``exact`` | 0 or 1 | pairs whose outputs differ or are equal |
| ``similarity`` | live and shadow, live and control, in thousandths | pairs with both texts |
| ``texts`` | 0 asked, 1 missing | exchanges that live, shadow and control answered, and of how many a text is missing |
| ``guard.NAME`` | flag of the shadow, flag of what it is compared with | pairs |
| ``prompts`` | bucket of the prompt (``prompts``) | compared pairs whose prompt was read |
| ``load.LEG.duration`` | calls in flight beside a leg, its duration in coarse bins | compared pairs that tell them |
| ``lag`` | how far the shadow began behind live (``circumstance_keys``) | compared pairs that tell this and the next |
| ``answer`` | live's time to the first chunk, or all of it where it is no stream | the same |
| ``circumstances`` | one of ``circumstance_keys.Sum`` | input tokens of both legs, and those out of a cache |
| ``blocks.…`` | block of time | sums of what the variance guard needs (``blocks``) |
| ``sessions.…`` | bucket of sessions | the same sums, of the pairs whose session is known |
"""

from __future__ import annotations

from math import log
from typing import Final

import numpy as np

from shadowmesh.verdict import bins, blocks, circumstance_keys, grid, ledger_bytes, legs
from shadowmesh.verdict.blocks import Neighbours
from shadowmesh.verdict.circumstance_keys import LatencyCodes
from shadowmesh.verdict.facts import MEASURES, Floats, Ints, LegColumns, PairColumns, State, TextColumns
from shadowmesh.verdict.ledger_bytes import Span
from shadowmesh.verdict.moments import Moments
from shadowmesh.verdict.tally import Tally
from shadowmesh.verdict.together import Together

MINUTE_NS: Final = 60_000_000_000
COST_UNITS: Final = 1e9
"""Costs are kept in billionths of the currency."""
_COST: Final = "cost."
_SIZE: Final = log(1.2)
_SETTLE_EVERY: Final = 1 << 18


class Ledger:
    """
    What pairs showed. Not for several threads at once.

    Args:
        currency: of the costs in the batches that will be added; without one they are not kept.
    """

    __slots__ = ("_currency", "_unsettled", "first_ns", "last_ns", "moments", "pairs", "shift", "tallies")

    def __init__(self, *, currency: str | None = None) -> None:
        self._currency = currency
        self._unsettled = 0
        self.pairs = 0
        """All of them, what was skipped too."""
        self.first_ns = 0
        self.last_ns = 0
        self.shift = 0
        """A block is ``2 ** shift`` minutes long."""
        self.tallies: dict[str, Tally] = {}
        self.moments: dict[str, Moments] = {}

    def add(self, columns: PairColumns) -> None:
        """Add a batch; order does not matter, neither within it nor between batches."""
        if not len(columns):
            return
        self._spanned(int(columns.dispatched_ns.min()), int(columns.dispatched_ns.max()), len(columns))
        states = columns.live.state.astype(np.int64) * legs.STATES + columns.shadow.state
        self._count("states", np.arange(legs.STATES**2), np.bincount(states, minlength=legs.STATES**2))
        evidence = legs.evidence(states)
        if not evidence.all():
            columns, states = columns.where(evidence), states[evidence]
        minutes = columns.dispatched_ns // MINUTE_NS
        times = Neighbours.of(minutes)
        together = Together(
            block=Neighbours.of(minutes >> self.shift) if self.shift else times,
            session=None if columns.session is None else Neighbours.of(columns.session),
        )
        compared = legs.compared(states)
        self._count("minutes", *times.where(compared).summed(None))
        self._add_errors(states, together)
        codes = {measure: self._add_latency(columns, measure, together) for measure in MEASURES}
        for name, keys, sums in circumstance_keys.counted(columns, compared, codes):
            self._count(name, keys, sums)
        if columns.control is not None:
            self._add_triples(columns.shadow, columns.control)
        self._add_sizes(columns)
        self._add_outputs(columns.exact, columns.texts, together)
        if columns.control is not None:
            self._add_texts(columns, columns.texts, columns.control)
        self._add_amounts(columns)
        self._unsettled += len(columns)
        if self._unsettled > _SETTLE_EVERY:
            self._settle()

    def merge(self, other: Ledger, *, without: tuple[str, ...] = ()) -> None:
        """
        Add what another counted; it stays as it is, but for being tidied.

        Args:
            without: tallies whose names begin so are left out, by somebody who has no use for them.
        """
        if not other.pairs:
            return
        other._settle()
        self._lengthen(other.shift)
        self._spanned(other.first_ns, other.last_ns, other.pairs)
        for name, tally in other.tallies.items():
            if name.startswith(without):
                continue
            if name.startswith(blocks.PREFIX) and other.shift != self.shift:
                longer = Tally(*tally.items())
                longer.rekey(self.shift - other.shift, blocks.low_bits(name))
                self.tally(name).merge(longer)
            else:
                self.tally(name).merge(tally)
        for name, moments in other.moments.items():
            self.moments.setdefault(name, Moments()).merge(moments)
        self._settle()

    def tally(self, name: str) -> Tally:
        """Return the tally of a name, which is empty where nothing was counted."""
        found = self.tallies.get(name)
        if found is None:
            found = self.tallies[name] = Tally()
        return found

    def guards(self) -> list[str]:
        """Return the names of the guards that were asked, in order."""
        return sorted(name.removeprefix("guard.") for name in self.tallies if name.startswith("guard."))

    def costs(self) -> dict[str, Moments]:
        """Return the costs by currency, in units of :data:`COST_UNITS`."""
        return {name.removeprefix(_COST): each for name, each in self.moments.items() if name.startswith(_COST)}

    def to_bytes(self) -> bytes:
        """Return it as versioned, compressed bytes; equal ledgers have equal bytes."""
        self._settle()
        span = Span(self.pairs, self.first_ns, self.last_ns, self.shift)
        return ledger_bytes.written(span, self.tallies, self.moments)

    @classmethod
    def from_bytes(cls, data: bytes) -> Ledger:
        """
        Return the ledger that ``to_bytes`` wrote; costs added later need :meth:`priced_in` first.

        Raises:
            ValueError: these are no such bytes, or of another version.
        """
        span, tallies, moments = ledger_bytes.read(data)
        ledger = cls()
        ledger.pairs, ledger.first_ns, ledger.last_ns, ledger.shift = span
        ledger.tallies, ledger.moments = tallies, moments
        return ledger

    def priced_in(self, currency: str | None) -> None:
        """Say in which currency the costs of later batches are."""
        self._currency = currency

    def _spanned(self, first_ns: int, last_ns: int, pairs: int) -> None:
        self.first_ns = min(self.first_ns, first_ns) if self.pairs else first_ns
        self.last_ns = max(self.last_ns, last_ns) if self.pairs else last_ns
        self.pairs += pairs

    def _count(self, name: str, keys: Ints, weights: Ints | None = None) -> None:
        self.tally(name).add(keys, weights)

    def _count_together(self, name: str, together: Together, weights: Ints | None = None) -> None:
        """Sum what the variance guard needs by whatever pairs have in common."""
        for prefix, keys, sums in together.summed(weights):
            self._count(prefix + name, keys, sums)

    def _add_errors(self, states: Ints, together: Together) -> None:
        most, fewest = legs.more_errors(states)
        self._count_together("pairs", together)
        self._count_together("errors", together, most)
        self._count_together("errors_against", together, fewest)

    def _add_latency(self, columns: PairColumns, measure: str, together: Together) -> LatencyCodes:
        asked, live, shadow = legs.latency_codes(columns.live, columns.shadow, measure)
        self._count(f"joint.{measure}", live * bins.CODES + shadow)
        if not asked.all():
            together = together.where(asked)
        self._count_together(f"live.{measure}", together.at(bins.LOWEST_COARSE[live]))
        self._count_together(f"shadow.{measure}", together.at(bins.HIGHEST_COARSE[shadow]))
        return asked, live, shadow

    def _add_triples(self, shadow: LegColumns, control: LegColumns) -> None:
        known = legs.seen(control.state)
        if known.any():
            shadow, control = shadow.where(known), control.where(known)
            for measure in MEASURES:
                _, control_codes, codes = legs.latency_codes(control, shadow, measure)
                self._count(f"triple.{measure}", control_codes * bins.CODES + codes)

    def _add_sizes(self, columns: PairColumns) -> None:
        known = (columns.live.state == State.OK) & (columns.live.output_tokens >= 1)
        if known.any():
            sizes = (np.log(columns.live.output_tokens[known]) / _SIZE).astype(np.int64)
            self._count("sizes", sizes * 2 + (columns.shadow.state[known] == State.SHED))

    def _add_outputs(self, exact: Floats, texts: TextColumns | None, together: Together) -> None:
        known = ~np.isnan(exact)
        if known.any():
            equal = (exact[known] > 0.5).astype(np.int64)
            self._count("exact", equal)
            those = together.where(known)
            self._count_together("exact.n", those)
            self._count_together("exact", those, equal)
        if texts is None:
            return
        self._add_similarity(texts, together)
        for name, (shadow, other) in texts.guards.items():
            known = ~(np.isnan(shadow) | np.isnan(other))
            ours, theirs = (shadow[known] > 0.5).astype(np.int64), (other[known] > 0.5).astype(np.int64)
            self._count(f"guard.{name}", ours * 2 + theirs)
            those = together.where(known)
            self._count_together(f"guard.{name}.n", those)
            self._count_together(f"guard.{name}", those, ours - theirs)

    def _add_similarity(self, texts: TextColumns, together: Together) -> None:
        known = ~np.isnan(texts.similarity)
        if not known.any():
            return
        similarity, together = grid.steps(texts.similarity[known]), together.where(known)
        no_floor = np.isnan(texts.floor[known])
        floor = np.where(no_floor, grid.NO_FLOOR, grid.steps(np.where(no_floor, 0.0, texts.floor[known])))
        self._count("similarity", similarity * grid.FLOORS + floor)
        self._count_together("similarity.n", together)
        self._count_together("similarity", together, similarity)
        triple = together.where(~no_floor)
        self._count_together("floor.n", triple)
        self._count_together("floor.similarity", triple, similarity[~no_floor])
        self._count_together("floor.floor", triple, floor[~no_floor])

    def _add_texts(self, columns: PairColumns, texts: TextColumns | None, control: LegColumns) -> None:
        # Without any text, too: a batch is whatever was folded together, and counts are not to hang on that.
        asked = (columns.live.state == State.OK) & (columns.shadow.state == State.OK) & (control.state == State.OK)
        missing = np.full(len(columns), True) if texts is None else np.isnan(texts.similarity) | np.isnan(texts.floor)
        self._count("texts", missing[asked].astype(np.int64))

    def _add_amounts(self, columns: PairColumns) -> None:
        for name in ("input_tokens", "output_tokens"):
            moments = self.moments.setdefault(name, Moments())
            moments.add(getattr(columns.live, name), getattr(columns.shadow, name))
        if self._currency is not None:
            moments = self.moments.setdefault(_COST + self._currency, Moments())
            moments.add(columns.live.cost, columns.shadow.cost, scale=COST_UNITS)

    def _settle(self) -> None:
        """Lengthen the blocks until there are few enough; how long they are depends on the minutes alone."""
        self._unsettled = 0
        self._lengthen(self.shift + blocks.too_short_by(self.tally("blocks.pairs").items()[0]))

    def _lengthen(self, shift: int) -> None:
        if shift <= self.shift:
            return
        for name, tally in self.tallies.items():
            if name.startswith(blocks.PREFIX):
                tally.rekey(shift - self.shift, blocks.low_bits(name))
        self.shift = shift
