"""
All verdicts that were asked for together, and the one answer that a gate gives for them.

Without a configuration file every candidate with evidence is judged, by the default criteria. With one it is the
candidates of the file, by the file's criteria: one without evidence is ``NOT_YET`` and not left out, and so is one
whose evidence was gathered under another configuration.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from shadowmesh.errors import UnknownNameError
from shadowmesh.verdict.coverage import SampleRatio
from shadowmesh.verdict.ledger import Ledger
from shadowmesh.verdict.plan import Plan
from shadowmesh.verdict.records import Answer, EvidenceKey, Finding, Gate, Reason, Result, Verdict
from shadowmesh.verdict.settings import CriteriaSettings
from shadowmesh.verdict.verdict import judge

_WORST_FIRST = (Answer.NO_GO, Answer.NOT_YET, Answer.GO)
_DEFAULTS = CriteriaSettings()
_MOST_NAMED = 8

UNKNOWN = "there is no "
"""What says of a name that nobody has it begins so, and over HTTP is told by it from a path that is not there."""


class Folds(NamedTuple):
    """
    What should be known of how a store's ledgers were filled.

    Args:
        late: pairs that were stored after others of their time had been judged.
        mixed_currencies: costs that were left out, because shadow and live were paid in different currencies.
        late_texts: captured texts that came when their pair had been judged, and are not compared.
    """

    late: int = 0
    mixed_currencies: int = 0
    late_texts: int = 0


class Evidence(Protocol):
    """The evidence of a store at one moment, as :class:`~shadowmesh.store.evidence.EvidenceBook` holds it."""

    def keys(self) -> list[EvidenceKey]:
        """Return what there is evidence about, by first dispatch."""

    def latest(self, experiment: str | None, target: str | None) -> list[EvidenceKey]:
        """Return the newest key of each candidate target that fits; ``None`` fits all."""

    def ledgers(self, key: EvidenceKey) -> dict[str, Ledger]:
        """Return the ledgers of a key by stratum."""

    def control(self, key: EvidenceKey) -> dict[str, Ledger] | None:
        """Return those of the experiment's control target, if it has one."""

    def attempt(self, key: EvidenceKey) -> int:
        """Return how often this candidate was begun before, and one more for a chosen beginning; 0 if it is unknown."""

    def other_versions(self, key: EvidenceKey) -> int:
        """Return how many other versions of this target were begun before the last pair of this one."""

    def sampling(self, key: EvidenceKey) -> SampleRatio | None:
        """Return how calls were drawn for a key's target under its configuration; ``None`` where nobody knows."""

    def folds(self) -> Folds:
        """Return how all of it was filled."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """
    What was asked for at one moment, wall clock.

    Args:
        since_ns: from which dispatch on pairs were looked at, where somebody chose one.
        verdicts: one for each candidate.
    """

    at_ns: int
    since_ns: int | None = None
    verdicts: tuple[Verdict, ...] = ()

    @property
    def answer(self) -> Answer:
        """The worst of all; without any it is ``NOT_YET``."""
        said = {one.answer for one in self.verdicts}
        return next((answer for answer in _WORST_FIRST if answer in said), Answer.NOT_YET)

    @property
    def reason(self) -> str:
        """Why, in a sentence: of the first verdict that decides, and which others decide alike."""
        deciding = [one for one in self.verdicts if one.answer is self.answer]
        if not deciding:
            return "there is no evidence about any candidate"
        if len(self.verdicts) == 1:
            return deciding[0].reason
        first, *others = (f"{one.key.experiment}/{one.key.target}" for one in deciding)
        said = f"{first}: {deciding[0].reason}"
        return f"{said}; likewise {_listed(others)}" if others else said

    def held_to(self, config_digest: str) -> Judgement:
        """Return the same, where evidence of any other configuration decides nothing."""
        return replace(self, verdicts=tuple(_held_to(one, config_digest) for one in self.verdicts))


def judgement(
    evidence: Evidence,
    plans: Sequence[Plan] = (),
    *,
    now_ns: int,
    experiment: str | None = None,
    target: str | None = None,
    since_ns: int | None = None,
) -> Judgement:
    """
    Judge every candidate that is asked for.

    Args:
        plans: the experiments of a configuration file; none without one.
        since_ns: of which dispatches on the evidence is, where somebody has chosen one.

    Raises:
        UnknownNameError: there are candidates, and none with the names that were asked for.
    """
    asked = list(_asked(evidence, {plan.experiment: plan for plan in plans}, experiment, target))
    if not asked:
        planned = [key for plan in plans for key in plan.evidence_keys()]
        _refuse_unknown([*evidence.latest(None, None), *planned], experiment, target)
    verdicts = [_verdict(evidence, key, plan, now_ns) for key, plan in asked]
    known = tuple(_warnings(evidence.folds()))
    warned = tuple(replace(one, warnings=(*one.warnings, *known)) for one in verdicts)
    return Judgement(at_ns=now_ns, since_ns=since_ns, verdicts=warned)


def _asked(
    evidence: Evidence, plans: Mapping[str, Plan], experiment: str | None, target: str | None
) -> Iterable[tuple[EvidenceKey, Plan | None]]:
    planned = [(key, plan) for plan in plans.values() for key in plan.evidence_keys() if _fits(key, experiment, target)]
    if planned or (plans and experiment is None and target is None):
        return planned
    return [(key, plans.get(key.experiment)) for key in evidence.latest(experiment, target)]


def _verdict(evidence: Evidence, key: EvidenceKey, plan: Plan | None, now_ns: int) -> Verdict:
    known = set(evidence.keys())
    found = key if key in known else next(iter(evidence.latest(key.experiment, key.target)), key)
    there = found in known
    verdict = judge(
        found,
        evidence.ledgers(found) if there else {},
        _DEFAULTS if plan is None else plan.criteria,
        attempt=evidence.attempt(found),
        control=evidence.control(found) if there else None,
        now_ns=now_ns,
        sampling=evidence.sampling(found),
        captured=plan.captured if plan is not None else frozenset(),
    )
    if others := evidence.other_versions(found):
        verdict = replace(verdict, warnings=(*verdict.warnings, _tried_before(others)))
    if plan is None:
        said = "judged by the default criteria: no configuration with this experiment was given"
        return replace(verdict, warnings=(*verdict.warnings, said))
    if found.config_digest == plan.config_digest and found.target_digest not in ("", key.target_digest):
        asked_for = f"asked for is {key.target_digest}"
        return _undecided(verdict, f"the evidence is of version {found.target_digest} of the target, {asked_for}")
    return _held_to(verdict, plan.config_digest)


def _refuse_unknown(candidates: Sequence[EvidenceKey], experiment: str | None, target: str | None) -> None:
    """Refuse a name that no candidate has, where there are candidates: misspelt, it is ``NOT_YET`` for ever."""
    if not candidates:
        return
    of_experiment = [key for key in candidates if experiment in (None, key.experiment)]
    if of_experiment:
        where = "" if experiment is None else f" in {experiment}"
        said = f"candidate {target}{where}, only {_listed(key.target for key in of_experiment)}"
    else:
        said = f"experiment {experiment}, only {_listed(key.experiment for key in candidates)}"
    # Names come from whoever sent spans, and this goes to terminals.
    raise UnknownNameError(
        UNKNOWN + "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in said)
    )


def _listed(names: Iterable[str]) -> str:
    """Return each name once, of very many the first ones."""
    known = list(dict.fromkeys(names))
    more = f" and {len(known) - _MOST_NAMED} more" if len(known) > _MOST_NAMED else ""
    return ", ".join(known[:_MOST_NAMED]) + more


def _tried_before(others: int) -> str:
    versions = "1 earlier version" if others == 1 else f"{others:,} earlier versions"
    was = "was" if others == 1 else "were"
    return f"{versions} of this target {was} judged: each has all of alpha, so of many one passes by luck"


def _warnings(folds: Folds) -> Iterator[str]:
    if folds.late:
        yield f"in this store {folds.late:,} pairs came so late that earlier verdicts were made without them"
    if folds.mixed_currencies:
        said = "shadow and live were paid in different currencies"
        yield f"in this store {folds.mixed_currencies:,} costs are left out: {said}"
    if folds.late_texts:
        yield f"in this store {folds.late_texts:,} captured texts came so late that they are not compared"


def _held_to(verdict: Verdict, config_digest: str) -> Verdict:
    """Return a verdict, or where its evidence is of another configuration, that it decides nothing."""
    if verdict.key.config_digest == config_digest:
        return verdict
    versions = f"{verdict.key.config_digest or 'unknown'}, asked for is {config_digest}"
    return _undecided(verdict, f"the evidence is of configuration {versions}")


def _undecided(verdict: Verdict, said: str) -> Verdict:
    """Return a verdict whose evidence is of something else than was asked for."""
    finding = Finding(
        name="config", gate=Gate.CRITERION, result=Result.NOT_YET, reason=Reason.OTHER_CONFIG, detail=said
    )
    return replace(
        verdict, answer=Answer.NOT_YET, reason=f"{Reason.OTHER_CONFIG}: {said}", findings=(finding, *verdict.findings),
        eta_pairs=None, eta_seconds=None,
    )  # fmt: skip


def _fits(key: EvidenceKey, experiment: str | None, target: str | None) -> bool:
    return experiment in (None, key.experiment) and target in (None, key.target)
