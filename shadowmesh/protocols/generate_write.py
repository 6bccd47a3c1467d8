"""What a request asks → a request of a method's own, byte for byte the same each time."""

from __future__ import annotations

from collections.abc import Mapping

from shadowmesh.protocols.generate_map import Generate
from shadowmesh.protocols.generation import ALL, LISTS, PARAMETERS, Generation, Refusal, UnfitError, Value
from shadowmesh.protocols.places import Draft, Place, write_json


def write_generation(
    generate: Generate, asked: Generation, parameters: Mapping[str, Value], model: str
) -> bytes | Refusal:
    """
    Return the request.

    Args:
        asked: what is asked, in a form that the method has.
        parameters: those that are written, each of which has a place.
        model: the model asked for, empty for none.
    """
    draft = Draft(generate.message())
    name = "the prompt"
    try:
        _write_prompt(generate, asked, draft)
        name = "the model"
        _write(generate.model if model else None, draft, model)
        name = "stream"
        _write(generate.stream, draft, asked.stream)
        for name, value in parameters.items():
            _write_parameter(generate, name, value, draft)
        _write_greedy(generate, parameters, draft)
        for place, fixed in generate.fixed:
            _write(place, draft, fixed)
        write_json(draft)
        data: bytes = draft.message.SerializeToString(deterministic=True)
    except (ValueError, TypeError, OverflowError) as error:
        if isinstance(error, UnfitError):
            return Refusal(f"no place for {error} in {generate.protocol}")
        return Refusal(f"{name} does not fit into {generate.protocol}")
    return data


def _write_prompt(generate: Generate, asked: Generation, draft: Draft) -> None:
    if asked.text is not None and generate.text is not None:
        generate.text.write(draft, [asked.text])
    if asked.ids is not None and generate.ids is not None:
        generate.ids.write(draft, asked.ids)
    if asked.turns is not None and generate.turns is not None:
        generate.turns.write(draft, asked.turns)


def _write_parameter(generate: Generate, name: str, value: Value, draft: Draft) -> None:
    place = generate.parameters[name]
    if PARAMETERS[name].kind in LISTS and isinstance(value, tuple):
        place.write(draft, value)
    elif name == "top_k" and value == ALL and generate.settings.every is not None:
        _write(place, draft, generate.settings.every)
    else:
        _write(place, draft, value)


def _write_greedy(generate: Generate, parameters: Mapping[str, Value], draft: Draft) -> None:
    rule = generate.settings.greedy
    if rule is not None:
        _write(generate.greedy, draft, rule.greedy if parameters.get("temperature") == 0 else rule.sampled)


def _write(place: Place | None, draft: Draft, value: Value) -> None:
    if place is not None:
        place.write(draft, [value])
