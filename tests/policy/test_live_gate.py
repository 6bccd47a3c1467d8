"""One decision per call, and a funnel that adds up."""

from __future__ import annotations

from collections import Counter
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.experiments import GENERATE, experiment, target

from shadowmesh.model import Metadata
from shadowmesh.names import META_INSTANCE, META_PREVIOUS_ATTEMPTS, META_ROLE, META_TARGET, Decision, DropReason
from shadowmesh.policy.draws import Drawn, drawn
from shadowmesh.policy.experiment import ExperimentSettings
from shadowmesh.policy.funnel import Counted, lines
from shadowmesh.policy.live_gate import LiveGate
from shadowmesh.policy.plan import Ticket
from shadowmesh.policy.target_state import TargetState


def now() -> int:
    return 1


class Funnel:
    """Counts what the gate counts."""

    def __init__(self) -> None:
        self.counted: Counter[Counted] = Counter()

    def __call__(self, key: Counted) -> None:
        self.counted[key] += 1

    @property
    def lines(self) -> Counter[tuple[str, str, str, str]]:
        return Counter(lines(self.counted))


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
    assert live.decide("/other.Service/Method", (), draws, now) is None
    assert not funnel.lines


def test_full_rate_admits_every_call_without_asking_for_chance() -> None:
    live, funnel, draws = gate(experiment(target("a"), target("b", kind="control")))
    ticket = live.decide(GENERATE, (), draws, now)
    assert ticket is not None
    assert ticket.plan.name == "summaries"
    assert ticket.admissions == (("a", 1.0, ""), ("b", 1.0, ""))
    assert not funnel.lines, "what is admitted is counted when the exchange begins"
    assert not draws.given


def test_rate_zero_leaves_the_handler_untouched_and_counts_without_asking_for_chance() -> None:
    live, funnel, draws = gate(experiment(target("a", rate=0), target("b", rate=0)))
    assert live.decide(GENERATE, (), draws, now) is None
    assert funnel.lines == {
        ("summaries", "a", Decision.NOT_SAMPLED, ""): 1,
        ("summaries", "b", Decision.NOT_SAMPLED, ""): 1,
    }
    assert not draws.given


def test_whoever_samples_less_shares_its_exchanges_with_whoever_samples_more() -> None:
    live, _, draws = gate(experiment(target("little", rate=0.05), target("half", rate=0.5), target("all")))
    seen = Counter(tuple(names_of(live.decide(GENERATE, (), draws, now))) for _ in range(2000))
    assert set(seen) == {("all",), ("half", "all"), ("little", "half", "all")}
    assert draws.given == 2000


def test_an_admission_says_with_which_probability_it_was_drawn() -> None:
    live, _, draws = gate(experiment(target("half", rate=0.5), target("all")))
    tickets = [live.decide(GENERATE, (), draws, now) for _ in range(100)]
    found = {
        (admission.target, admission.probability) for ticket in tickets if ticket for admission in ticket.admissions
    }
    assert found == {("half", 0.5), ("all", 1.0)}


@pytest.mark.parametrize("rate", [0, 0.5, 1])
def test_a_marked_call_is_disabled_at_every_target_and_never_mirrored_again(rate: float) -> None:
    live, funnel, draws = gate(experiment(target("a", rate=rate), target("b")))
    metadata: Metadata = (("x-other", b"1"), (META_ROLE, "shadow"))
    assert live.decide(GENERATE, metadata, draws, now) is None
    assert funnel.lines == {("summaries", name, Decision.DISABLED, DropReason.MARKED): 1 for name in ("a", "b")}
    assert not draws.given


def test_a_call_marked_as_live_is_mirrored() -> None:
    live, _, draws = gate(experiment())
    assert live.decide(GENERATE, ((META_ROLE, "live"),), draws, now) is not None


def test_a_closed_target_is_admitted_with_the_reason_it_is_closed_for_and_the_others_without() -> None:
    live, funnel, draws = gate(experiment(target("a"), target("b")))
    live.states["summaries", "a"].closed = DropReason.SHUTDOWN
    ticket = live.decide(GENERATE, (), draws, now)
    assert ticket is not None
    assert ticket.admissions == (("a", 1.0, DropReason.SHUTDOWN), ("b", 1.0, ""))
    live.states["summaries", "a"].closed = ""
    reopened = live.decide(GENERATE, (), draws, now)
    assert reopened is not None
    assert [admission.drop_reason for admission in reopened.admissions] == ["", ""]
    assert not funnel.lines


def test_the_first_experiment_that_covers_a_method_takes_its_calls() -> None:
    exact = experiment(name="exact", methods=[GENERATE])
    live, _, draws = gate(exact, experiment(name="wide", methods=["*"]))
    for method, name in ((GENERATE, "exact"), ("/other.Service/Method", "wide")):
        ticket = live.decide(method, (), draws, now)
        assert ticket is not None
        assert ticket.plan.name == name


