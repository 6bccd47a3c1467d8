"""The figures the harm guard looks at: the evidence for each, and how they are reported."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from shadowmesh.evidence import MeanEvidence, log_threshold
from shadowmesh.names import HarmFigure
from shadowmesh.policy.slot_rank import score_place, score_values


@dataclass(frozen=True, slots=True)
class FigureReport:
    """
    What is known of one figure, over all blocks judged.

    Args:
        share_on: of the calls of on-slots, those that were slow (beyond limit and margin) or failed; ``None`` before
            there is a call.
        share_off: the same of off-slots, without the margin.
        log_evidence: shows harm when it reaches ``threshold``; natural logarithm.
        blocks: how many blocks had something to rank.
    """

    name: HarmFigure
    share_on: float | None
    share_off: float | None
    log_evidence: float
    threshold: float
    blocks: int


@dataclass(frozen=True, slots=True)
class HarmReport:
    """
    The state of the guard after the last block it judged.

    Args:
        harm: empty, or the figure that showed harm.
        limit: from which duration on a call is slow now, seconds; ``None`` until enough calls were seen.
    """

    harm: str
    slots_on: int
    slots_off: int
    calls_on: int
    calls_off: int
    limit: float | None
    figures: tuple[FigureReport, ...]


class Figure:
    """
    One figure's evidence that the off-slots do better than chance would have them do.

    Args:
        slots: the slots of a block.
        alpha: this figure's part of the guard's.
        draw: a uniform number in [0, 1).
    """

    def __init__(self, name: HarmFigure, *, slots: int, alpha: float, draw: Callable[[], float]) -> None:
        values = score_values(slots)
        self.name = name
        self._draw = draw
        self._evidence = MeanEvidence(values, 1.0, side=1)
        self._counts = [0] * len(values)
        self._log_evidence = 0.0
        self._threshold = log_threshold(alpha)

    def observe(self, shares: Iterable[float | None], off: int) -> None:
        """
        Rank the off-slot of a block among the slots that have a share; without its own, the block says nothing.

        Args:
            shares: per slot, smaller is better; ``None`` where there was no call to know it from.
            off: the place of the off-slot.
        """
        every = tuple(shares)
        off_share, known = every[off], [share for share in every if share is not None]
        if off_share is not None and len(known) > 1:
            self._counts[score_place(known, off_share, self._draw)] += 1
            self._log_evidence = self._evidence.log_evidence(self._counts)

    @property
    def shows_harm(self) -> bool:
        """Whether the null is rejected; the caller stops looking then."""
        return self._log_evidence >= self._threshold

    def report(self, share_on: float | None, share_off: float | None) -> FigureReport:
        """Return the evidence so far, beside the plain shares."""
        return FigureReport(self.name, share_on, share_off, self._log_evidence, self._threshold, sum(self._counts))
