"""The carrier ``thread`` when its engine cannot be made."""

from __future__ import annotations

import pytest
from support.experiments import CONVERSE, GENERATE, experiment

from shadowmesh.mirror.carrier import Consumer, MirrorSettings, Receive
from shadowmesh.mirror.live import LiveSide
from shadowmesh.mirror.thread import ThreadCarrier
from shadowmesh.names import CallEnd, DropReason
from shadowmesh.policy.experiment import ExperimentSettings
from shadowmesh.rpc import Arity
from shadowmesh.telemetry.faults import Faults


@pytest.mark.parametrize("one", [experiment(), experiment(when={"models": ["llama-*"]})], ids=["settled", "undecided"])
def test_what_was_handed_over_while_it_was_tried_is_counted_and_given_back(one: ExperimentSettings) -> None:
    settings = MirrorSettings.model_validate({"harm_guard": {"enabled": False}})
    live = LiveSide((one,), settings, faults=Faults())

    def make(reply: Receive) -> Consumer:
        """Fail, but not before other threads have had their calls."""
        for method, arity in ((GENERATE, Arity.UNARY_UNARY), (CONVERSE, Arity.STREAM_STREAM)):
            ticket = live.decide(method, ())
            assert ticket is not None
            tap = live.begin(ticket, method, arity, (), b"request" if method == GENERATE else None, None)
            tap.request(b"request", 1)
            tap.response(b"answer", 2)
            tap.done(3, "OK", CallEnd.COMPLETED)
        assert live.credit_taken() > 0
        raise RuntimeError("no engine")

    live.attach(ThreadCarrier(make, live.receive, first=(), queue_items=9, admit=live.admit))
    live.start()
    assert live.figures.funnel() == {("summaries", "candidate", "dropped", DropReason.NOT_RECORDED): 2}
    assert live.credit_taken() == 0
    assert live.figures.active() == {("summaries", "candidate"): 0}
    assert live.queued() == 0
