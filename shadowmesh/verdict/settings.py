"""What a candidate is asked, and how strictly: ``experiments[].criteria``."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from shadowmesh.settings import Settings

Measure = Literal["duration", "first_chunk", "per_token"]

_Share = Annotated[float, Field(strict=True, gt=0, lt=1, allow_inf_nan=False)]
_Margin = Annotated[float, Field(strict=True, ge=0, lt=1, allow_inf_nan=False)]
_Switch = Annotated[bool, Field(strict=True)]
_Count = Annotated[int, Field(strict=True, ge=0, le=1_000_000_000)]


class LatencySettings(Settings):
    """
    A quantile of the candidate's latency is below so many times that of live.

    The trap: near the limit nobody can tell. At a true ratio of 1.15 a limit of 1.2 takes some 25 000 pairs, at exactly
    1.2 it is never decided; NOT_YET then comes with what it would still take. And nobody knows how long a failed call
    would have taken: PASS takes it for as slow as it may have been, so that with 5 per cent of failures no P95 passes,
    while FAIL speaks of the calls that both have answered.

    Args:
        measure: ``duration`` of the whole exchange, ``first_chunk`` (time to it, of streams), or ``per_token`` (time
            per output token after the first chunk).
        quantile: 0.95 is the P95.
        ratio: the limit, in steps of 0.9 per cent; what lies between is taken so that neither answer comes too easily.
    """

    measure: Measure = "duration"
    quantile: _Share = 0.95
    ratio: Annotated[float, Field(strict=True, ge=0.1, le=10, allow_inf_nan=False)] = 1.2

    @property
    def name(self) -> str:
        """``latency.duration.p95`` and the like."""
        return f"latency.{self.measure}.p{self.quantile * 100:g}"


class ErrorSettings(Settings):
    """
    The candidate does not fail more often than live.

    The trap: "less often", taken literally, can never be shown of two models that never fail, and is a coin-flip for
    two that fail equally often. Hence a margin: at most so much more often.

    Args:
        enabled: whether it is asked.
        mode: ``margin``, or ``strict`` for the literal reading.
        margin: by how much of all exchanges the candidate may fail more; 0.005 is half a percentage point.
    """

    enabled: _Switch = True
    mode: Literal["margin", "strict"] = "margin"
    margin: _Margin = 0.005

    @property
    def allowed(self) -> float:
        """The margin in force."""
        return self.margin if self.mode == "margin" else 0.0


class SimilaritySettings(Settings):
    """
    The candidate's outputs are similar to those of live, where text is captured.

    The trap: a model that samples is not so similar to itself. ``absolute`` may ask for more than live reaches when it
    is asked twice; ``vs_floor`` asks for that share of what live reaches against itself, which needs a control target.
    And no similarity sees that 5 mg became 50 mg: the guards are there for that.

    Args:
        enabled: whether it is asked; without captured text it takes no part.
        mode: ``vs_floor`` or ``absolute``.
        limit: the least mean similarity, or the least share of the floor.
    """

    enabled: _Switch = True
    mode: Literal["vs_floor", "absolute"] = "vs_floor"
    limit: _Share = 0.95


class JudgeSettings(Settings):
    """
    Somebody who reads both outputs prefers the candidate's at least half of the time; a tie counts half.

    The trap: a candidate that is as good and only cheaper never wins more than half. ``noninferior`` lets it lose by a
    margin; ``superior`` is the literal reading.

    Args:
        enabled: whether it is asked; it needs judgements.
        mode: ``noninferior`` or ``superior``.
        margin: how far below one half the win rate may be in ``noninferior``.
    """

    enabled: _Switch = False
    mode: Literal["noninferior", "superior"] = "noninferior"
    margin: Annotated[float, Field(strict=True, ge=0, lt=0.5, allow_inf_nan=False)] = 0.03

    @property
    def least(self) -> float:
        """The win rate that has to be exceeded."""
        return 0.5 - (self.margin if self.mode == "noninferior" else 0.0)


class CoverageSettings(Settings):
    """
    Enough was seen, over enough time, and little was held back.

    The trap: ten thousand exchanges of one minute say nothing of the next. Failures come in outages, and that those
    of a minute take less than half a per cent of the time cannot be shown before some 600 minutes without one, however
    many pairs they hold; of five minutes, 3 000. Ask for 600 before the last stage of a rollout. The other way round, a
    candidate must not fail for one bad minute: with fewer than 20 the variance between them is hardly known, and an
    outage that both models have in turn may fail the one that had it first.

    Args:
        enabled: whether it is asked.
        pairs: more compared exchanges than this.
        min_blocks: dispatch minutes with compared exchanges; every other criterion needs them for its PASS, too, unless
            coverage is switched off.
        min_blocks_against: dispatch minutes that a FAIL takes, whether coverage is asked or not. Fewer give an answer
            within minutes, of a candidate that is worse at any time; they take one outage for the rule.
        shed: the greatest share of exchanges held back or cut for reasons that may have to do with them.
        shed_warning: from which share a warning is given.
        stopped: the greatest share of compared exchanges whose client left before the answer was whole. They say
            nothing of latency, and who leaves may have asked what the candidate is slow at.
    """

    enabled: _Switch = True
    pairs: _Count = 10_000
    min_blocks: _Count = 100
    min_blocks_against: _Count = 20
    shed: _Share = 0.05
    shed_warning: _Share = 0.01
    stopped: _Share = 0.05


class GuardSettings(Settings):
    """
    Flags that captured texts raise (other numbers, a refusal, broken JSON) are not raised more often for a candidate.

    They only ever speak against it. The trap: another model always differs a little more than the same model asked
    twice, so without a margin enough traffic rejects every candidate.

    Args:
        enabled: whether they are asked.
        margin: by how much of all exchanges a flag may be raised more often.
        off: names of guards that are only reported.
    """

    enabled: _Switch = True
    margin: _Margin = 0.02
    off: tuple[Annotated[str, Field(min_length=1, max_length=64)], ...] = ()


class CriteriaSettings(Settings):
    """
    When a candidate may go live. Part of the experiment's digest: other criteria are another question to new evidence.

    GO: every criterion passes, each with an error of at most ``alpha``, so a bad candidate gets through with at most
    ``alpha``. NO_GO: one criterion or guard fails, for which ``alpha`` is divided by their number. Both hold however
    often one looks.

    Args:
        alpha: the chance of a wrong GO, and of a wrong NO_GO.
        stages: how many stages of a rollout ask anew; the alpha of NO_GO is divided by it, that of GO is not, since a
            bad candidate has to get through all of them.
        latency: any number of limits; none switches latency off.
        strata: whether methods are also asked alone, for NO_GO only: the eight with most pairs. Up to 64 methods are
            counted each by itself, and any further ones together.
    """

    alpha: Annotated[float, Field(strict=True, gt=0, le=0.5, allow_inf_nan=False)] = 0.05
    stages: Annotated[int, Field(strict=True, ge=1, le=100)] = 1
    latency: Annotated[tuple[LatencySettings, ...], Field(max_length=16)] = (LatencySettings(),)
    errors: ErrorSettings = ErrorSettings()
    similarity: SimilaritySettings = SimilaritySettings()
    judge: JudgeSettings = JudgeSettings()
    coverage: CoverageSettings = CoverageSettings()
    guards: GuardSettings = GuardSettings()
    strata: _Switch = True

    @model_validator(mode="after")
    def _something_is_asked(self) -> Self:
        if not (self.latency or self.errors.enabled or self.similarity.enabled or self.judge.enabled):
            raise ValueError("every criterion is switched off, so nothing could ever be shown")
        names = [each.name for each in self.latency]
        if len(set(names)) < len(names):
            raise ValueError("latency asks for the same quantile of a measure twice")
        return self

    @property
    def digest(self) -> str:
        """Twelve hex digits; equal criteria have equal ones."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:12]
