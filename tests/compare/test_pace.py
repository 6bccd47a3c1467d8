"""How fast the tokens of a stream came."""

from __future__ import annotations

from typing import Any

import pytest
from support.legs import lasting, live, usage

from shadowmesh.compare.pace import Pace, pace_of


def test_the_first_chunk_is_taken_off_the_time_and_the_first_token_off_the_tokens() -> None:
    leg = live(**lasting(1.25), time_to_first_chunk=0.25, fields=usage(3, 5))
    assert pace_of(leg) == Pace(per_token=0.25, rate=5.0)


def test_what_a_slow_client_stalled_is_not_the_models_time() -> None:
    leg = live(**lasting(2.25), write_stall=1.0, time_to_first_chunk=0.25, fields=usage(3, 5))
    assert pace_of(leg) == Pace(per_token=0.25, rate=5.0)


@pytest.mark.parametrize(
    "facts",
    [
        {"time_to_first_chunk": None, "fields": usage(3, 5)},
        {"time_to_first_chunk": 0.1, "fields": usage(3, None)},
        {"time_to_first_chunk": 0.1, "fields": usage(3, 1)},
        {"time_to_first_chunk": 0.2, "fields": usage(3, 5)},
    ],
    ids=["no stream", "no count", "one token", "all at once"],
)
def test_there_is_none_without_two_tokens_and_a_time_between_them(facts: dict[str, Any]) -> None:
    assert pace_of(live(**lasting(0.2), **facts)) is None
