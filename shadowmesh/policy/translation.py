"""Settings of a target that speaks another protocol than the live server."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from shadowmesh.settings import Settings

UNSET: Literal["unset"] = "unset"
Unset = Literal["unset"]
Reals = Annotated[float, Field(strict=True, ge=0, allow_inf_nan=False)]
Counts = Annotated[int, Field(strict=True, ge=0)]
TokenizerName = Annotated[str, Field(min_length=1, max_length=128)]
"""A name of yours: where two are the same, a token id means the same."""


class UnsaidSettings(Settings):
    """
    What the live server does where a request does not say it; ``unset`` leaves it unsaid at the target as well, which
    is for servers that mean the same by it.

    Args:
        max_tokens: the most tokens to generate.
        temperature: of sampling.
        top_p: of sampling.
        top_k: of sampling; 0 keeps every token.
    """

    max_tokens: Annotated[int, Field(strict=True, ge=1)] | Unset | None = None
    temperature: Reals | Unset | None = None
    top_p: Annotated[float, Field(strict=True, gt=0, le=1)] | Unset | None = None
    top_k: Counts | Unset | None = None

    @property
    def named(self) -> dict[str, float | str]:
        """What is said, by name."""
        found: dict[str, float | str] = self.model_dump(exclude_none=True)
        return found


class TranslateSettings(Settings):
    """
    Another protocol that the target's requests are written in.

    A request that cannot be said whole in it is not sent (``untranslatable``): half of it would be another question.

    Args:
        protocol: what the target speaks.
        method: which of its methods is called; by default the first one that takes what the live method is asked with
            (text, token ids, a conversation), and whose answer is a stream where that one's is.
        preset: by which convention, where the protocol has several.
        tokenizer: what the target's tokenizer is called; token ids go over where the experiment's ``tokenizer`` has the
            same name.
        model: the model asked for, in place of the live request's.
        defaults: what the live server does where a request does not say.
    """

    protocol: str
    method: str | None = None
    preset: str | None = None
    tokenizer: TokenizerName | None = None
    model: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    defaults: UnsaidSettings = UnsaidSettings()
