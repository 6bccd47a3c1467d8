"""What the live side says of calls that are drawn, and of the sessions they are of."""

from __future__ import annotations

import random
from typing import Any

import pytest
from support.experiments import GENERATE, experiment, target
from support.hand_overs import HandOvers
from support.wire import request

from shadowmesh.mirror.frames import Begin
from shadowmesh.model import Metadata
from shadowmesh.policy.draws import Drawn, DrawnKey
from shadowmesh.policy.experiment import ExperimentSettings
from shadowmesh.policy.sampling import session_bucket
from shadowmesh.rpc import Arity

HALF, MORE = experiment(target(rate=0.5)), experiment(target(rate=0.9))


def called(them: HandOvers, times: int = 1, metadata: Metadata = ()) -> int:
    """Make calls, and return how many were taken."""
    taken = 0
    for _ in range(times):
        ticket = them.live.decide(GENERATE, metadata)
        if ticket is not None:
            them.live.begin(ticket, GENERATE, Arity.UNARY_UNARY, metadata, request(), None)
            taken += 1
    return taken


def key(settings: ExperimentSettings) -> DrawnKey:
    return DrawnKey("summaries", "candidate", settings.digest)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    random.seed(2)


def test_a_call_is_among_the_taken_ones_before_anybody_has_taken_it_over() -> None:
    them = HandOvers(HALF)
    taken = called(them, 200)
    assert 70 < taken < 130
    assert them.live.figures.draws() == {key(HALF): Drawn(200, taken, 100.0)}
    assert sum(them.lines().values()) == 200 - taken, "the funnel counts what is taken when its exchange begins"
    them.settle()
    assert sum(them.lines().values()) == 200


def test_after_a_reload_the_draws_of_the_configuration_in_force_are_told() -> None:
    them = HandOvers(HALF)
    called(them, 10)
    them.live.reload((MORE,))
    assert not them.live.figures.draws()
    taken = called(them, 10)
    assert them.live.figures.draws() == {key(MORE): Drawn(10, taken, 10 * 0.9)}
    them.live.reload((HALF,))
    assert them.live.figures.draws()[key(HALF)].eligible == 10
    them.settle()


def test_a_forked_process_draws_anew() -> None:
    them = HandOvers(HALF)
    called(them, 10)
    them.settle()
    them.live.forked()
    assert not them.live.figures.draws()


@pytest.mark.parametrize(
    ("by", "metadata", "session"),
    [
        ({"metadata": "x-user"}, (("x-user", "u-1"),), session_bucket("summaries", "u-1")),
        ({"metadata": "x-user"}, (), None),
        ("trace", (("traceparent", f"00-{'a' * 32}-{'b' * 16}-01"),), session_bucket("summaries", "a" * 32)),
        ("call", (("x-user", "u-1"),), None),
    ],
)
def test_the_bucket_of_a_session_crosses_and_who_it_is_does_not(
    by: Any, metadata: Metadata, session: int | None
) -> None:
    them = HandOvers(experiment(sampling={"by": by}))
    assert called(them, 1, metadata) == 1
    them.settle()
    ((begin, *_),) = them.known.values()
    assert isinstance(begin, Begin)
    assert begin.session == session
    assert begin.metadata == ()