def test_a_plan_lets_out_what_any_target_may_see() -> None:
    live, _, draws = gate(experiment(target("a", metadata=["x-a"]), target("b", metadata=["x-b*"])))
    ticket = live.decide(GENERATE, (), draws, now)
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
        ticket = live.decide(GENERATE, ((META_ROLE, "shadow"),) if marked else (), draws, now)
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


def test_the_own_instance_id_is_never_mirrored_whatever_the_marker_is_worth() -> None:
    live, funnel, draws = gate(experiment(trust_marker=False))
    live.instance_id = "me"
    assert live.decide(GENERATE, ((META_ROLE, "shadow"), (META_INSTANCE, "somebody")), draws, now) is not None
    assert live.decide(GENERATE, ((META_INSTANCE, "me"),), draws, now) is None
    assert funnel.lines == {("summaries", "candidate", Decision.DISABLED, DropReason.MARKED): 1}


def test_of_the_attempts_of_one_call_the_first_is_mirrored() -> None:
    live, funnel, draws = gate(experiment(retries={"keys": ["x-request-id"]}))
    first, other = ((("x-request-id", value),) for value in ("1", "2"))
    assert live.decide(GENERATE, first, draws, now) is not None
    assert live.decide(GENERATE, first, draws, now) is None
    assert live.decide(GENERATE, other, draws, now) is not None
    assert live.decide(GENERATE, ((META_PREVIOUS_ATTEMPTS, "1"),), draws, now) is None
    assert funnel.lines == {("summaries", "candidate", Decision.DISABLED, DropReason.RETRY): 2}


def test_calls_that_share_a_sampling_key_share_their_fate() -> None:
    live, _, draws = gate(experiment(target(rate=0.5), sampling={"by": {"metadata": "x-user"}}))
    for user in range(50):
        metadata = (("x-user", str(user)),)
        assert len({live.decide(GENERATE, metadata, draws, now) is None for _ in range(5)}) == 1
    assert not draws.given


LLAMA: Any = {"name": "llama", "when": {"models": ["llama-*"]}}
STICKY: Any = {"name": "sticky", "sampling": {"by": {"field": "request_id"}}}


def undecided(ticket: Ticket | None) -> list[str]:
    """Return whose call it may be, of a call that only its request can tell of."""
    assert ticket is not None
    assert ticket.undecided is not None
    assert (ticket.admissions, ticket.mirrored, ticket.plan) == ((), True, ticket.undecided.plans[0])
    return [plan.name for plan in ticket.undecided.plans]


def test_where_only_the_request_can_tell_nothing_is_counted_and_everybody_who_may_want_it_is_named() -> None:
    rest = experiment(name="rest")
    live, funnel, draws = gate(experiment(**LLAMA), experiment(target(rate=0.5), **STICKY), rest)
    assert undecided(live.decide(GENERATE, (), draws, now)) == ["llama", "sticky"]
    live, _, _ = gate(experiment(target(rate=0.5), **STICKY), rest)
    assert undecided(live.decide(GENERATE, (), draws, now)) == ["sticky"]
    live, _, _ = gate(experiment(**LLAMA))
    assert undecided(live.decide(GENERATE, (), draws, now)) == ["llama"]
    assert not funnel.lines
    assert not draws.given


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_a_field_that_decides_nothing_is_not_read(rate: float) -> None:
    live, _, draws = gate(experiment(target(rate=rate), **STICKY))
    ticket = live.decide(GENERATE, (), draws, now)
    assert (ticket is None) is (rate == 0)
    assert ticket is None or ticket.undecided is None


def test_where_nobody_samples_nothing_is_read_and_a_call_is_the_first_ones() -> None:
    live, funnel, draws = gate(experiment(target(rate=0), **LLAMA), experiment(target(rate=0), name="rest"))
    assert live.decide(GENERATE, (), draws, now) is None
    assert funnel.lines == {("llama", "candidate", Decision.NOT_SAMPLED, ""): 1}
    live, funnel, _ = gate(experiment(target(rate=0), **LLAMA), experiment(name="rest"))
    assert undecided(live.decide(GENERATE, (), draws, now)) == ["llama", "rest"]


