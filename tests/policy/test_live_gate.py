"""One decision per call, and a funnel that adds up."""

from __future__ import annotations

from collections import Counter
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.experiments import GENERATE, experiment, target

from shadowmesh.model import Metadata
from shadowmesh.names import META_ROLE, Decision, DropReason
from shadowmesh.policy.experiment import ExperimentSettings
from shadowmesh.policy.live_gate import FunnelKey, LiveGate, Ticket


class Funnel:
    """Counts what the gate counts."""

    def __init__(self) -> None:
        self.lines: Counter[tuple[str, str, str, str]] = Counter()

    def __call__(self, key: FunnelKey) -> None:
        self.lines[key] += 1


class Draws:
    """Gives sampling keys and counts how many were asked for."""

    def __init__(self) -> None:
        self._numbers = count()
        self.given = 0

    def __call__(self) -> bytes:
        self.given += 1
        return next(self._numbers).to_bytes(8, "big")


def gate(*experiments: ExperimentSettings) -> tuple[LiveGate, Funnel, Draws]:
    funnel = Funnel()
    return LiveGate(experiments, funnel), funnel, Draws()


def names_of(ticket: Ticket | None) -> list[str]:
    return [admission.target for admission in ticket.admissions] if ticket is not None else []


def test_a_method_nobody_covers_is_neither_admitted_nor_counted() -> None:
    live, funnel, draws = gate(experiment())
    assert live.covers(GENERATE)
    assert not live.covers("/other.Service/Method")
    assert live.decide("/other.Service/Method", (), draws) is None
    assert not funnel.lines


def test_full_rate_admits_every_call_without_asking_for_chance() -> None:
    live, funnel, draws = gate(experiment(target("a"), target("b", kind="control")))
    ticket = live.decide(GENERATE, (), draws)
    assert ticket is not None
    assert ticket.plan.name == "summaries"
    assert ticket.admissions == (("a", 1.0, ""), ("b", 1.0, ""))
    assert not funnel.lines, "what is admitted is counted when the exchange begins"
    assert not draws.given


def test_rate_zero_leaves_the_handler_untouched_and_counts_without_asking_for_chance() -> None:
    live, funnel, draws = gate(experiment(target("a", rate=0), target("b", rate=0)))
    assert live.decide(GENERATE, (), draws) is None
    assert funnel.lines == {
        ("summaries", "a", Decision.NOT_SAMPLED, ""): 1,
        ("summaries", "b", Decision.NOT_SAMPLED, ""): 1,
    }
    assert not draws.given


def test_whoever_samples_less_shares_its_exchanges_with_whoever_samples_more() -> None:
    live, _, draws = gate(experiment(target("little", rate=0.05), target("half", rate=0.5), target("all")))
    seen = Counter(tuple(names_of(live.decide(GENERATE, (), draws))) for _ in range(2000))
    assert set(seen) == {("all",), ("half", "all"), ("little", "half", "all")}
    assert draws.given == 2000


def test_an_admission_says_with_which_probability_it_was_drawn() -> None:
    live, _, draws = gate(experiment(target("half", rate=0.5), target("all")))
    tickets = [live.decide(GENERATE, (), draws) for _ in range(100)]
    found = {
        (admission.target, admission.probability) for ticket in tickets if ticket for admission in ticket.admissions
    }
    assert found == {("half", 0.5), ("all", 1.0)}


@pytest.mark.parametrize("rate", [0, 0.5, 1])
def test_a_marked_call_is_disabled_at_every_target_and_never_mirrored_again(rate: float) -> None:
    live, funnel, draws = gate(experiment(target("a", rate=rate), target("b")))
    metadata: Metadata = (("x-other", b"1"), (META_ROLE, "shadow"))
    assert live.decide(GENERATE, metadata, draws) is None
    assert funnel.lines == {("summaries", name, Decision.DISABLED, DropReason.MARKED): 1 for name in ("a", "b")}
    assert not draws.given


def test_a_call_marked_as_live_is_mirrored() -> None:
    live, _, draws = gate(experiment())
    assert live.decide(GENERATE, ((META_ROLE, "live"),), draws) is not None


def test_a_closed_target_is_admitted_with_the_reason_it_is_closed_for_and_the_others_without() -> None:
    live, funnel, draws = gate(experiment(target("a"), target("b")))
    live.states["summaries", "a"].closed = DropReason.SHUTDOWN
    ticket = live.decide(GENERATE, (), draws)
    assert ticket is not None
    assert ticket.admissions == (("a", 1.0, DropReason.SHUTDOWN), ("b", 1.0, ""))
    live.states["summaries", "a"].closed = ""
    reopened = live.decide(GENERATE, (), draws)
    assert reopened is not None
    assert [admission.drop_reason for admission in reopened.admissions] == ["", ""]
    assert not funnel.lines


def test_the_first_experiment_that_covers_a_method_takes_its_calls() -> None:
    exact = experiment(name="exact", methods=[GENERATE])
    live, _, draws = gate(exact, experiment(name="wide", methods=["*"]))
    for method, name in ((GENERATE, "exact"), ("/other.Service/Method", "wide")):
        ticket = live.decide(method, (), draws)
        assert ticket is not None
        assert ticket.plan.name == name


def test_a_plan_lets_out_what_any_target_may_see() -> None:
    live, _, draws = gate(experiment(target("a", metadata=["x-a"]), target("b", metadata=["x-b*"])))
    ticket = live.decide(GENERATE, (), draws)
    assert ticket is not None
    assert ticket.plan.headers is not None
    metadata: Metadata = (("x-a", "1"), ("x-b-bin", b"2"), ("x-c", "3"), ("authorization", "4"))
    assert ticket.plan.headers.filter(metadata) == (("x-a", "1"), ("x-b-bin", b"2"))


RATES = st.lists(st.one_of(st.just(0.0), st.just(1.0), st.floats(0, 1)), min_size=1, max_size=4)


@given(RATES, st.lists(st.booleans(), max_size=30))
def test_the_funnel_of_the_gate_adds_up_at_every_target(rates: list[float], marks: list[bool]) -> None:
    settings = experiment(*(target(f"t{number}", rate=rate) for number, rate in enumerate(rates)))
    live, funnel, draws = gate(settings)
    admitted: Counter[str] = Counter()
    for marked in marks:
        ticket = live.decide(GENERATE, ((META_ROLE, "shadow"),) if marked else (), draws)
        assert ticket is None or ticket.admissions
        admitted.update(names_of(ticket))
    for number, rate in enumerate(rates):
        name = f"t{number}"
        not_sampled = funnel.lines["summaries", name, Decision.NOT_SAMPLED, ""]
        disabled = funnel.lines["summaries", name, Decision.DISABLED, DropReason.MARKED]
        assert admitted[name] + not_sampled + disabled == len(marks)
        assert disabled == sum(marks)
        assert rate > 0 or not admitted[name]
        assert rate < 1 or not not_sampled
