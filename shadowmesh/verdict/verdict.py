"""
Ledgers and criteria to GO, NO_GO or NOT_YET.

GO takes every criterion: each is shown at alpha, and a candidate that is bad in one respect gets through with a chance
of at most alpha (an intersection-union test, so nothing is divided). NO_GO takes one, so its alpha is divided by the
number of criteria and guards, and by the stages; the methods asked alone share a second alpha. No data is never GO.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from shadowmesh.verdict import means, sessions
from shadowmesh.verdict.caveats import caveats
from shadowmesh.verdict.cells import Joints
from shadowmesh.verdict.circumstances import circumstances
from shadowmesh.verdict.coverage import (
    Coverage,
    SampleRatio,
    coverage,
    covered,
    pace,
    sample_ratio,
)
from shadowmesh.verdict.deciding import Levels, Question, decided, off
from shadowmesh.verdict.latency import latency, ratio_interval
from shadowmesh.verdict.ledger import Ledger
from shadowmesh.verdict.records import Answer, EvidenceKey, Finding, Gate, Reason, Result, Verdict
from shadowmesh.verdict.settings import CriteriaSettings, LatencySettings
from shadowmesh.verdict.similarity import Texts, similarity

_UNBIASED = (0.95, 1.05)
_STRATA = 8
# After a thousand attempts: what is left can still be divided.
_LEAST_ALPHA = 1e-290


def judge(
    key: EvidenceKey,
    ledgers: Mapping[str, Ledger],
    criteria: CriteriaSettings,
    *,
    attempt: int = 0,
    control: Mapping[str, Ledger] | None = None,
    now_ns: int,
    wins: Sequence[int] | None = None,
    sampling: SampleRatio | None = None,
    captured: frozenset[str] = frozenset(),
) -> Verdict:
    """
    Return the verdict about one target.

    Args:
        ledgers: of the key, by stratum; they are tidied and not changed otherwise.
        attempt: how often the candidate was begun anew; each halves alpha.
        control: the ledgers of the experiment's control target, which show what the shadow path itself changes.
        now_ns: wall clock, for the present pace.
        wins: how often a judge preferred the candidate, saw no difference, and preferred live.
        sampling: what the funnel says of the sampling.
        captured: the guards of texts that are captured by configuration, so that having none of them is no reason not
            to ask.
    """
    whole = _merged(ledgers.values())
    found, alpha = covered(whole), max(criteria.alpha * 2.0**-attempt, _LEAST_ALPHA)
    around = circumstances(whole)
    controls = list(control.values()) if control else []
    asking = _Asking(criteria, controls, alpha, pace(whole, now_ns), wins, captured=captured)
    findings = [*asking.of_all(list(ledgers.values()), whole), *asking.of_strata(ledgers)]
    if criteria.coverage.enabled:
        findings.append(coverage(found, criteria.coverage, asking.pace))
    else:
        findings.append(_switched_off("coverage"))
    if sampling is not None:
        findings.append(sample_ratio(sampling, alpha))
    answer, reason = answered(findings, found)
    eta_pairs, eta_seconds = _longest(findings) if answer is Answer.NOT_YET else (None, None)
    return Verdict(
        key=key,
        answer=answer,
        reason=reason,
        alpha=alpha,
        attempt=attempt,
        pairs=whole.pairs,
        comparable=found.compared,
        first_ns=whole.first_ns,
        last_ns=whole.last_ns,
        blocks=found.blocks,
        pairs_per_second=asking.pace,
        findings=tuple(findings),
        warnings=(
            *asking.warnings,
            *caveats(whole, found, around, criteria, alpha),
            *sessions.warnings(whole),
        ),
        criteria_digest=criteria.digest,
        circumstances=around,
        eta_pairs=eta_pairs,
        eta_seconds=eta_seconds,
    )


def _merged(ledgers: Iterable[Ledger]) -> Ledger:
    """Return a ledger of all pairs of these, without the joint cells, which the tests read where they are."""
    whole = Ledger()
    for ledger in ledgers:
        whole.merge(ledger, without=("joint.", "triple."))
    return whole


def answered(findings: Sequence[Finding], found: Coverage) -> tuple[Answer, str]:
    """Return the answer and, in a sentence, why: one FAIL is NO_GO, and GO takes every criterion that takes part."""
    asked = [one for one in findings if one.gate is not Gate.REPORT and one.result is not Result.OFF]
    failed = [one for one in asked if one.result is Result.FAIL]
    if failed:
        return Answer.NO_GO, "; ".join(_line(one) for one in failed)
    needed = [one for one in asked if one.gate is Gate.CRITERION]
    if not found.compared or not needed:
        return Answer.NOT_YET, "there is no evidence"
    open_ones = [one for one in needed if one.result is not Result.PASS]
    if open_ones:
        return Answer.NOT_YET, "; ".join(_line(one) for one in open_ones)
    return Answer.GO, f"all {len(needed)} criteria are shown"


class _Asking:
    """One round of questions: the settings, and the alpha that each may spend."""

    def __init__(
        self,
        criteria: CriteriaSettings,
        control: list[Ledger],
        alpha: float,
        pairs_per_second: float,
        wins: Sequence[int] | None,
        *,
        captured: frozenset[str],
    ) -> None:
        self.pace = pairs_per_second
        self.warnings: list[str] = []
        self._criteria = criteria
        self._control = control
        self._alpha = alpha
        self._wins = wins
        self._captured = captured
        self._biased: set[LatencySettings] = set()
        self._joints = Joints()
        self._texts = Texts(criteria.similarity)

    def of_all(self, ledgers: list[Ledger], whole: Ledger) -> list[Finding]:
        """Ask everything of all pairs together."""
        of_control = {each: found for each in self._criteria.latency if (found := self._of_control(each)) is not None}
        self._biased = {each for each, found in of_control.items() if found.reason is Reason.CONTROL_BIAS}
        levels = self._levels(self._parts(whole))
        findings = [decided(one, levels) for one in self._questions(ledgers, whole, levels)]
        return [*findings, *self._off(whole), *self._reports(whole, levels), *of_control.values()]

    def of_strata(self, ledgers: Mapping[str, Ledger]) -> list[Finding]:
        """
        Ask the methods with most pairs each alone, with a second alpha, and return what fails: a good mean hides a
        broken method. That a method has many pairs says nothing of how it did.
        """
        if not self._criteria.strata or len(ledgers) < 2:
            return []
        found: list[Finding] = []
        asked = sorted(ledgers.items(), key=lambda one: (-one[1].pairs, one[0]))[:_STRATA]
        for stratum, ledger in sorted(asked):
            # By the most that may be asked, not by those there are by now, for the same reason as in `_parts`.
            levels = replace(self._levels(self._parts(ledger) * _STRATA), only_failing=True)
            for question in self._questions([ledger], ledger, levels, alone=True):
                finding = decided(replace(question, stratum=stratum), levels)
                if finding.result is Result.FAIL:
                    found.append(finding)
        return found

    def _questions(
        self, ledgers: list[Ledger], whole: Ledger, levels: Levels, *, alone: bool = False
    ) -> list[Question]:
        criteria = self._criteria
        questions = [
            latency(ledgers, whole, each, levels, joints=self._joints, against_control=each in self._biased)
            for each in criteria.latency
        ]
        if criteria.errors.enabled:
            questions.append(means.errors(whole, criteria.errors, levels))
        if self._asks_similarity(whole):
            questions.append(similarity(ledgers, whole, levels, texts=self._texts))
        if criteria.judge.enabled and not alone:
            questions.append(means.wins(self._wins or (0, 0, 0), criteria.judge, levels, means.minutes(whole)))
        if criteria.guards.enabled:
            names = [name for name in whole.guards() if not alone or name not in criteria.guards.off]
            questions += [means.text_guard(whole, name, criteria.guards, levels) for name in names]
        return questions

    def _asks_similarity(self, whole: Ledger) -> bool:
        """Whether it is asked: where texts are captured, also before the first has come."""
        return self._criteria.similarity.enabled and (bool(self._captured) or whole.tally("similarity").total() > 0)

    def _parts(self, whole: Ledger) -> int:
        """
        Return among how many questions the alpha of NO_GO is divided.

        Guards that have had nothing to look at yet count from the beginning where it is known that they will be asked:
        parts that become smaller as more are asked would add up to more than alpha.
        """
        criteria = self._criteria
        asked = len(criteria.latency) + criteria.errors.enabled + criteria.judge.enabled
        asked += self._asks_similarity(whole)
        if criteria.guards.enabled:
            asked += len(self._captured.union(whole.guards()).difference(criteria.guards.off))
        return max(1, asked)

    def _levels(self, parts: int) -> Levels:
        return Levels(
            passing=self._alpha,
            failing=self._alpha / (parts * self._criteria.stages),
            min_blocks=self._criteria.coverage.min_blocks if self._criteria.coverage.enabled else 0,
            min_blocks_against=self._criteria.coverage.min_blocks_against,
            pace=self.pace,
        )

    def _off(self, whole: Ledger) -> list[Finding]:
        criteria, findings = self._criteria, []
        if not criteria.latency:
            findings.append(_switched_off("latency"))
        if not criteria.errors.enabled:
            findings.append(_switched_off("errors"))
        if not criteria.similarity.enabled:
            findings.append(_switched_off("similarity"))
        elif not self._asks_similarity(whole):
            detail = "no text was captured of both legs"
            findings.append(off("similarity", Gate.CRITERION, Reason.NO_CONTENT, detail, mode=criteria.similarity.mode))
        if not criteria.judge.enabled:
            findings.append(_switched_off("judge"))
        return findings

    def _reports(self, whole: Ledger, levels: Levels) -> list[Finding]:
        """Return what is only shown: equality of outputs, and live against itself on the shadow path."""
        floor = _merged(self._control).tally("exact").dense(2)
        share = float(floor[1] / floor.sum()) if floor.sum() else None
        return [_reported(means.exact(whole, levels, share))] if whole.tally("exact").total() else []

    def _of_control(self, settings: LatencySettings) -> Finding | None:
        """Return how slow live is against itself on the shadow path; ``None`` where no control says so."""
        cells = self._joints.of(self._control, f"joint.{settings.measure}")
        if not cells:
            return None
        lower, upper = ratio_interval(cells, settings.quantile, self._alpha)
        biased = lower > _UNBIASED[1] or upper < _UNBIASED[0]
        if biased:
            self.warnings.append(
                f"{Reason.CONTROL_BIAS}: {settings.name} of live through the shadow path is {lower:.2f} to {upper:.2f} "
                "times that of live, so the candidate is held against the control"
            )
        return Finding(
            name=settings.name.replace("latency.", "control.", 1),
            gate=Gate.REPORT,
            result=Result.OFF,
            reason=Reason.CONTROL_BIAS if biased else Reason.SWITCHED_OFF,
            detail="the shadow path itself changes it" if biased else "only reported",
            interval=(lower, upper),
            pairs=sum(ledger.pairs for ledger in self._control),
        )


def _switched_off(name: str) -> Finding:
    return off(name, Gate.CRITERION, Reason.SWITCHED_OFF, "switched off in the criteria")


def _reported(question: Question) -> Finding:
    return Finding(
        name=question.name,
        gate=Gate.REPORT,
        result=Result.OFF,
        reason=Reason.SWITCHED_OFF,
        detail="only reported",
        estimate=question.estimate,
        interval=question.interval,
        floor=question.floor,
        pairs=question.pairs,
        blocks=question.blocks,
        variance_factor=question.factor,
    )


def _line(finding: Finding) -> str:
    where = f" of {finding.stratum}" if finding.stratum else ""
    return f"{finding.name}{where}: {finding.detail}"


def _longest(findings: Sequence[Finding]) -> tuple[int | None, float | None]:
    """Return what the slowest criterion still needs; unknown where it is unknown of one."""
    waiting = [one for one in findings if one.gate is Gate.CRITERION and one.result is Result.NOT_YET]
    pairs = [one.eta_pairs for one in waiting]
    seconds = [one.eta_seconds for one in waiting]
    return (
        max((each for each in pairs if each is not None), default=None) if None not in pairs else None,
        max((each for each in seconds if each is not None), default=None) if None not in seconds else None,
    )
