"""What a configuration will do, in words: nothing that was set goes unsaid, and no unknown cost is a small one."""

from __future__ import annotations

from typing import Any

import pytest
from support.experiments import target

from shadowmesh.config import Config
from shadowmesh.pricing import PriceSettings, Pricing
from shadowmesh.report.explain import Explained, explain, lines
from shadowmesh.report.forecast import Load

PER_TOKEN = {"per_million_tokens": {"input": 1, "output": 4}}
LOAD = Load(100, input_tokens=1000, output_tokens=250, seconds=2.0)


def config(*targets: dict[str, Any], mirror: dict[str, Any] | None = None, **experiment: Any) -> Config:
    facts = {"name": "x", "methods": ["/a.B/*"], "targets": list(targets) or [target()]}
    mirror = {"harm_guard": {"enabled": False}} | (mirror or {})
    return Config.model_validate({"experiments": [facts | experiment], "mirror": mirror})


def text(settings: Config, load: Load | None = None, *prices: dict[str, Any]) -> str:
    pricing = Pricing([PriceSettings.model_validate(price) for price in prices])
    return "\n".join(lines(explain(settings, pricing, load)))


def at(load: Load, *prices: dict[str, Any], **changes: Any) -> Explained:
    """Return what is said of one target."""
    pricing = Pricing([PriceSettings.model_validate(price) for price in prices])
    explanation = explain(config(target(**changes)), pricing, load)
    return explanation.experiments[0].targets[0]


def test_without_a_load_nothing_is_said_of_rates_and_costs() -> None:
    said = text(config(target(rate=0.1)))
    assert "gets 10 % of the calls" in said
    assert "a second" not in said


def test_shadows_and_money_follow_from_the_rate() -> None:
    found = at(LOAD, PER_TOKEN, rate=0.1, max_in_flight=100)
    assert found.shadows_per_second == 10
    assert found.cost_per_hour == pytest.approx(10 * 3600 * 0.002)
    assert "They cost $72.00 an hour, $1,728.00 a day." in found.sentences


def test_limits_bound_what_is_expected() -> None:
    assert at(LOAD, max_rate=3.0).shadows_per_second == 3
    assert at(LOAD, max_in_flight=8).shadows_per_second == 4, "eight at once, of two seconds each"
    guarded = explain(config(target(rate=0.1), mirror={"harm_guard": {"enabled": True}}), Pricing(), Load(100))
    assert guarded.experiments[0].targets[0].shadows_per_second == pytest.approx(9.5)


@pytest.mark.parametrize(
    ("price", "load", "known"),
    [
        (PER_TOKEN, Load(1, input_tokens=5), False),
        (PER_TOKEN, Load(1, input_tokens=5, output_tokens=5), True),
        ({"per_second": 1}, Load(1, input_tokens=5, output_tokens=5), False),
        ({"per_second": 1}, Load(1, seconds=2), True),
        ({"per_accelerator_hour": 3}, Load(1), False),
        ({"per_accelerator_hour": 3}, Load(1, seconds=2), True),
        (PER_TOKEN | {"model": "big*"}, Load(1, input_tokens=5, output_tokens=5), False),
        (PER_TOKEN | {"model": "big*"}, Load(1, input_tokens=5, output_tokens=5, model="big-2"), True),
        (PER_TOKEN | {"target": "other"}, LOAD, False),
    ],
)
def test_a_cost_that_is_not_known_is_not_small(price: dict[str, Any], load: Load, known: bool) -> None:
    found = at(load, price)
    assert (found.cost_per_hour is not None) is known
    assert any(sentence.startswith("What they cost is unknown") for sentence in found.sentences) is not known


def test_when_a_budget_and_a_time_box_end_is_said() -> None:
    settings = config(
        target(rate=0.1, max_in_flight=100, budget={"per_hour": 36, "per_day": 10_000, "tokens": 1_250_000}),
        time_box={"pairs": 36_000},
    )
    said = text(settings, LOAD, PER_TOKEN)
    assert "Its budget an hour is used up after 30 min." in said
    assert "Its budget a day" not in said, "it lasts longer than the day"
    assert "Its tokens are used up after 1 min 40 s." in said
    assert "It has its 36,000 pairs after 1 h." in said
    assert "A restart forgets what was spent" in said


