"""Whose call a request says it is, and by which key it is sampled."""

from __future__ import annotations

from typing import Any

import pytest
from support.experiments import CONVERSE, GENERATE, INGEST, experiment, target
from support.wire import request

from shadowmesh.catalog.builtin import builtin, method_map
from shadowmesh.mirror.choice import MOST_READ, Choice, Chooser, misfit
from shadowmesh.names import DropReason
from shadowmesh.policy.experiment import ExperimentSettings
from shadowmesh.policy.live_gate import LiveGate
from shadowmesh.protocols.protocol_map import MethodMap
from shadowmesh.schema import messages

RAW = "/acme.Model/Predict"
LLAMA = experiment(name="llama", methods=["*"], when={"models": ["llama-*"]})
MISTRAL = experiment(name="mistral", methods=["*"], when={"models": ["mistral"]})
REST = experiment(name="rest", methods=["*"])
STICKY = experiment(target(rate=0.5), name="sticky", methods=["*"], sampling={"by": {"field": "request_id"}})


def choose(request: bytes | None, *experiments: ExperimentSettings, method: str = GENERATE) -> Choice:
    ticket = LiveGate(experiments, lambda _: None).decide(method, (), bytes, lambda: 1)
    assert ticket is not None
    assert ticket.undecided is not None
    return Chooser(method_map).choose(ticket.undecided, request)


def said(choice: Choice) -> tuple[str | None, list[tuple[str, str]]]:
    """Return the name of whose call it is, and of those it is not, each with the reason."""
    plan, _, passed_over = choice
    return (None if plan is None else plan.name), [(one.name, reason.value) for one, reason in passed_over]


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("llama-3-8b", ("llama", [])),
        ("mistral", ("mistral", [("llama", "other_model")])),
        ("mistral-7b", ("rest", [("llama", "other_model"), ("mistral", "other_model")])),
        ("", ("rest", [("llama", "other_model"), ("mistral", "other_model")])),
    ],
)
def test_the_first_experiment_that_wants_the_model_gets_the_call(
    model: str, expected: tuple[str, list[tuple[str, str]]]
) -> None:
    assert said(choose(request(model=model), LLAMA, MISTRAL, REST)) == expected
    assert said(choose(request(model=model), LLAMA, MISTRAL, REST, method=CONVERSE)) == expected


def test_a_call_whose_model_nobody_wants_is_nobodys() -> None:
    assert said(choose(request(model="gpt"), LLAMA, MISTRAL)) == (
        None,
        [("llama", "other_model"), ("mistral", "other_model")],
    )


@pytest.mark.parametrize("data", [b"\xff", None])
def test_of_a_request_that_nobody_can_read_it_is_unknown_whose_it_is_and_whoever_asks_nothing_gets_it(
    data: bytes | None,
) -> None:
    unknown = [("llama", "unknown_model"), ("mistral", "unknown_model")]
    assert said(choose(data, LLAMA, MISTRAL)) == (None, unknown)
    assert said(choose(data, LLAMA, MISTRAL, REST)) == ("rest", unknown)