def test_while_every_target_is_closed_nothing_is_read() -> None:
    live, _, draws = gate(experiment(**LLAMA), experiment(target(rate=0), name="rest"))
    live.states["llama", "candidate"].closed = DropReason.CIRCUIT_OPEN
    ticket = live.decide(GENERATE, (), draws, now)
    assert ticket is not None
    assert (ticket.undecided, ticket.mirrored) == (None, False)
    assert [one.drop_reason for one in ticket.admissions] == [DropReason.CIRCUIT_OPEN]
    live.states["llama", "candidate"].closed = ""
    assert undecided(live.decide(GENERATE, (), draws, now)) == ["llama", "rest"]


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        (((META_ROLE, "shadow"),), DropReason.MARKED),
        (((META_INSTANCE, "me"),), DropReason.MARKED),
        (((META_PREVIOUS_ATTEMPTS, "1"),), DropReason.RETRY),
    ],
)
def test_what_nobody_may_have_is_not_read_for_whose_it_is(metadata: Metadata, reason: DropReason) -> None:
    live, funnel, draws = gate(experiment(**LLAMA), experiment(name="rest"))
    live.instance_id = "me"
    told: list[str] = []
    live.arrived = told.append
    assert live.decide(GENERATE, (*metadata, (META_TARGET, "candidate")), draws, now) is None
    assert funnel.lines == {("llama", "candidate", Decision.DISABLED, reason): 1}
    assert told == ["candidate"]


def test_where_one_may_have_a_marked_call_and_another_not_the_request_tells_whose_it_is() -> None:
    live, _, draws = gate(experiment(**LLAMA, trust_marker=False), experiment(name="rest"))
    assert undecided(live.decide(GENERATE, ((META_ROLE, "shadow"),), draws, now)) == ["llama", "rest"]


def test_when_the_request_has_been_read_the_decision_is_that_of_any_call() -> None:
    live, funnel, draws = gate(experiment(target("a", rate=0.5), target("b"), **LLAMA, retries={"keys": ["x-id"]}))
    plan = live.plans["llama"]
    metadata: Metadata = (("x-id", "1"),)
    ticket = live.decide(GENERATE, metadata, draws, now, plan, lambda: 0.7)
    assert names_of(ticket) == ["b"]
    assert live.decide(GENERATE, metadata, draws, now, plan, lambda: 0.2) is None
    assert names_of(live.decide(GENERATE, (), draws, now, plan, lambda: 0.2)) == ["a", "b"]
    assert live.decide(GENERATE, ((META_ROLE, "shadow"),), draws, now, plan) is None
    assert not draws.given
    disabled = {
        ("llama", name, Decision.DISABLED, reason): 1
        for name in "ab"
        for reason in (DropReason.RETRY, DropReason.MARKED)
    }
    assert funnel.lines == {("llama", "a", Decision.NOT_SAMPLED, ""): 1} | disabled


def test_a_call_that_was_not_an_experiments_is_disabled_there() -> None:
    live, funnel, _ = gate(experiment(target("a", rate=0.1), target("b"), **LLAMA))
    live.disable(live.plans["llama"], DropReason.OTHER_MODEL)
    assert funnel.lines == {("llama", name, Decision.DISABLED, DropReason.OTHER_MODEL): 1 for name in "ab"}


def test_missing_keys_are_counted_by_experiment_over_a_reload_too() -> None:
    missing: Counter[str] = Counter()
    sticky = experiment(target(rate=0.5), sampling={"by": {"metadata": "x-user"}})
    live = LiveGate((sticky,), Funnel(), missing=lambda name: missing.update([name]))
    live.decide(GENERATE, (), Draws(), now)
    after = LiveGate((sticky,), Funnel(), missing=lambda name: missing.update([name]), before=live)
    after.decide(GENERATE, (), Draws(), now)
    after.decide(GENERATE, (("x-user", "ada"),), Draws(), now)
    assert missing == {"summaries": 2}


def test_conditions_on_metadata_lead_a_call_to_the_experiment_that_wants_it() -> None:
    acme = experiment(name="acme", when={"metadata": [{"key": "x-tenant", "equals": "acme"}]})
    live, _, draws = gate(acme, experiment(name="others"))
    for tenant, name in (("acme", "acme"), ("else", "others")):
        ticket = live.decide(GENERATE, (("x-tenant", tenant),), draws, now)
        assert ticket is not None
        assert ticket.plan.name == name


def test_a_target_above_its_rate_is_shed_and_gives_its_place_back() -> None:
    state = TargetState(experiment(target(max_in_flight=2, max_rate=1, burst=1)).targets[0])
    second = 1_000_000_000
    assert [state.take(second), state.take(second), state.take(second)] == [
        "",
        DropReason.RATE_LIMIT,
        DropReason.RATE_LIMIT,
    ]
    assert state.tokens.taken == 1
    assert state.take(3 * second) == ""
    assert state.take(9 * second) == DropReason.CONCURRENCY_LIMIT


