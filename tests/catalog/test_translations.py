"""Every built-in protocol against every other: a request goes over whole and is read back the same, or says why not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.dialects import CALLS, UNSHADOWABLE

from shadowmesh.catalog.builtin import builtin
from shadowmesh.protocols import wire
from shadowmesh.protocols.generate_map import Generate
from shadowmesh.protocols.generate_read import read_generation, stated
from shadowmesh.protocols.generate_write import write_generation
from shadowmesh.protocols.generation import DECISIVE, FORMS, PARAMETERS, Generation, Refusal, Turn
from shadowmesh.protocols.protocol_map import MethodMap
from shadowmesh.protocols.translation import Terms, Translator

Way = tuple[str, str, str]
"""Protocol, method and preset."""
WAYS: dict[Way, tuple[MethodMap, Generate]] = {
    (protocol, method, preset): (method_map, way)
    for protocol, maps in builtin().protocols.items()
    for method, method_map in maps.items()
    for preset, way in method_map.generates.items()
}
PROTOCOLS = sorted({protocol for protocol, _, _ in WAYS})
AGREED = Terms(same_tokenizer=True, defaults=dict.fromkeys(DECISIVE, "unset"), model="m")
PLAIN: dict[str, Generation] = {
    "text": Generation(text="hello", model="m"),
    "ids": Generation(ids=(1, 2, 3), model="m"),
    "turns": Generation(turns=(Turn("system", ("be brief",)), Turn("user", ("hello",))), model="m"),
}


def written(way: Generate, asked: Generation) -> bytes | None:
    """Return what a client of this protocol would send, ``None`` where it could not say it."""
    if asked.form not in way.forms or any(name not in way.parameters for name in asked.parameters):
        return None
    if asked.parameters.get("top_k") == 0 and way.settings.every is None:
        return None
    said = {name: idle for name in way.settings.said if (idle := PARAMETERS[name].idle) is not None}
    data = write_generation(way, asked, {**said, **asked.parameters}, asked.model)
    return data if isinstance(data, bytes) else None


def read(way: Way, data: bytes) -> Generation | Refusal:
    method_map, generate = WAYS[way]
    message = method_map.parse_request(data)
    assert message is not None
    return read_generation(generate, data, message)


def translated(live: Way, target: Way, data: bytes, terms: Terms = AGREED) -> bytes | Refusal:
    method_map, _ = WAYS[live]
    message = method_map.parse_request(data)
    assert message is not None
    translator = Translator(tuple(method_map.generates.values()), WAYS[target][1], terms)
    again = translator(data, message)
    assert again == translator(data, message)
    return again


def rounded(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters as a protocol of 32-bit floats has them."""
    return {name: float(np.float32(one)) if isinstance(one, float) else one for name, one in parameters.items()}


def test_every_protocol_that_generates_takes_part() -> None:
    assert sorted(set(builtin().protocols) - {"tei"}) == PROTOCOLS


@pytest.mark.parametrize("live", PROTOCOLS)
@pytest.mark.parametrize("target", PROTOCOLS)
def test_every_pair_translates_or_says_why_not(live: str, target: str) -> None:
    forms = {form for (protocol, _, _), (_, way) in WAYS.items() if protocol == live for form in way.forms}
    for asking, (_, way) in WAYS.items():
        for taking, (_, other) in WAYS.items():
            if (asking[0], taking[0]) != (live, target):
                continue
            for form in forms & way.forms:
                asked = Generation(
                    text=PLAIN[form].text,
                    ids=PLAIN[form].ids,
                    turns=PLAIN[form].turns,
                    model="m",
                    parameters={"max_tokens": 8} if "max_tokens" in way.parameters else {},
                )
                data = written(way, asked)
                assert data is not None
                found = translated(asking, taking, data)
                if form not in other.forms:
                    assert found == Refusal(f"no place for {FORMS[form]} in {target}")
                elif isinstance(found, Refusal):
                    assert any(name in found.reason for name in DECISIVE)
                else:
                    back = read(taking, found)
                    assert isinstance(back, Generation)
                    assert (back.text, back.ids, back.turns) == (asked.text, asked.ids, asked.turns)
                    assert asked.parameters.items() <= back.parameters.items()


_TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
_NUMBERS: dict[str, st.SearchStrategy[Any]] = {
    "max_tokens": st.integers(1, 2**31 - 1),
    # No protocol of 32-bit floats has more, and what is nearly nothing there is nothing.
    "temperature": st.sampled_from([0.0, 0.1, 0.7, 1.0, 2.0]),
    "top_p": st.floats(0.01, 1),
    "top_k": st.integers(0, 100),
    "min_p": st.floats(0.01, 1),
    "seed": st.integers(0, 2**31 - 1),
    "n": st.integers(2, 8),
    "stop_sequences": st.lists(_TEXT, min_size=1, max_size=3).map(tuple),
    "stop_token_ids": st.lists(st.integers(1, 2**31 - 1), min_size=1, max_size=3).map(tuple),
    "min_tokens": st.integers(1, 9),
    "ignore_eos": st.just(True),
    "frequency_penalty": st.floats(0.01, 2),
    "presence_penalty": st.floats(0.01, 2),
    "repetition_penalty": st.floats(1.01, 2),
}


@st.composite
def _asked(draw: st.DrawFn, way: Generate) -> Generation:
    form = draw(st.sampled_from(sorted(way.forms)))
    ids = tuple(draw(st.lists(st.integers(1, 2**31 - 1), min_size=1, max_size=4)))
    texts = draw(st.lists(_TEXT, min_size=1, max_size=3))
    roles = ("user", "assistant")
    turns = tuple(Turn(roles[at % 2], (text,)) for at, text in enumerate(texts))
    if draw(st.booleans()):
        turns = (Turn("system", ("be brief",)), *turns)
    names = draw(st.lists(st.sampled_from(sorted(_NUMBERS)), unique=True))
    parameters: dict[str, Any] = {name: draw(_NUMBERS[name]) for name in sorted(names) if name in way.parameters}
    if parameters.get("top_k") == 0 and way.settings.every is None:
        del parameters["top_k"]
    for name in way.settings.said:
        if name in DECISIVE:
            parameters.setdefault(name, draw(_NUMBERS[name]))
    return Generation(
        text=texts[0] if form == "text" else None,
        ids=ids if form == "ids" else None,
        turns=turns if form == "turns" else None,
        model="m",
        stream=draw(st.booleans()),
        parameters=parameters,
    )


@pytest.mark.parametrize("way", sorted(WAYS), ids="-".join)
@settings(max_examples=30)
@given(st.data())
def test_what_is_asked_is_read_back(way: Way, data: st.DataObject) -> None:
    asked = data.draw(_asked(WAYS[way][1]))
    sent = written(WAYS[way][1], asked)
    assert sent is not None
    back = read(way, sent)
    assert isinstance(back, Generation)
    assert (back.text, back.ids, back.turns) == (asked.text, asked.ids, asked.turns)
    known = {name: one for name, one in back.parameters.items() if name != "keep_stop_token"}
    wanted = rounded(stated(dict(asked.parameters)))
    # What is said in any case may be more than was asked; a protocol that is told to be greedy says a temperature.
    assert {name: rounded(known)[name] for name in wanted} == wanted
    told = {*WAYS[way][1].settings.said, *(("temperature",) if WAYS[way][1].greedy is not None else ())}
    assert known.keys() - wanted.keys() <= told


