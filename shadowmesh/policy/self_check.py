"""
Whether an experiment measures what it means to (pure: the clock is an argument).

Three mistakes leave everything green and measure nothing:

- **The candidate is the live server.** A shadow names the experiment and the target it was sent to. When it arrives at
  a server that mirrors the same experiment, it has come back to where it set out from, be it this very process or
  another replica behind the same name. For a control target that is the purpose, and for a candidate whose requests
  are rewritten to another model it may be.
- **The shadow never fires** although calls are eligible and sampled, for whatever reason: a limit that lets nothing
  through, say. What stops a target by rule, a budget or a time-box, says so itself.
- **No shadow is sent** although calls are counted as mirrored: every request is one that this target may not have, or
  that nobody can read. Only the engine sees that, by :class:`Sending`.

Each mistake is found once. Whoever asks :meth:`SelfCheck.look` every few seconds reports it within a minute.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from shadowmesh.names import Decision, DropReason, Misfit, TargetKind
from shadowmesh.policy.experiment import ExperimentSettings

EXPECTED = 20.0
"""Mirrored calls that chance alone lets an intact target expect before none of them is a finding: e⁻²⁰."""

WATCHED_SECONDS = 30.0
"""How long a target has its chance: with a look every ten seconds a mistake is reported within a minute."""

# Said elsewhere, and meant: no mistake of wiring.
_BY_RULE = frozenset(
    {DropReason.BUDGET, DropReason.TIME_BOX, DropReason.SHUTDOWN, DropReason.REMOVED, DropReason.HARM,
     DropReason.OFF_SLOT, DropReason.MARKED, DropReason.RETRY, DropReason.OTHER_MODEL}
)  # fmt: skip


class Finding(NamedTuple):
    """One mistake; ``detail`` is for people."""

    experiment: str
    target: str
    misfit: Misfit
    detail: str


def marker(experiment: str, target: str) -> str:
    """Return what a shadow says of where it was sent; names hold no slash."""
    return f"{experiment}/{target}"


class Sending:
    """Watches whether the shadows that an engine was given are sent. Moments are nanoseconds of one monotonic clock."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, str], tuple[int, Counter[str]]] = {}
        self._found: set[tuple[str, str]] = set()

    def sent(self, experiment: str, target: str) -> None:
        """Take in that a shadow was called."""
        self._held.pop((experiment, target), None)
        self._found.discard((experiment, target))

    def held_back(self, experiment: str, target: str, reason: str, now_ns: int) -> str:
        """Take in that a shadow was not, and return what there is to say of it; mostly nothing."""
        key = (experiment, target)
        if reason in _BY_RULE or reason == DropReason.CIRCUIT_OPEN or key in self._found:
            return ""
        since_ns, reasons = self._held.setdefault(key, (now_ns, Counter()))
        reasons[reason] += 1
        if now_ns - since_ns < WATCHED_SECONDS * 1e9 or reasons.total() < EXPECTED:
            return ""
        self._found.add(key)
        return f"{experiment}/{target} none of {reasons.total()} shadows was sent: {_most(reasons)}"


class SelfCheck:
    """Watches one process's experiments. Moments are nanoseconds of one monotonic clock."""

    def __init__(self) -> None:
        self._candidates: dict[str, tuple[str, str]] = {}
        self._since: dict[tuple[str, str], tuple[int, Counter[tuple[str, str]]]] = {}
        self._rates: dict[tuple[str, str], float] = {}
        self._came_back: set[str] = set()
        self._found: set[tuple[str, str, Misfit]] = set()

    def watch(self, experiments: Iterable[ExperimentSettings]) -> None:
        """Watch these experiments from now on; what was found about a target that stays the same is not found again."""
        each = [(experiment.name, target) for experiment in experiments for target in experiment.targets]
        self._candidates = {
            marker(experiment, target.name): (experiment, target.name)
            for experiment, target in each
            if target.kind is TargetKind.CANDIDATE and not target.transform
        }
        rates = {(experiment, target.name): target.rate for experiment, target in each}
        self._since = {key: one for key, one in self._since.items() if self._rates.get(key) == rates.get(key)}
        self._rates = rates
        self._came_back &= self._candidates.keys()
        self._found = {one for one in self._found if one[:2] in rates}

    def shadow_arrived(self, sent_to: str) -> None:
        """
        Take in that a shadow with this :func:`marker` has arrived at a method that its own experiment covers. May be
        called in any thread, for every such call: it is one look into a dictionary.
        """
        if sent_to in self._candidates:
            self._came_back.add(sent_to)

    def look(self, funnel: Iterable[tuple[tuple[str, str, str, str], int]], now_ns: int) -> list[Finding]:
        """
        Return what is new.

        Args:
            funnel: experiment, target, decision and drop reason, each with its count.
        """
        found = [
            Finding(*self._candidates[sent_to], Misfit.OWN_BACKEND, "its shadows arrive at a live server of its own")
            for sent_to in sorted(self._came_back)
        ]
        lines: dict[tuple[str, str], Counter[tuple[str, str]]] = {key: Counter() for key in self._rates}
        for (experiment, target, decision, reason), count in funnel:
            if (experiment, target) in lines:
                lines[experiment, target][decision, reason] += count
        for key, counts in lines.items():
            silent = self._silent(key, counts, now_ns)
            if silent is not None:
                found.append(silent)
        new = [finding for finding in found if finding[:3] not in self._found]
        self._found.update(finding[:3] for finding in new)
        return new

    def _silent(self, key: tuple[str, str], counts: Counter[tuple[str, str]], now_ns: int) -> Finding | None:
        if key not in self._since:
            self._since[key] = (now_ns, counts)
            return None
        began_ns, before = self._since[key]
        since = counts - before
        mirrored = sum(count for (decision, _), count in since.items() if decision == Decision.MIRRORED)
        if mirrored:
            self._since[key] = (now_ns, counts)
            return None
        reasons = Counter({reason: count for (_, reason), count in since.items() if reason})
        by_rule = sum(count for reason, count in reasons.items() if reason in _BY_RULE)
        expected = (since.total() - by_rule) * self._rates[key]
        if now_ns - began_ns < WATCHED_SECONDS * 1e9 or expected < EXPECTED:
            return None
        why = _most(reasons) or "no reason is known"
        return Finding(*key, Misfit.NEVER_FIRES, f"none of {since.total()} eligible calls was mirrored: {why}")


def _most(reasons: Counter[str]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in reasons.most_common(3))
