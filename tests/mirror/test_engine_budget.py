"""A target that may cost no more, or whose time is over, gets nothing more, and everybody is told."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
from support.engines import Mirror, hang, mirror
from support.experiments import CONVERSE, experiment, target
from support.wire import last_delta, request, response

from shadowmesh.mirror.accounts import Accounts
from shadowmesh.mirror.assembly import make_accounts
from shadowmesh.mirror.budget_file import BudgetFile
from shadowmesh.mirror.carrier import MirrorSettings
from shadowmesh.mirror.frames import Drain, Frame, Left, Request, RequestEnd
from shadowmesh.mirror.judged_experiment import JudgedExperimentSettings
from shadowmesh.names import BudgetLimit, CallEnd, DropReason
from shadowmesh.policy.budget import Remaining
from shadowmesh.policy.self_check import marker
from shadowmesh.pricing import PriceSettings, Pricing
from shadowmesh.schema import messages
from shadowmesh.telemetry.faults import Faults
from shadowmesh.testing import Backend, FakeClock, ReceivedCall

BUDGET, BOX, OPEN = DropReason.BUDGET, DropReason.TIME_BOX, DropReason.CIRCUIT_OPEN
HOUR = 3600
# 2026-03-01T09:30:00Z
NOW = int(datetime(2026, 3, 1, 9, 30, tzinfo=UTC).timestamp()) * 1_000_000_000
# A call of 1000 + 500 tokens costs 1 + 1.
PRICE = PriceSettings.model_validate({"per_million_tokens": {"input": 1000, "output": 2000}})


class Model:
    """Answers with a usage, until told otherwise."""

    def __init__(self) -> None:
        self.usage: tuple[int, int] | None = (1000, 500)
        self.status = "OK"
        self.go = threading.Event()
        self.go.set()

    def __call__(self, call: ReceivedCall, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterable[bytes]:
        list(requests)
        self.go.wait(20)
        if self.status != "OK":
            context.abort(grpc.StatusCode[self.status], "as told")
        usage = None if self.usage is None else messages.Usage(input_tokens=self.usage[0], output_tokens=self.usage[1])
        yield response("four", usage=usage)


class Heard:
    """What was said to be left; one may wait for it."""

    def __init__(self) -> None:
        self.said: list[Remaining] = []
        self._changed = asyncio.Event()

    def __call__(self, frame: Frame) -> None:
        assert isinstance(frame, Left)
        self.said.append(frame.remaining)
        self._changed.set()

    async def until(self, condition: Callable[[list[Remaining]], bool]) -> None:
        async with asyncio.timeout(20):
            while not condition(self.said):
                self._changed.clear()
                await self._changed.wait()


class World:
    """A mirror with accounts, and what they said."""

    def __init__(self, mirrored: Mirror, accounts: Accounts, clock: FakeClock, heard: Heard) -> None:
        self.mirrored = mirrored
        self.accounts = accounts
        self.clock = clock
        self.heard = heard

    @property
    def gate(self) -> list[str]:
        """What the live gate was told, without repetitions."""
        told = self.mirrored.gate()
        return [reason for before, reason in zip([None, *told], told, strict=False) if reason != before]

    def left(self) -> dict[str, float]:
        return {one.limit: one.left for one in self.accounts.remaining()}


@asynccontextmanager
async def world(
    backend: Backend,
    *,
    state: Path | None = None,
    prices: Iterable[PriceSettings] = (PRICE,),
    seconds: float = 0.01,
    **settings: Any,
) -> AsyncIterator[World]:
    """A mirror of one target; ``time_box`` and ``preset`` are the experiment's, the rest is the target's."""
    clock, heard = FakeClock(NOW), Heard()
    about = {key: settings.pop(key) for key in ("time_box", "preset") if key in settings}
    accounts = Accounts(
        lambda: Pricing(tuple(prices)),
        faults=Faults(),
        file=None if state is None else BudgetFile(str(state), 1),
        reply=heard,
        wall_ns=clock,
        seconds=seconds,
    )
    async with mirror(experiment(target(address=backend.address, **settings), **about), accounts=accounts) as mirrored:
        yield World(mirrored, accounts, clock, heard)


# --- budgets ------------------------------------------------------------------------------------------------------


async def test_when_the_budget_is_used_up_the_target_closes_and_the_log_says_so_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING, "shadowmesh"), Backend(Model()) as backend:
        async with world(backend, budget={"total": 4.0}) as it:
            await it.mirrored.play(1, 2)
            assert it.gate[-1] == BUDGET
            await it.mirrored.play(3, 4)
            records = it.mirrored.records
            assert [record.shadows["candidate"].drop_reason for record in records] == ["", "", BUDGET, BUDGET]
            assert it.left() == {"total": 0}
        assert len(backend.calls) == 2
    assert [record.message for record in caplog.records] == [
        "experiment summaries mirrors nothing to candidate: its budget is used up"
    ]


async def test_the_next_hour_opens_it_again() -> None:
    with Backend(Model()) as backend:
        async with world(backend, budget={"per_hour": 2.0}) as it:
            await it.mirrored.play(1)
            assert it.gate[-1] == BUDGET
            it.clock.advance(HOUR / 2)
            await it.mirrored.until(lambda: it.gate[-1] == "")
            await it.mirrored.play(2)
            assert it.gate[-1] == BUDGET


async def test_calls_in_flight_are_reserved_so_that_a_burst_does_not_overshoot() -> None:
    model = Model()
    with Backend(model) as backend:
        async with world(backend, budget={"total": 10.0}) as it:
            await it.mirrored.play(1)
            model.go.clear()
            for call in range(2, 12):
                it.mirrored.unary(call)
                it.mirrored.done(call)
            await asyncio.to_thread(backend.wait_for_calls, 5)
            model.go.set()
            await it.mirrored.recorded(11)
            assert it.left() == {"total": 0}
        assert len(backend.calls) == 5


async def test_an_answer_without_a_price_blocks_and_counts_though_nobody_knows_how_much(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = Model()
    with caplog.at_level(logging.WARNING, "shadowmesh"), Backend(model) as backend:
        async with world(backend, budget={"total": 100.0}) as it:
            await it.mirrored.play(1)
            model.usage = None
            await it.mirrored.play(2)
            assert (it.gate[-1], it.left()) == (BUDGET, {"total": 96})
    assert "give it a price" in caplog.text


async def test_a_price_in_another_currency_is_none() -> None:
    euros = PRICE.model_copy(update={"currency": "EUR"})
    with Backend(Model()) as backend:
        async with world(backend, budget={"total": 100.0}, prices=[euros]) as it:
            await it.mirrored.play(1)
            assert it.gate[-1] == BUDGET
        async with world(backend, budget={"total": 100.0, "currency": "EUR"}, prices=[euros]) as it:
            await it.mirrored.play(1)
            assert it.gate[-1] == ""


async def test_a_reload_that_says_what_an_unpriced_call_counts_as_opens_it() -> None:
    with Backend(Model()) as backend:
        async with world(backend, budget={"total": 100.0}, prices=[]) as it:
            await it.mirrored.play(1)
            assert it.gate[-1] == BUDGET
            settings = target(address=backend.address, budget={"total": 100.0, "unpriced": {"per_call": 5.0}})
            it.mirrored.reload(experiment(settings))
            await it.mirrored.play(2)
            assert it.gate[-1] == ""
            assert it.left() == {"total": 90}, "the first call counts as well, now that somebody says how much"


async def test_a_dead_target_costs_nothing_and_one_that_breaks_off_does() -> None:
    model = Model()
    with Backend(model) as backend:
        async with world(backend, budget={"total": 100.0}) as it:
            await it.mirrored.play(1)
            model.status = "UNAVAILABLE"
            await it.mirrored.play(2, 3)
            assert it.left() == {"total": 98}
            model.status = "INTERNAL"
            await it.mirrored.play(4)
            assert it.left() == {"total": 96}


async def test_a_call_that_cannot_be_recorded_is_paid_for_all_the_same() -> None:
    with Backend(Model()) as backend:
        async with world(backend, budget={"total": 100.0}) as it:
            await it.mirrored.play(1)
            it.mirrored.broken = True
            await it.mirrored.play(2)
            assert it.left() == {"total": 96}


async def test_tokens_are_counted_without_prices() -> None:
    with Backend(Model()) as backend:
        async with world(backend, budget={"tokens": 4000}, prices=[]) as it:
            await it.mirrored.play(1, 2)
            assert it.left() == {"tokens": 1000}
            assert it.gate[-1] == BUDGET


async def test_every_exchange_of_a_call_is_paid_for() -> None:
    def answer(call: ReceivedCall, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterable[bytes]:
        for number, _ in enumerate(requests):
            yield last_delta("four", str(number), tokens=(1000, 500))

    with Backend(answer) as backend:
        async with world(backend, budget={"total": 100.0, "tokens": 100_000}) as it:
            frame = it.mirrored.begin(1, CONVERSE)
            asked = tuple(request(str(number)) for number in range(3))
            it.mirrored.feed(Request(1, (frame.at_ns,) * 3, asked, 1), RequestEnd(1, frame.at_ns))
            it.mirrored.done(1)
            await it.mirrored.recorded()
            assert it.left() == {"total": 94, "tokens": 95_500}


async def test_a_shadow_says_where_it_was_sent_so_that_a_live_server_knows_its_own() -> None:
    with Backend(Model()) as backend:
        async with world(backend) as it:
            await it.mirrored.play(1)
        (call,) = backend.calls
    assert ("x-shadowmesh-target", marker("summaries", "candidate")) in call.metadata


async def test_what_is_left_is_said_when_it_has_changed() -> None:
    with Backend(Model()) as backend:
        async with world(backend, budget={"total": 100.0, "tokens": 10_000}, time_box={"pairs": 5}) as it:
            await it.mirrored.play(1)
            wanted = [
                Remaining("summaries", "candidate", "total", "USD", 100, 98),
                Remaining("summaries", "candidate", "tokens", "", 10_000, 8500),
                Remaining("summaries", "candidate", "pairs", "", 5, 4),
            ]
            await it.heard.until(lambda said: set(wanted) <= set(said))
            await it.mirrored.play(2)
            await it.heard.until(lambda said: said[-1].left == 3)
            assert len(set(it.heard.said)) == len(it.heard.said)


async def test_what_is_left_is_said_at_once_of_a_new_limit_and_of_one_that_comes_back_and_a_last_time_at_the_end() -> (
    None
):
    def limited(backend: Backend, **budget: float) -> JudgedExperimentSettings:
        return experiment(target(address=backend.address, budget=budget))

    with Backend(Model()) as backend:
        async with world(backend, seconds=HOUR, budget={"total": 100.0}) as it:
            for budget in ({"total": 100.0}, {"per_day": 10.0}, {"total": 100.0}):
                it.mirrored.reload(limited(backend, **budget))
            assert [(one.limit, one.left) for one in it.heard.said] == [("total", 100), ("per_day", 10), ("total", 100)]
            await it.mirrored.play(1)
            await it.mirrored.engine.close()
            assert [(one.limit, one.left) for one in it.heard.said[3:]] == [("total", 98)]


async def test_while_nobody_knows_what_was_spent_nothing_is_said_to_be_left(tmp_path: Path) -> None:
    with Backend(Model()) as backend:
        async with world(backend, state=tmp_path, budget={"total": 100.0}) as first:
            await first.mirrored.play(1)
            async with world(backend, state=tmp_path, budget={"total": 100.0}) as late:
                await late.mirrored.play(1)
                assert late.heard.said == []
                await first.mirrored.engine.close()
                await late.heard.until(bool)
                assert [one.left for one in late.heard.said] == [98]


async def test_breaker_and_budget_each_keep_a_target_closed() -> None:
    model = Model()
    model.status = "INTERNAL"
    breaker = {"least_calls": 2, "open": "10ms", "open_most": "10ms", "probes": 1, "window": "1h"}
    with Backend(model) as backend:
        async with world(backend, budget={"per_hour": 1.0}, breaker=breaker) as it:
            await it.mirrored.play(1, 2)
            await it.mirrored.until(lambda: it.gate[-1] == "")
            model.status = "OK"
            await it.mirrored.play(3)
            assert it.gate[-1] == BUDGET, "the breaker has closed at that moment and may not open the gate"
            it.clock.advance(HOUR)
            await it.mirrored.until(lambda: it.gate[-1] == "")


async def test_a_budget_does_not_reopen_what_is_being_drained() -> None:
    with Backend(Model()) as backend:
        async with world(backend, budget={"per_hour": 2.0}) as it:
            await it.mirrored.play(1)
            it.mirrored.feed(Drain(0, 1.0))
            it.clock.advance(HOUR)
            await it.heard.until(lambda said: said[-1].left == 2.0)
            assert it.mirrored.gate()[-1] == DropReason.SHUTDOWN


# --- time-boxes ---------------------------------------------------------------------------------------------------


async def test_a_time_box_opens_and_ends_by_itself_and_shadows_in_flight_finish(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = Model()
    box = {"start": "2026-03-01T10:00:00Z", "end": "2026-03-01T11:00:00Z"}
    with caplog.at_level(logging.WARNING, "shadowmesh"), Backend(model) as backend:
        async with world(backend, time_box=box) as it:
            await it.mirrored.play(1)
            assert it.gate == [BOX]
            it.clock.advance(HOUR / 2)
            await it.mirrored.until(lambda: it.gate[-1] == "")
            model.go.clear()
            it.mirrored.unary(2)
            await asyncio.to_thread(backend.wait_for_calls, 1)
            assert caplog.text == "", "one that has not begun has not ended"
            it.clock.advance(HOUR)
            await it.mirrored.until(lambda: it.gate[-1] == BOX)
            model.go.set()
            it.mirrored.done(2)
            first, second = await it.mirrored.recorded(2)
            assert (first.shadows["candidate"].end, first.shadows["candidate"].drop_reason) == (CallEnd.SHED, BOX)
            assert second.shadows["candidate"].status == "OK"
    assert [record.message for record in caplog.records] == [
        "experiment summaries mirrors nothing to candidate: its time-box is over"
    ]


async def test_after_its_pairs_a_target_gets_nothing_more_not_even_in_a_burst() -> None:
    with Backend(Model()) as backend:
        async with world(backend, time_box={"pairs": 3}) as it:
            for call in range(1, 9):
                it.mirrored.unary(call)
                it.mirrored.done(call)
            await it.mirrored.recorded(8)
            assert (it.gate[-1], it.left()) == (BOX, {"pairs": 0})
        assert len(backend.calls) == 3


async def test_without_budget_and_time_box_nothing_is_looked_at() -> None:
    with Backend(Model()) as backend:
        async with world(backend) as it:
            await it.mirrored.play(1)
            assert (it.heard.said, it.left(), it.gate) == ([], {}, [])


# --- over restart and reload --------------------------------------------------------------------------------------


async def test_what_was_spent_is_known_after_a_restart(tmp_path: Path) -> None:
    with Backend(Model()) as backend:
        for left in (98, 96, 94):
            async with world(backend, state=tmp_path, budget={"total": 100.0}, time_box={"pairs": 50}) as it:
                await it.mirrored.play(1)
                assert it.left() == {"total": left, "pairs": left // 2}


async def test_what_is_in_flight_is_written_as_spent_before_it_ends(tmp_path: Path) -> None:
    def stored() -> float:
        content = json.loads((tmp_path / "budget-0.json").read_text())
        return float(content["accounts"]["summaries/candidate"]["budget"]["money"]["spent"]["total"][1])

    model = Model()
    with Backend(model) as backend:
        async with world(backend, state=tmp_path, budget={"total": 100.0}) as it:
            await it.mirrored.play(1)
            model.go.clear()
            it.mirrored.unary(2)
            async with asyncio.timeout(20):
                while not (tmp_path / "budget-0.json").exists() or stored() != 4.0:
                    await asyncio.to_thread(backend.wait_for_calls, 2)
            model.go.set()
            it.mirrored.done(2)
            await it.mirrored.recorded(2)


async def test_a_second_engine_mirrors_nothing_until_the_first_one_has_ended(tmp_path: Path) -> None:
    with Backend(Model()) as backend:
        async with world(backend, state=tmp_path, budget={"total": 100.0}) as second:
            await second.mirrored.play(1)
            async with world(backend, state=tmp_path, budget={"total": 100.0}) as late:
                await late.mirrored.play(1)
                assert late.gate == [BUDGET]
                assert late.left() == {"total": 100}
                await second.mirrored.engine.close()
                await late.mirrored.until(lambda: late.gate[-1] == "")
                assert late.left() == {"total": 98}, "and goes on from what the first one has spent"


@pytest.mark.parametrize(
    "content",
    [
        "{",
        '{"schema": "shadowmesh.budget/1", "accounts": {"summaries/candidate": {"pairs": -1}}}',
        '{"schema": "shadowmesh.budget/1", "accounts": {"summaries/candidate": {"budget": 5}}}',
        '{"schema": "shadowmesh.budget/1", "accounts": {"summaries/candidate": 5}}',
        '{"schema": "shadowmesh.budget/1", "accounts": {"a/b": {"budget": {"tokens": {"unknown": 1.5}}}}}',
    ],
)
async def test_a_file_that_is_damaged_blocks_what_it_accounts_for_until_it_is_repaired(
    content: str, tmp_path: Path
) -> None:
    path = tmp_path / "budget-0.json"
    path.write_text(content)
    with Backend(Model()) as backend:
        async with world(backend, state=tmp_path, budget={"total": 100.0}) as it:
            await it.mirrored.play(1)
            assert it.gate == [BUDGET]
            assert path.read_text() == content, "and is left as it is"
            path.unlink()
            await it.mirrored.until(lambda: it.gate[-1] == "")
            await it.mirrored.play(2)
            assert it.left() == {"total": 98}


async def test_a_reload_keeps_what_was_spent_even_of_a_target_that_was_away() -> None:
    with Backend(Model()) as backend:
        async with world(backend, budget={"total": 100.0}) as it:
            await it.mirrored.play(1)
            it.mirrored.reload(experiment(target("other", address=backend.address)))
            it.mirrored.reload(experiment(target(address=backend.address, budget={"total": 50.0})))
            assert it.left() == {"total": 48}
            it.mirrored.reload(experiment(target(address=backend.address, budget={"total": 2.0})))
            await it.mirrored.play(2)
            assert it.gate[-1] == BUDGET


async def test_a_call_in_flight_over_a_reload_is_paid_from_the_account_it_began_with() -> None:
    model = Model()
    with Backend(model) as backend:
        async with world(backend, budget={"total": 100.0}) as it:
            await it.mirrored.play(1)
            model.go.clear()
            it.mirrored.unary(2)
            await asyncio.to_thread(backend.wait_for_calls, 2)
            it.mirrored.reload(experiment(target(address=backend.address, budget={"total": 50.0})))
            assert it.left() == {"total": 46}
            model.go.set()
            it.mirrored.done(2)
            await it.mirrored.recorded(2)
            assert it.left() == {"total": 46}


async def test_what_is_cut_at_the_end_is_paid_for() -> None:
    with Backend(hang) as backend:
        async with world(backend, budget={"total": 100.0, "unpriced": {"per_call": 3.0}}) as it:
            it.mirrored.unary(1)
            it.mirrored.done(1)
            await asyncio.to_thread(backend.wait_for_calls, 1)
            await it.mirrored.engine.drain(0)
            assert it.left() == {"total": 97}


# --- the share ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        ({}, 1.0),
        ({"budget": {"share": 0.25}}, 0.25),
        ({"budget": {"share": 0.5, "processes": 4}}, 0.125),
        ({"workers": 4}, 1.0),
        ({"carrier": "process", "workers": 4, "budget": {"share": 0.5, "processes": 2}}, 0.0625),
    ],
)
async def test_every_engine_has_its_part(settings: dict[str, Any], part: float) -> None:
    accounts = make_accounts(MirrorSettings.model_validate(settings), Faults())
    accounts.rule((experiment(target(budget={"total": 100.0})),))
    (one,) = accounts.remaining()
    assert (one.limit, one.amount) == (BudgetLimit.TOTAL, 100 * part)
    await accounts.close()