def test_a_request_that_would_take_too_long_to_read_is_one_that_nobody_can_read() -> None:
    # Unknown fields of two bytes each, which no map asks for.
    small, large = (request(model="llama-3") + b"\xc0\x3e\x00" * (size // 3) for size in (1000, MOST_READ))
    assert said(choose(small, LLAMA)) == ("llama", [])
    assert said(choose(large, LLAMA, REST)) == ("rest", [("llama", "unknown_model")])


def test_a_method_without_a_map_cannot_be_read_whatever_its_bytes_say() -> None:
    assert said(choose(request(model="llama-3"), LLAMA, REST, method=RAW)) == ("rest", [("llama", "unknown_model")])
    raw = experiment(name="raw", methods=["*"], protocol="raw", when={"models": ["llama-*"]})
    assert said(choose(request(model="llama-3"), raw, LLAMA)) == ("llama", [("raw", "unknown_model")])


@pytest.mark.parametrize(
    ("field", "data", "key"),
    [
        ("request_id", request("ada"), "ada"),
        ("seed", request(seed=0), 0),
        ("seed", request(), None),
        ("sampling.temperature", request(sampling=messages.SamplingParameters(temperature=0.5)), 0.5),
        ("tools[*].name", request(tools=[messages.Tool(name="a"), messages.Tool(name="b")]), "a"),
        ("tools[*].name", request(), None),
        ("request_id", b"\xff", None),
        ("request_id", None, None),
    ],
)
def test_the_key_is_the_first_value_of_the_field_and_none_where_there_is_none(
    field: str, data: bytes | None, key: str | float | None
) -> None:
    one = experiment(target(rate=0.5), name="sticky", sampling={"by": {"field": field}})
    choice = choose(data, one)
    assert choice.plan is not None
    assert (choice.plan.name, choice.key) == ("sticky", key)


def test_the_key_is_that_of_whoever_gets_the_call() -> None:
    mine = experiment(target(rate=0.5), name="mine", sampling={"by": {"field": "prompt"}}, when={"models": ["llama-*"]})
    for model, name, key in (("llama-3", "mine", "hello"), ("gpt", "sticky", "ada")):
        choice = choose(request("ada", model=model, prompt="hello"), mine, STICKY)
        assert choice.plan is not None
        assert (choice.plan.name, choice.key) == (name, key)


def test_a_field_that_a_method_does_not_have_is_a_missing_key_there() -> None:
    one = experiment(target(rate=0.5), name="sticky", methods=["*"], sampling={"by": {"field": "prompt"}})
    assert choose(request(prompt="hello"), one).key == "hello"
    assert choose(b"", one, method=INGEST).key is None


def test_a_request_is_parsed_once_for_all_who_read_it_alike() -> None:
    read: list[bytes] = []

    class Counting:
        def __init__(self, inner: MethodMap) -> None:
            self.request = inner.request
            self.request_descriptor = inner.request_descriptor
            self._inner = inner

        def parse_request(self, data: bytes) -> Any:
            read.append(data)
            return self._inner.parse_request(data)

    known = method_map(GENERATE)
    assert known is not None
    counting: Any = Counting(known)
    gate = LiveGate((LLAMA, MISTRAL, STICKY), lambda _: None)
    ticket = gate.decide(GENERATE, (), bytes, lambda: 1)
    assert ticket is not None
    assert ticket.undecided is not None
    choice = Chooser(lambda method, protocol: counting).choose(ticket.undecided, request("ada", model="gpt"))
    assert choice.key == "ada"
    assert len(read) == 1


def test_names_of_methods_that_clients_make_up_are_not_remembered() -> None:
    chooser = Chooser(method_map)
    gate = LiveGate((LLAMA,), lambda _: None)
    for number in range(100):
        ticket = gate.decide(f"/acme.Model/Method{number}", (), bytes, lambda: 1)
        assert ticket is not None
        assert ticket.undecided is not None
        assert chooser.choose(ticket.undecided, b"").passed_over[0][1] == DropReason.UNKNOWN_MODEL
    assert not chooser._asked


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"when": {"models": ["llama-*"]}}, None),
        ({"when": {"models": ["llama-*"]}, "methods": ["*"]}, None),
        ({"when": {"models": ["llama-*"]}, "methods": [RAW]}, "when.models"),
        ({"when": {"models": ["llama-*"]}, "protocol": "raw"}, "when.models"),
        ({"sampling": {"by": {"field": "request_id"}}}, None),
        ({"sampling": {"by": {"field": "prompt"}}, "methods": [INGEST]}, "sampling.by.field"),
        ({"sampling": {"by": {"field": "sampling"}}}, "sampling.by.field"),
        ({"sampling": {"by": {"field": "sesion.id"}}}, "sampling.by.field"),
        ({"sampling": {"by": {"field": "request_id"}}, "protocol": "raw"}, "sampling.by.field"),
        ({"sampling": {"by": {"metadata": "x-user"}}, "protocol": "raw"}, None),
    ],
)
def test_a_choice_that_no_request_could_make_is_found_at_the_start(facts: dict[str, Any], expected: str | None) -> None:
    one = experiment(**facts)
    found = misfit(one, builtin().mapped_methods(one.protocol))
    assert (found and found[0]) == expected
