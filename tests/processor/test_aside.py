"""What fails here for a fault of ours, however often it is sent, holds up nothing and is known to be lost."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from opentelemetry.sdk.resources import Resource
from support.judging import judging
from support.legs import T0, live, shadow
from support.otlp import legs_request
from support.receiving import FORMS, Client, ScriptedIntake, receiving

from shadowmesh import names
from shadowmesh.errors import SetAsideError
from shadowmesh.model import Cost, Leg
from shadowmesh.names import CostSource
from shadowmesh.pricing import Pricing
from shadowmesh.processor.aside import Aside
from shadowmesh.processor.decode import Spans
from shadowmesh.processor.decoded import NOTHING, Decoded
from shadowmesh.processor.intake import Accepted, Signal
from shadowmesh.processor.keeper import Keeper
from shadowmesh.processor.pipeline import Pipeline, Put
from shadowmesh.processor.settings import ProcessorSettings
from shadowmesh.store.records import Added, Content, PairRecord
from shadowmesh.telemetry.faults import Faults
from shadowmesh.testing import FakeClock

POISON = legs_request([live("poison")])
WELL = legs_request([live(), shadow()])


class Broken(Pipeline):
    """A pipeline with a fault: it cannot read what it reads everywhere else."""

    def decode(self, signal: Signal, request: bytes) -> Decoded:
        if request == POISON:
            raise ZeroDivisionError
        return super().decode(signal, request)


class BrokenPrices(Pricing):
    """Prices with a fault, at one pair."""

    def cost(self, leg: Leg, *, source: CostSource) -> Cost | None:
        if leg.pair_id == "poison":
            raise ZeroDivisionError
        return super().cost(leg, source=source)


def made(put: Put, faults: Faults, *, kind: type[Pipeline] = Pipeline, pricing: Pricing | None = None) -> Pipeline:
    return kind(
        ProcessorSettings(),
        pricing=pricing or Pricing(()),
        resource=Resource({}),
        put=put,
        emit_span=None,
        monotonic_ns=FakeClock(),
        wall_ns=FakeClock(T0),
        faults=faults,
    )


@asynccontextmanager
async def keeping(
    kind: type[Pipeline] = Broken, *, faults: Faults | None = None, pricing: Pricing | None = None
) -> AsyncIterator[Keeper]:
    """Run a keeper in the current directory."""

    def put(item: PairRecord | Content, position: int) -> None:
        keeper.put(item, position)

    faults = faults or Faults()
    pipeline = made(put, faults, kind=kind, pricing=pricing)
    settings, wall = ProcessorSettings(), FakeClock(T0)
    keeper = Keeper(
        settings, pipeline, name="one", instance="i", judging=judging(settings, wall), faults=faults, wall_ns=wall
    )
    await keeper.open()
    try:
        yield keeper
    finally:
        await keeper.close()


def kept(directory: Path) -> list[bytes]:
    return [path.read_bytes() for path in (directory / "shadowmesh-data" / "aside").iterdir()]


async def test_a_request_that_fails_three_times_is_kept_for_people_counted_and_not_to_be_sent_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with keeping() as keeper:
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                await keeper.take(Signal.TRACES, POISON)
            assert await keeper.take(Signal.TRACES, WELL) == Accepted()
        for times in (1, 2):
            with caplog.at_level(logging.ERROR), pytest.raises(SetAsideError):
                await keeper.take(Signal.TRACES, POISON)
            assert keeper.gauges()[names.METRIC_RECEIVER_SET_ASIDE] == times
    (file,) = (tmp_path / "shadowmesh-data" / "aside").iterdir()
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (POISON, 0o600)
    assert [file.name in line for line in caplog.messages if line.startswith("a request")] == [True]


@pytest.mark.parametrize("form", FORMS)
async def test_its_sender_is_told_so_by_an_answer_after_which_nobody_tries_again(form: str) -> None:
    async with receiving(ScriptedIntake(SetAsideError("it failed again and again, and was set aside"))) as receiver:
        answer = await Client(receiver, form).send(Signal.TRACES, POISON if form != "json" else b"{}")
        assert answer.status == (grpc.StatusCode.INTERNAL if form == "grpc" else 500)
        assert (answer.message, answer.retry_after) == ("it failed again and again, and was set aside", None)
        assert receiver.requests.set_aside == 1


async def test_a_leg_that_fails_is_rejected_and_kept_while_the_legs_beside_it_are_taken(tmp_path: Path) -> None:
    request, faults = legs_request([live(), live("poison"), shadow()]), Faults()
    async with keeping(Pipeline, faults=faults, pricing=BrokenPrices(())) as keeper:
        accepted = await keeper.take(Signal.TRACES, request)
        assert accepted == Accepted(1, "1 legs failed here, and were set aside")
        assert await keeper.writer.drain(20)
    assert kept(tmp_path) == [request]
    assert faults.totals() == {"pairing: ZeroDivisionError": 1}


@pytest.mark.parametrize(("kind", "pricing"), [(Broken, Pricing(())), (Pipeline, BrokenPrices(()))])
async def test_a_record_of_the_journal_that_fails_is_kept_and_the_start_goes_on(
    tmp_path: Path, kind: type[Pipeline], pricing: Pricing
) -> None:
    # What an earlier version could read.
    async with keeping(Pipeline) as keeper:
        await keeper.take(Signal.TRACES, POISON)
        await keeper.take(Signal.TRACES, legs_request([live()]))
    async with keeping(kind, pricing=pricing) as keeper:
        assert keeper.gauges()[names.METRIC_RECEIVER_SET_ASIDE] == 1
        await keeper.take(Signal.TRACES, legs_request([shadow()]))
        assert await keeper.writer.drain(20)
        assert keeper.writer.waiting == 0
    assert kept(tmp_path) == [POISON]


async def test_what_has_no_room_is_counted_and_what_was_kept_before_stays(tmp_path: Path) -> None:
    faults = Faults()
    aside = Aside(tmp_path / "aside", faults=faults, files=2, size=10)
    for request in (b"1", b"2" * 10, b"2", b"3", b"1"):
        assert await aside.keep(Signal.LOGS, request)
    assert aside.requests == 5
    assert {path.read_bytes() for path in (tmp_path / "aside").iterdir()} == {b"1", b"2"}
    assert faults.totals() == {"aside: no room for a request that is set aside, which is lost": 2}


async def test_while_the_disk_fails_the_sender_keeps_it(tmp_path: Path) -> None:
    (tmp_path / "aside").write_text("")
    faults = Faults()
    aside = Aside(tmp_path / "aside", faults=faults)
    assert [await aside.failed(Signal.TRACES, b"x") for _ in range(4)] == [False] * 4
    (tmp_path / "aside").unlink()
    assert await aside.failed(Signal.TRACES, b"x")
    assert faults.totals() == {"aside: FileExistsError": 2}


async def test_only_the_last_failures_are_remembered(tmp_path: Path) -> None:
    aside = Aside(tmp_path, faults=Faults())
    for _ in range(3):
        for number in range(1500):
            assert not await aside.failed(Signal.TRACES, str(number).encode())


def test_a_pair_that_cannot_be_compared_ends_all_the_same_and_so_does_the_next() -> None:
    ended: list[Any] = []
    faults = Faults()
    pipeline = made(lambda item, _: ended.append(item), faults)
    # No decoder makes such a leg.
    legs = [live("wrong", time_to_first_chunk="soon"), shadow("wrong", time_to_first_chunk="soon")]
    legs += [live("p2"), shadow("p2")]
    assert pipeline.apply(NOTHING._replace(spans=Spans(legs, 0, 0, "", [1] * 4)), 0) == 0
    assert [item.comparison.outcome for item in ended] == ["not_comparable", "matched"]
    assert faults.totals() == {"compare: TypeError": 1}
    pipeline.stored(ended, Added([True, True]))
    (account,) = pipeline.accounts()
    assert account.outcomes == {"not_comparable": 1, "matched": 1}
