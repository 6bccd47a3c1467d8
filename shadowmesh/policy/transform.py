"""
Settings of what is changed in a request on its way to one target.

The live request is never touched. What a target is sent differs from it in the fields named here and in no byte more;
a request that cannot be changed, because nobody knows its fields or its bytes are no message, is not sent at all
(``unreadable``): an unchanged copy would measure something else.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from shadowmesh.settings import Settings

Path = Annotated[str, Field(min_length=1, max_length=256)]
Value = Annotated[bool | int | float | str, Field(union_mode="smart")]


class SystemPromptSettings(Settings):
    """
    What becomes of the system prompt: text put before it, or in its place.

    Of a conversation it is the system message at its head, or the instructions that stand apart from it; either is made
    if there is none. A request of plain text has no place for one: there both put the text before it. Nothing is added
    between the two, no space and no line.

    Args:
        prepend: text before it.
        replace: text in its place; empty for none.
    """

    prepend: Annotated[str, Field(min_length=1)] | None = None
    replace: str | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.prepend is None) is (self.replace is None):
            raise ValueError("one of prepend and replace")
        return self


class TransformSettings(Settings):
    """
    What is changed in every request message of every method that has the field.

    Args:
        model: the model asked for.
        system_prompt: text before or in place of the system prompt.
        temperature: of sampling.
        top_p: of sampling.
        max_tokens: the most tokens to generate.
        seed: of sampling, the same for every request.
        tools: ``drop`` leaves the tools out of the request.
        set_fields: values by path into the request message, for whatever else there is: ``sampling.top_k: 1``. A
            message around the field is made if it is missing, unless another one stands in its place (``oneof``).
            A value in JSON has a place of its own: ``json(json_body, chat_template_kwargs.thinking, bool)``.
        remove_fields: paths of fields that are left out; ``[*]`` for a repeated one. In JSON as in ``set_fields``.
    """

    model: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    system_prompt: SystemPromptSettings | None = None
    temperature: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    max_tokens: Annotated[int, Field(strict=True, ge=1)] | None = None
    seed: Annotated[int, Field(strict=True)] | None = None
    tools: Literal["drop"] | None = None
    set_fields: dict[Path, Value] = Field(default={})
    remove_fields: tuple[Path, ...] = ()

    def __bool__(self) -> bool:
        return self != _NOTHING

    @property
    def named(self) -> dict[str, str | float]:
        """What is set by the name a protocol map has for it."""
        found = {name: getattr(self, name) for name in ("model", "temperature", "top_p", "max_tokens", "seed")}
        return {name: value for name, value in found.items() if value is not None}


_NOTHING = TransformSettings()
