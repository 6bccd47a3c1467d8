"""Settings of the harm guard."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from shadowmesh.settings import Seconds, Settings


class HarmGuardSettings(Settings):
    """
    When mirroring has to stop itself.

    It is on by default: it costs one call in twenty its shadow and well under a microsecond per sampled call, and
    without it nobody notices what mirroring does to live calls.

    Args:
        enabled: without it no slot is off, nothing is compared and mirroring never stops itself.
        slot: how long mirroring stays on or off at a stretch. A call that outlasts its slot meets the mirroring of
            the next, which hides harm (and never feigns it): choose several times what a usual call takes.
        one_off_in: one slot of so many, drawn anew for each block of that many, is off; 20 switches off 5 %. Harm
            is judged once per block, so a long slot or a large number finds it later.
        alpha: the chance that a mirroring that does no harm is ever stopped, over the life of one process and all
            looks together; split evenly over latency and errors. A fleet of a thousand processes at 0.001 sees one.
        quantile: a call is slow when it takes longer than this share of earlier calls.
        latency_margin: slowing of calls by up to this share is no harm.
        latency_floor: nor is slowing by up to so much more; mirroring does cost microseconds, and a call that takes
            less than a millisecond should not be guarded against them.
        error_margin: nor is a share of calls up to this that fail and would not have.
    """

    enabled: bool = True
    slot: Annotated[Seconds, Field(ge=0.01, le=3600)] = 2.0
    one_off_in: Annotated[int, Field(strict=True, ge=4, le=100)] = 20
    alpha: Annotated[float, Field(strict=True, gt=0, le=0.5, allow_inf_nan=False)] = 0.001
    quantile: Annotated[float, Field(strict=True, ge=0.5, le=0.999, allow_inf_nan=False)] = 0.9
    latency_margin: Annotated[float, Field(strict=True, ge=0, le=10, allow_inf_nan=False)] = 0.05
    latency_floor: Seconds = 0.001
    error_margin: Annotated[float, Field(strict=True, ge=0, le=0.1, allow_inf_nan=False)] = 0.005