def test_what_an_unpriced_call_counts_as_is_said() -> None:
    assert "closes it until the configuration changes" in text(config(target(budget={"total": 5})))
    fallback = {"per_call": 0.5, "tokens": 10}
    said = text(config(target(budget={"tokens": 5, "unpriced": fallback})))
    assert "counts as $0.500 and 10 tokens" in said


def test_which_pairs_are_no_evidence_is_said() -> None:
    said = text(config(target(warm_up={"time": "90s", "calls": 1000})))
    assert "no evidence until 1 min 30 s have passed since the first of them and it has had 1,000 calls" in said
    assert "no evidence" not in text(config(target()))


def test_a_share_of_the_budget_is_said() -> None:
    said = text(config(target(budget={"total": 5}), mirror={"budget": {"share": 0.5, "processes": 5, "state": "/x"}}))
    assert "Each engine has 10 % of every budget" in said
    assert "A restart forgets" not in said


def test_whatever_else_was_set_is_listed() -> None:
    said = text(config(target(version="3"), version="2", protocol="raw", stall_after="2s"))
    for line in ("version: 2", "protocol: raw", "stall_after: 2.0", "version: 3"):
        assert f"  {line}\n" in said


REFERENCE: dict[str, Any] = {"methods": ["/shadowmesh.v1.Inference/*"]}


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        (
            {"when": {"metadata": [{"key": "x-a", "equals": "1"}, {"key": "x-b", "prefix": "2"}]}},
            "It takes only calls whose x-a is 1 and whose x-b begins with 2.",
        ),
        (
            {"when": {"metadata": [{"key": "x-a", "present": True}, {"key": "x-b", "present": False}]}},
            "It takes only calls that bear a x-a and that bear no x-b.",
        ),
        ({"when": {"models": ["a", "b*"]}, **REFERENCE}, "It takes only calls that ask for the model a or b*."),
        (
            {"retries": {"keys": ["x-a", "x-b"]}},
            "Calls with the same x-a or x-b within 60.0 s are attempts of one call",
        ),
        ({"trust_marker": False}, "one that this process has sent is not"),
        ({"effects": {"/a.B/C": "unsafe"}}, "Calls of /a.B/C count as unsafe."),
        ({"never": ["x-tenant-*", "x-org"]}, "x-tenant-* and x-org of the metadata never travels."),
        ({"output_digest": True}, "Legs carry a digest of the answer"),
        ({"content": "events"}, "Prompts and answers leave the process, as log events"),
        ({"content": "spans"}, "Prompts and answers leave the process, as attributes of the spans"),
    ],
)
def test_every_policy_of_an_experiment_is_said_in_words(policy: dict[str, Any], said: str) -> None:
    told = text(config(**policy))
    assert said in told
    assert not any(f"  {key}:" in told for key in policy)