def test_a_reload_keeps_what_was_seen_of_calls_and_of_targets_that_are_still_there() -> None:
    before = experiment(target("a"), target("b"), retries={"keys": ["x-request-id"]})
    live, funnel, draws = gate(before)
    live.instance_id = "me"
    assert live.decide(GENERATE, (("x-request-id", "1"),), draws, now) is not None
    live.states["summaries", "a"].closed = "circuit_open"
    live.states["summaries", "b"].closed = "circuit_open"
    changed = experiment(target("a"), target("b", max_in_flight=7), retries={"keys": ["x-request-id"]})
    after = LiveGate((changed,), funnel, before=live)
    assert after.decide(GENERATE, (("x-request-id", "1"),), draws, now) is None
    assert [after.states["summaries", name].closed for name in "ab"] == ["circuit_open", ""]
    assert after.instance_id == "me"


def test_a_shadow_that_arrives_here_is_told_with_the_target_it_was_made_for() -> None:
    live, _, draws = gate(experiment())
    arrived: list[str] = []
    live.arrived = arrived.append
    assert live.decide(GENERATE, ((META_ROLE, "shadow"), (META_TARGET, "somewhere")), draws, now) is None
    assert live.decide("/other.Service/Method", ((META_TARGET, "uncovered"),), draws, now) is None
    assert arrived == ["somewhere"]


def test_places_taken_before_a_reload_are_not_given_to_the_server_that_took_the_name() -> None:
    live, funnel, _ = gate(experiment(target("a", max_in_flight=2)))
    assert [live.states["summaries", "a"].take(1) for _ in range(2)] == ["", ""]
    removed = LiveGate((experiment(target("b")),), funnel, before=live)
    back = LiveGate((experiment(target("a", address="127.0.0.1:2", max_in_flight=3)),), funnel, before=removed)
    state = back.states["summaries", "a"]
    assert [state.take(1) for _ in range(4)] == ["", "", "", DropReason.CONCURRENCY_LIMIT]
    back.give_back("summaries", "a", 2)
    assert state.take(1) == DropReason.CONCURRENCY_LIMIT, "those were the two of the server before"
    back.give_back("summaries", "a", 3)
    assert (state.tokens.taken, state.outstanding) == (0, 0)


def test_what_is_decided_late_takes_its_places_at_the_servers_of_now() -> None:
    live, funnel, _ = gate(experiment(target("a"), target("b")))
    plan = live.plans["summaries"]
    assert live.states_for(plan) is plan.states
    changed = experiment(target("a", address="127.0.0.1:2"), target("c"))
    after = LiveGate((changed,), funnel, before=live)
    late = after.states_for(plan)
    assert late["a"] is after.states["summaries", "a"]
    assert late["a"] is not plan.states["a"]
    assert late["b"] is plan.states["b"]
    assert LiveGate((), funnel, before=after).states_for(plan) is plan.states


def test_what_was_drawn_is_counted_with_the_decision_whatever_becomes_of_the_call() -> None:
    settings = experiment(target("a", rate=0.5), target("b", rate=0.25), target("all"), target("none", rate=0))
    live, funnel, draws = gate(settings)
    live.states["summaries", "b"].closed = DropReason.CIRCUIT_OPEN
    plan = live.plans["summaries"]
    for at in (0.1, 0.3, 0.6, 0.7):
        live.decide(GENERATE, (), draws, now, plan, lambda at=at: at)  # type: ignore[misc]  # one place each
    assert drawn(funnel.counted) == {
        ("summaries", "a", settings.digest): Drawn(4, 2, 2.0),
        ("summaries", "b", settings.digest): Drawn(4, 1, 1.0),
    }
    assert funnel.lines == {
        ("summaries", "a", Decision.NOT_SAMPLED, ""): 2,
        ("summaries", "b", Decision.NOT_SAMPLED, ""): 3,
        ("summaries", "none", Decision.NOT_SAMPLED, ""): 4,
    }


def test_a_call_that_was_never_considered_is_not_drawn() -> None:
    live, funnel, draws = gate(experiment(target("a", rate=0.5)))
    assert live.decide(GENERATE, ((META_ROLE, "shadow"),), draws, now) is None
    assert not drawn(funnel.counted)


@pytest.mark.parametrize("by", ["trace", {"metadata": "x-user"}, {"field": "model"}])
def test_of_calls_that_share_a_key_nothing_is_said_of_draws(by: Any) -> None:
    live, funnel, draws = gate(experiment(target("a", rate=0.5), sampling={"by": by}))
    plan = live.plans["summaries"]
    live.decide(GENERATE, (), draws, now, plan, lambda: 0.1)
    live.decide(GENERATE, (), draws, now, plan, lambda: 0.9)
    assert not drawn(funnel.counted)
    assert funnel.lines == {("summaries", "a", Decision.NOT_SAMPLED, ""): 1}