@pytest.mark.parametrize("live", sorted(WAYS), ids="-".join)
@settings(max_examples=30)
@given(st.data())
def test_what_goes_over_is_the_same_question(live: Way, data: st.DataObject) -> None:
    target = data.draw(st.sampled_from(sorted(WAYS)))
    asked = data.draw(_asked(WAYS[live][1]))
    sent = written(WAYS[live][1], asked)
    assert sent is not None
    before, found = read(live, sent), translated(live, target, sent)
    if isinstance(found, Refusal):
        assert found.reason
        return
    after = read(target, found)
    assert isinstance(before, Generation)
    assert isinstance(after, Generation)
    assert (after.text, after.ids, after.turns) == (before.text, before.ids, before.turns)
    wanted = rounded(before.parameters)
    wanted.pop("keep_stop_token", None)
    if "top_k" not in WAYS[target][1].parameters:
        # Where nobody can ask for it every token is kept, and that is all that may have been asked.
        assert wanted.pop("top_k", 0) == 0
    assert {name: rounded(after.parameters).get(name) for name in wanted} == wanted


def _requests() -> dict[str, list[bytes]]:
    found: dict[str, list[bytes]] = {}
    for spoken in CALLS.values():
        found.setdefault(spoken.protocol, []).extend(one.SerializeToString() for one in spoken.requests)
    for name, (_, message) in UNSHADOWABLE.items():
        found[name.partition(":")[0]].append(message.SerializeToString())
    return found


REQUESTS = _requests()


@pytest.mark.parametrize("live", sorted(way for way in WAYS if way[0] in REQUESTS), ids="-".join)
@settings(max_examples=30)
@given(st.data())
def test_no_bytes_make_a_translation_raise(live: Way, data: st.DataObject) -> None:
    one, two = (data.draw(st.sampled_from(REQUESTS[live[0]])) for _ in range(2))
    cut = data.draw(st.integers(0, len(one)))
    torn = one[:cut] + data.draw(st.binary(max_size=12)) + data.draw(st.sampled_from([b"", two, one[cut:]]))
    method_map, _ = WAYS[live]
    message = method_map.parse_request(torn)
    if message is not None:
        target = data.draw(st.sampled_from(sorted(WAYS)))
        translator = Translator(tuple(method_map.generates.values()), WAYS[target][1], AGREED)
        found = translator(torn, message)
        assert isinstance(found, bytes | Refusal)


@pytest.mark.parametrize("live", sorted(WAYS), ids="-".join)
def test_a_field_that_nobody_knows_refuses(live: Way) -> None:
    _, way = WAYS[live]
    form = min(way.forms)
    asked = Generation(
        text=PLAIN[form].text, ids=PLAIN[form].ids, turns=PLAIN[form].turns, model="m", parameters=_said(way)
    )
    data = written(way, asked)
    assert data is not None
    assert isinstance(read(live, data), Generation)
    for strange in (wire.field(9000, b"secret"), b"\x80\xf7\x02\x01"):
        found = read(live, data + strange)
        assert isinstance(found, Refusal)
        assert found.reason.endswith("is not translated")
        assert "secret" not in found.reason


def _said(way: Generate) -> dict[str, Any]:
    return {name: 8 for name in way.settings.said if name == "max_tokens"} | {
        name: 0.5 for name in way.settings.said if name == "temperature"
    }


def test_reasons_never_quote_a_request() -> None:
    for live, (method_map, _) in WAYS.items():
        for data in REQUESTS.get(live[0], []):
            message = method_map.parse_request(data)
            if message is None:
                # That of another method of the protocol.
                continue
            for _, target in WAYS.values():
                found = Translator(tuple(method_map.generates.values()), target, AGREED)(data, message)
                if isinstance(found, Refusal):
                    assert "hello" not in found.reason
                    assert "llm" not in found.reason.replace("vllm", "").replace("trtllm", "")


def test_json_that_is_none_is_no_request() -> None:
    way = ("oip_triton", "/inference.GRPCInferenceService/ModelInfer", "vllm")
    _, generate = WAYS[way]
    data = written(generate, Generation(text="hello", model="m", parameters={"max_tokens": 8}))
    assert data is not None
    good = json.dumps({"max_tokens": 8}, separators=(",", ":")).encode()
    assert data.count(good) == 1
    for bad in (b'{"max_tokens":[}', b'{"max_token" :8}', b'{"max_tokens":x}'):
        assert len(bad) == len(good)
        assert isinstance(read(way, data.replace(good, bad)), Refusal)