@pytest.mark.parametrize(
    ("by", "said"),
    [
        ("call", "Each call is sampled by itself"),
        ("trace", "Calls with the same trace id are mirrored all or none"),
        ({"metadata": "x-user"}, "Calls with the same x-user are mirrored all or none"),
        ({"field": "request_id"}, "Calls with the same request_id are mirrored all or none"),
    ],
)
def test_what_calls_are_sampled_by_is_said_where_not_all_are_mirrored(by: Any, said: str) -> None:
    sampled = {"sampling": {"by": by}, **REFERENCE}
    assert said in text(config(target(rate=0.5), **sampled))
    assert said not in text(config(target(rate=1.0), **sampled))


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ({}, "It sees nothing of the metadata, and never a credential of the client's."),
        ({"metadata": ["x-a", "x-b*"]}, "It sees x-a and x-b* of the metadata"),
        ({"tls": True}, "It is called over TLS."),
        ({"tls": {"certificate": "c", "key": "k"}}, "It is called over TLS with a certificate of its own."),
        (
            {"tls": True, "credentials": [{"key": "a", "env": "A"}, {"key": "b", "file": "/b"}]},
            "It is called over TLS, with a from the variable A and b from /b.",
        ),
        (
            {"transform": {"model": "m", "temperature": 0.5, "seed": 7, "system_prompt": {"replace": "x"}}},
            "differ from the live ones: model m, temperature 0.5, seed 7 and a text in place of the system prompt.",
        ),
        (
            {"transform": {"set_fields": {"sampling.top_k": 1}, "remove_fields": ["prompt"], "tools": "drop"}},
            "differ from the live ones: no tools, sampling.top_k 1 and no prompt.",
        ),
        (
            {"translate": {"protocol": "tgis", "defaults": {"max_tokens": 64, "temperature": "unset"}}},
            "Where a request leaves it unsaid, it is asked for max_tokens 64.",
        ),
        ({"translate": {"protocol": "tgis"}}, "It speaks tgis and is asked what can be said whole in that"),
        (
            {"translate": {"protocol": "tgis", "defaults": {"top_k": "unset"}}},
            "Of top_k that a request leaves unsaid it is told nothing.",
        ),
        ({"transform": {"tools": "drop"}}, "Requests that offer tools reach it without them."),
        ({}, "What may act in the world does not reach it"),
        ({"allow_unsafe": ["/a.B/C"]}, "those of /a.B/C reach it, without their tools."),
        ({"allow_unsafe": ["*"], "stubs": {"search": "x"}}, "reach it, with no tools but search, which have stubs."),
    ],
)
def test_every_policy_of_a_target_is_said_in_words(policy: dict[str, Any], said: str) -> None:
    told = text(config(target(**policy), **REFERENCE))
    assert said in told
    assert not any(f"  {key}:" in told for key in policy)


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({}, "with an error of at most 5 %: its P95 latency is below 1.2 times that of live; it fails at most 0.5 "),
        ({}, "That takes more than 10,000 pairs, from 100 minutes or more, with at most 5 % shed."),
        ({}, "these is shown, for all methods together or for one alone of the eight with most pairs, from 20 minutes"),
        ({"content": "events"}, "or that its texts raise a flag more often by 2 percentage points, for all methods"),
        ({}, "How similar outputs are is not asked: content is off"),
        ({"content": "spans"}, "How similar outputs are is not asked: content is in spans, and only that of events"),
        ({"content": "spans"}, "these is shown, for all methods together"),
        ({"criteria": {"errors": {"mode": "strict"}}}, "it fails less often than live"),
        ({"criteria": {"latency": [{"measure": "first_chunk", "quantile": 0.5}]}}, "its P50 time to the first chunk"),
        ({"criteria": {"judge": {"enabled": True}}}, "a judge prefers its output in more than 47 % of cases"),
        (
            {"criteria": {"guards": {"enabled": False}, "strata": False}},
            "one of these is shown, from 20 minutes or more.",
        ),
        (
            {"criteria": {"coverage": {"min_blocks_against": 0}, "guards": {"enabled": False}, "strata": False}},
            "is shown.",
        ),
        ({"content": "events"}, "similar to live's by more than 95 % of what live reaches against itself"),
        ({"content": "events"}, "and so the answer NOT_YET: there is no control target."),
        ({"content": "events", "criteria": {"similarity": {"mode": "absolute"}}}, "live's by more than 0.95"),
    ],
)
def test_when_a_candidate_may_go_live_is_said_in_words(facts: dict[str, Any], said: str) -> None:
    told = text(config(target(), **facts))
    assert said in told
    assert "criteria:" not in told


def test_what_is_not_asked_is_not_said() -> None:
    off = {name: {"enabled": False} for name in ("errors", "coverage", "similarity")}
    told = text(config(target(), content="events", criteria=off))
    assert not [word for word in ("fails", "That takes", "similar") if word in told]
    assert "may go live" not in text(config(target(kind="control")))


def test_what_is_off_is_said_to_be_off() -> None:
    said = text(config(target("a", enabled=False), target("b", breaker={"enabled": False}), enabled=False))
    assert said.count("It is switched off") == 2
    assert "its breaker is off" in said
    assert "the harm guard is off" in said


def test_nothing_is_nothing() -> None:
    assert text(Config()).startswith("Nothing is mirrored")
