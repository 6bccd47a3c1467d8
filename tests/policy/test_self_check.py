"""The two mistakes that leave everything green are found, once and within a minute; what is meant is not found."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest
from support.experiments import experiment, target

from shadowmesh.names import Decision, DropReason, Misfit
from shadowmesh.policy.self_check import Finding, SelfCheck, Sending, marker

SECOND = 1_000_000_000
Funnel = dict[tuple[str, str, str, str], int]


def check(*targets: dict[str, Any]) -> SelfCheck:
    it = SelfCheck()
    it.watch([experiment(*targets)])
    return it


def lines(target: str = "candidate", **counts: int) -> Funnel:
    """Return a funnel: ``mirrored`` and ``not_sampled``, and everything else by its drop reason."""
    decisions = {Decision.MIRRORED.value, Decision.NOT_SAMPLED.value}
    return {
        ("summaries", target, key, "") if key in decisions else ("summaries", target, "dropped", key): number
        for key, number in counts.items()
    }


def found(it: SelfCheck, *funnels: Funnel, seconds: float = 10) -> list[tuple[float, Misfit]]:
    """Look every few seconds; return what was found, and when."""
    return [
        (number * seconds, finding.misfit)
        for number, funnel in zip(count(), funnels, strict=False)
        for finding in it.look(funnel.items(), round(number * seconds * SECOND))
    ]


# --- the candidate is the live server -----------------------------------------------------------------------------


def test_a_shadow_that_comes_back_is_found_once() -> None:
    it = check()
    it.shadow_arrived(marker("summaries", "candidate"))
    (finding,) = it.look((), 0)
    assert finding[:3] == ("summaries", "candidate", Misfit.OWN_BACKEND)
    it.shadow_arrived(marker("summaries", "candidate"))
    assert it.look((), SECOND) == []


def test_a_control_may_come_back_for_that_is_its_purpose() -> None:
    it = check(target(), target("control", kind="control"))
    it.shadow_arrived(marker("summaries", "control"))
    assert it.look((), 0) == []


def test_a_candidate_that_is_asked_for_another_model_may_come_back() -> None:
    it = check(target(transform={"model": "other"}))
    it.shadow_arrived(marker("summaries", "candidate"))
    assert it.look((), 0) == []


@pytest.mark.parametrize("sent_to", ["", "other/candidate", "summaries/other", "summaries", "summaries/candidate/x"])
def test_the_shadow_of_somebody_else_is_none_of_ours(sent_to: str) -> None:
    it = check()
    it.shadow_arrived(sent_to)
    assert it.look((), 0) == []


# --- the shadow never fires ---------------------------------------------------------------------------------------


def test_eligible_calls_and_no_shadow_are_found_within_a_minute_and_once() -> None:
    it = check()
    funnels = [lines(concurrency_limit=50 * number) for number in range(13)]
    ((at, misfit),) = found(it, *funnels)
    assert misfit is Misfit.NEVER_FIRES
    assert at <= 60


def test_the_finding_says_why() -> None:
    it = check()
    it.look((), 0)
    (finding,) = it.look(lines(oversize=90, queue_full=10).items(), 60 * SECOND)
    assert finding == Finding(
        "summaries", "candidate", Misfit.NEVER_FIRES,
        "none of 100 eligible calls was mirrored: 90 oversize, 10 queue_full",
    )  # fmt: skip


def test_one_shadow_is_enough() -> None:
    it = check()
    assert found(it, *[lines(oversize=100 * number, mirrored=number) for number in range(13)]) == []


def test_one_that_fired_and_stops_is_found_as_well() -> None:
    it = check()
    funnels = [lines(mirrored=10 * number) for number in range(3)]
    funnels += [lines(mirrored=20, oversize=100 * number) for number in range(1, 10)]
    ((at, _),) = found(it, *funnels)
    assert at - 30 <= 60


def test_a_low_rate_needs_more_calls_before_silence_is_a_finding() -> None:
    it = check(target(rate=0.001))
    assert found(it, *[lines(not_sampled=100 * number) for number in range(13)]) == []
    assert found(it, lines(not_sampled=1200), lines(not_sampled=30_000), seconds=200) == [(200, Misfit.NEVER_FIRES)]


def test_a_rate_of_nothing_is_meant() -> None:
    it = check(target(rate=0))
    assert found(it, *[lines(not_sampled=10_000 * number) for number in range(13)]) == []


@pytest.mark.parametrize(
    "reason", [DropReason.BUDGET, DropReason.TIME_BOX, DropReason.HARM, DropReason.RETRY, DropReason.OTHER_MODEL]
)
def test_what_stops_by_rule_says_so_itself(reason: DropReason) -> None:
    it = check()
    assert (
        found(it, *[{("summaries", "candidate", "dropped", reason.value): 1000 * number} for number in range(13)]) == []
    )


def test_no_calls_are_no_finding() -> None:
    assert found(check(), *[{}] * 13) == []


def test_a_reload_forgets_a_target_that_is_gone_and_watches_one_that_is_new() -> None:
    it = check()
    it.shadow_arrived(marker("summaries", "candidate"))
    it.watch([experiment(target("other"))])
    assert it.look(lines("candidate", oversize=100).items(), 60 * SECOND) == []
    it.shadow_arrived(marker("summaries", "other"))
    assert [finding.target for finding in it.look((), 61 * SECOND)] == ["other"]
    it.watch([experiment()])
    it.shadow_arrived(marker("summaries", "candidate"))
    assert [finding.target for finding in it.look((), 62 * SECOND)] == ["candidate"]


# --- no shadow is sent --------------------------------------------------------------------------------------------


def held(it: Sending, *reasons: str, seconds: float = 5) -> list[tuple[float, str]]:
    """Hold a shadow back every few seconds; return what was said, and when."""
    return [
        (number * seconds, said)
        for number, reason in enumerate(reasons)
        if (said := it.held_back("summaries", "candidate", reason, round(number * seconds * SECOND)))
    ]


def test_a_target_whose_shadows_are_all_held_back_is_found_once_with_the_reasons() -> None:
    reasons = ["unsafe", "unsafe", "unreadable"] * 10
    assert held(Sending(), *reasons, seconds=2) == [
        (38, "summaries/candidate none of 20 shadows was sent: 14 unsafe, 6 unreadable")
    ]
    quick = held(Sending(), *["unsafe"] * 1000, seconds=0.1)
    assert [at for at, _ in quick] == [30], "not before it has had its chance, and within a minute"


def test_one_shadow_that_is_sent_is_enough_and_what_stops_by_rule_is_none_of_it() -> None:
    it = Sending()
    for number in range(200):
        assert it.held_back("summaries", "candidate", "unsafe", number * SECOND) == ""
        if number % 10 == 0:
            it.sent("summaries", "candidate")
    for reason in (DropReason.BUDGET, DropReason.TIME_BOX, DropReason.CIRCUIT_OPEN, DropReason.REMOVED):
        assert held(Sending(), *[reason.value] * 100) == []


def test_one_that_was_sent_and_is_held_back_again_is_found_again_and_its_neighbour_is_not() -> None:
    it = Sending()
    assert len(held(it, *["unsafe"] * 100)) == 1
    assert it.held_back("summaries", "other", "unsafe", 0) == ""
    it.sent("summaries", "candidate")
    assert len(held(it, *["unsafe"] * 100)) == 1
