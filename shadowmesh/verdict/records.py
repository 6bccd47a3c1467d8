"""What a verdict says: records that the gate, the report, the metrics and the alerts share."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Answer(StrEnum):
    """Of a whole verdict. No data is never GO."""

    GO = "GO"
    NO_GO = "NO_GO"
    NOT_YET = "NOT_YET"


class Result(StrEnum):
    """Of one criterion, guard or check. ``OFF``: switched off, or cannot be asked of this evidence: takes no part."""

    PASS = "PASS"
    FAIL = "FAIL"
    NOT_YET = "NOT_YET"
    OFF = "OFF"


class Gate(StrEnum):
    """How a result takes part: a criterion has to pass, a guard must not fail, a report is only shown."""

    CRITERION = "criterion"
    GUARD = "guard"
    REPORT = "report"


class Reason(StrEnum):
    """Why a criterion stands where it does, for programs; ``detail`` says it for people."""

    SHOWN = "shown"
    """The evidence crossed the threshold and every guard of it is satisfied."""
    NO_EVIDENCE = "no_evidence"
    MORE_PAIRS = "more_pairs"
    """The evidence points one way and has not crossed the threshold yet."""
    UNDECIDABLE = "undecidable"
    """At the estimated value the evidence does not grow: as it stands this will never be decided."""
    MORE_BLOCKS = "more_blocks"
    BURSTS = "bursts"
    """Crossed, were it not for the variance between blocks."""
    ESTIMATE = "estimate"
    """Shown with its margin, and the point estimate is on the wrong side of the literal limit."""
    TOO_MUCH_SHED = "too_much_shed"
    """Exchanges that were held back, cut or lost could have turned the answer."""
    TOO_MANY_STOPPED = "too_many_stopped"
    """The clients of too many exchanges left, of whose latency nothing is known."""
    TOO_MANY_FAILED = "too_many_failed"
    """Legs that failed could have been slow, and are so many that latency cannot pass."""
    DEADLINE_SHORT = "deadline_short"
    """Shadows are ended before it shows how slow they are."""
    TEXT_MISSING = "text_missing"
    """Outputs that were cut or never came could have turned the answer."""
    NO_CONTENT = "no_content"
    NO_CONTROL = "no_control"
    UNREACHABLE = "criterion_unreachable"
    """The live model does not reach the limit against itself."""
    CONTROL_BIAS = "control_bias"
    """
    The shadow path itself is slower or faster than the live one, and there is no exchange to judge by the control's leg
    instead.
    """
    SAMPLE_RATIO = "sample_ratio"
    SWITCHED_OFF = "switched_off"
    OTHER_CONFIG = "other_config"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """
    One criterion, guard or check, and all that may be asked about it.

    Args:
        name: ``latency.duration.p95``, ``errors``, ``similarity``, ``judge``, ``coverage``, ``guard.numbers``, …
        stratum: the method it was asked of alone; empty: of everything.
        mode: in which reading it was asked, such as ``margin``, ``strict``, ``vs_floor``.
        unit: of ``estimate``, ``interval`` and ``limit`` (``1`` for ratios and shares).
        limit: what it is held against, margin included; ``None`` where there is no number.
        margin: what of the limit is margin.
        evidence: natural log of the evidence for PASS (after the variance guard), against ``threshold``.
        evidence_against: the same for FAIL, against ``threshold_against``.
        pairs: pairs that took part. ``missing`` is the share of those (0 to 1) of which something had to be assumed.
        blocks: dispatch minutes with pairs. ``variance_factor``: how many times a block mean varies more than that of
            independent pairs would.
        eta_pairs, eta_seconds: what is still needed at the present growth; ``None``: not known, or never.
    """

    name: str
    gate: Gate
    result: Result
    reason: Reason
    detail: str
    stratum: str = ""
    mode: str = ""
    unit: str = "1"
    estimate: float | None = None
    interval: tuple[float, float] | None = None
    limit: float | None = None
    margin: float = 0.0
    evidence: float | None = None
    threshold: float | None = None
    evidence_against: float | None = None
    threshold_against: float | None = None
    pairs: int = 0
    missing: float = 0.0
    blocks: int = 0
    variance_factor: float = 1.0
    floor: float | None = None
    eta_pairs: int | None = None
    eta_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompts:
    """About how many ``distinct`` prompts there were in so many ``pairs`` whose prompt could be read."""

    distinct: int
    pairs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """
    How many calls were in flight beside each leg, itself included, in so many ``pairs`` of which both sides are known.

    As one live process sees it: of live its own calls of the experiment, reckoned from the sampled ones; of the shadow
    those that it has sent there. Of legs that were measured to their end, and known to a sixteenth.
    """

    live_mean: float
    shadow_mean: float
    live_median: float
    shadow_median: float
    pairs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cached:
    """Which shares of all input tokens came out of a cache, in so many ``pairs`` of which both sides say it."""

    live: float
    shadow: float
    pairs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """
    How far shadow legs began behind their live legs, and how long live took.

    Args:
        p95: of the lag, seconds.
        first_answer: live's median time to the first chunk, or to the end of what is no stream, seconds.
        pairs: of which both are known.
    """

    p95: float
    first_answer: float
    pairs: int

    @property
    def share(self) -> float:
        """The P95 of the lag as a share of the time to the first answer."""
        return self.p95 / self.first_answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """
    Under what circumstances pairs were compared; ``None`` is what no pair says. None of it decides anything.

    Args:
        warm_up: pairs that were left out because their target was warming up.
    """

    warm_up: int = 0
    prompts: Prompts | None = None
    load: Load | None = None
    cached: Cached | None = None
    lag: Lag | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceKey:
    """What a verdict is about; another digest is other evidence."""

    experiment: str
    target: str
    target_digest: str
    config_digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """
    The answer for one target.

    Args:
        attempt: how often this candidate was begun anew under another configuration; each halves alpha.
        alpha: what is left of it for this attempt.
        pairs: committed pairs; ``comparable`` those of them with two legs that can be compared.
        first_ns, last_ns: dispatch of the first and the last committed pair, wall clock; 0 without any.
        pairs_per_second: of late.
        findings: every criterion, guard and check, in the order in which they are shown.
        warnings: what does not change the answer and should be known, a sentence each.
        circumstances: how far the numbers carry.
        criteria_digest: twelve hex digits over the criteria it was asked by.
    """

    key: EvidenceKey
    answer: Answer
    reason: str
    alpha: float
    attempt: int
    pairs: int
    comparable: int
    first_ns: int
    last_ns: int
    blocks: int
    pairs_per_second: float
    findings: tuple[Finding, ...]
    warnings: tuple[str, ...] = ()
    criteria_digest: str = ""
    circumstances: Circumstances = Circumstances()
    eta_pairs: int | None = None
    eta_seconds: float | None = None
