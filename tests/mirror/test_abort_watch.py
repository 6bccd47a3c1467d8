"""Which methods end others, and what the live side hands over of their clients' requests."""

from __future__ import annotations

from typing import Any

import pytest
from support.experiments import experiment

from shadowmesh.catalog.builtin import mapped_methods
from shadowmesh.mirror.abort_watch import MOST_BYTES, AbortWatch
from shadowmesh.mirror.admission import HandOver
from shadowmesh.mirror.frames import Abort, Aborted
from shadowmesh.mirror.tap import Room
from shadowmesh.telemetry.faults import Faults

VLLM, TRTLLM = "/vllm.grpc.engine.VllmEngine/", "/trtllm.TrtllmService/"
TOLD = {"abort: a client's was not handed over": 1}


class Carrier:
    """Takes frames, or does not; nothing else of it is asked for."""

    def __init__(self, takes: Any = True, *, bound: bool = True) -> None:
        self.bound = bound
        self.frames: list[HandOver] = []
        self._takes = takes

    def offer(self, frame: HandOver, room: Room) -> bool:
        assert room is Room.MORE
        self.frames.append(frame)
        if isinstance(self._takes, Exception):
            raise self._takes
        return bool(self._takes)


def watch(*methods: str, carrier: Carrier | None = None, **more: Any) -> tuple[AbortWatch, Faults]:
    faults = Faults()
    found = AbortWatch(mapped_methods, faults)
    found.rule([experiment(methods=list(methods), **more)] if methods else [])
    if carrier is not None:
        found.attach(carrier)  # type: ignore[arg-type]
    return found, faults


@pytest.mark.parametrize(
    ("methods", "more", "expected"),
    [
        ([VLLM + "Generate"], {}, {VLLM + "Abort"}),
        ([VLLM + "*"], {}, {VLLM + "Abort"}),
        ([VLLM + "Embed", TRTLLM + "Generate"], {}, {VLLM + "Abort", TRTLLM + "Abort"}),
        ([VLLM + "Abort"], {}, set()),
        ([VLLM + "Generate"], {"protocol": "vllm_smg"}, {VLLM + "Abort"}),
        ([VLLM + "Generate"], {"protocol": "raw"}, set()),
        (["/vllm.Inference/Generate"], {}, set()),
        (["/openengine.v1.Inference/*"], {}, {"/openengine.v1.Control/Abort"}),
    ],
)
def test_it_looks_at_what_ends_calls_that_are_mirrored(
    methods: list[str], more: dict[str, Any], expected: set[str]
) -> None:
    assert watch(*methods, **more)[0].methods == expected


def test_after_a_reload_it_still_looks_at_what_ends_the_calls_under_way() -> None:
    found, _ = watch(VLLM + "Generate")
    found.rule([experiment(methods=[TRTLLM + "Generate"])])
    assert found.methods == {VLLM + "Abort", TRTLLM + "Abort"}
    found.rule([])
    assert found.methods == {TRTLLM + "Abort"}
    found.rule([])
    assert found.methods == frozenset()


def test_a_request_is_handed_over_as_it_came() -> None:
    carrier = Carrier()
    found, faults = watch(VLLM + "Generate", carrier=carrier)
    found.tell(VLLM + "Abort", b"\xff", 7)
    assert carrier.frames == [Abort(0, 7, VLLM + "Abort", b"\xff")]
    assert faults.totals() == {}


@pytest.mark.parametrize("carrier", [None, Carrier(bound=False)])
def test_where_nothing_was_ever_mirrored_nothing_is_said(carrier: Carrier | None) -> None:
    found, faults = watch(VLLM + "Generate", carrier=carrier)
    found.tell(VLLM + "Abort", b"", 7)
    assert (faults.totals(), carrier.frames if carrier is not None else []) == ({}, [])


def test_what_nobody_takes_is_counted_and_so_is_what_is_too_large_to_be_offered() -> None:
    carrier = Carrier(takes=False)
    found, faults = watch(VLLM + "Generate", carrier=carrier)
    found.tell(VLLM + "Abort", b"", 7)
    assert faults.totals() == TOLD
    found, faults = watch(VLLM + "Generate", carrier=Carrier())
    found.tell(VLLM + "Abort", b"x" * (MOST_BYTES + 1), 7)
    assert faults.totals() == TOLD


def test_nothing_is_raised_into_a_live_call() -> None:
    found, faults = watch(VLLM + "Generate", carrier=Carrier(takes=OSError("broken")))
    found.tell(VLLM + "Abort", b"", 7)
    assert faults.totals() == {"abort: OSError": 1}


def test_what_came_of_them_is_counted() -> None:
    found, _ = watch()
    for times in (1, 2):
        found.hear(Aborted(0, "x", "candidate", "asked", times))
    assert found.totals() == {("x", "candidate", "asked"): 3}
