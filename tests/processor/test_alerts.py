"""Alerts to a real receiver: in order, each until it is taken or refused, over restarts, and never in anybody's way."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.hooks import SILENCE, Receiver
from support.legs import T0
from support.verdicts import judgement, key, verdict

from shadowmesh import names
from shadowmesh.processor.alert_settings import WebhookSettings
from shadowmesh.processor.alerts import Alerts
from shadowmesh.processor.webhook import Webhook
from shadowmesh.processor.writer import Writer
from shadowmesh.store.settings import StoreSettings
from shadowmesh.store.store import Store
from shadowmesh.store.watches import Watched
from shadowmesh.telemetry.faults import Faults
from shadowmesh.testing import FakeClock
from shadowmesh.verdict.judgement import Judgement
from shadowmesh.verdict.records import Answer
from shadowmesh.verdict.watch import Alarm

WITHIN = 20.0


@asynccontextmanager
async def telling(
    url: str | None, *, wall: FakeClock | None = None, faults: Faults | None = None, **changes: Any
) -> AsyncIterator[Alerts]:
    """Tell a receiver, from the store in the current directory, with hardly any pause between two attempts."""
    wall, faults = wall or FakeClock(T0), faults or Faults()
    Path("secret").write_text("a secret of some length", encoding="utf-8")
    hook = None
    if url is not None:
        settings = WebhookSettings.model_validate({"url": url, "secret": {"file": "secret"}, "timeout": 0.3} | changes)
        hook = Webhook(settings, faults=faults, wall_ns=wall)
    store = Store.open(StoreSettings.model_validate({"url": "sqlite:///pairs.db"}), name="one", instance="i", now_ns=T0)
    writer = Writer(store, lambda _: None, faults=faults, wall_ns=wall)
    alerts = Alerts(store.alerts, writer, hook, max_age=100.0, faults=faults, wall_ns=wall, back_off=(0.005, 0.01))
    alerts.start()
    try:
        yield alerts
    finally:
        await alerts.close()
        await writer.close()


def judged(*answers: Answer, at: int = 0) -> Judgement:
    """Return a judgement of so many candidates, so many seconds after T0."""
    verdicts = [verdict(answer, target=f"candidate{number}") for number, answer in enumerate(answers)]
    return replace(judgement(*verdicts), at_ns=T0 + at * 10**9)


def figures(alerts: Alerts) -> tuple[float, ...]:
    """Return how many wait, were delivered, and are lost."""
    wanted = (names.METRIC_ALERTS_WAITING, names.METRIC_ALERTS_DELIVERED, names.METRIC_ALERTS_LOST)
    return tuple(alerts.gauges()[name] for name in wanted)


def said(receiver: Receiver) -> list[str]:
    return [post.document["answer"] for post in receiver.posts]


async def test_each_change_of_an_answer_is_told_in_order_with_a_document() -> None:
    async with Receiver().listening() as receiver, telling(receiver.url) as alerts:
        await alerts.judged(judged(Answer.GO, Answer.NOT_YET, at=1))
        await alerts.judged(judged(Answer.GO, Answer.NO_GO, at=2))
        await alerts.judged(judged(Answer.NOT_YET, Answer.NO_GO, at=3))
        assert await alerts.idle(WITHIN)
        assert figures(alerts) == (0, 3, 0)
    assert said(receiver) == ["GO", "NO_GO", "NOT_YET"]
    first = receiver.posts[0]
    assert first.document == {
        "schema": "shadowmesh.alert/1",
        "id": first.headers["webhook-id"],
        "type": "verdict.changed",
        "at": "2023-11-14T22:13:21Z",
        "experiment": "summaries",
        "target": "candidate0",
        "target_digest": "a" * 12,
        "config_digest": "c" * 12,
        "before": "NOT_YET",
        "answer": "GO",
        "reason": "errors: more pairs are needed",
        "pairs": 12_345,
    }
    assert len({post.headers["webhook-id"] for post in receiver.posts}) == 3


@pytest.mark.parametrize("answer", [500, 503, 429, 408, 425, SILENCE, "nonsense\r\n"])
async def test_what_may_be_taken_later_is_offered_again_and_before_what_came_after_it(answer: int | str) -> None:
    faults = Faults()
    async with Receiver(answer, answer).listening() as receiver, telling(receiver.url, faults=faults) as alerts:
        await alerts.judged(judged(Answer.GO, at=1))
        await receiver.until(1)
        await alerts.judged(judged(Answer.NO_GO, at=2))
        assert await alerts.idle(WITHIN)
        assert figures(alerts) == (0, 2, 0)
    assert said(receiver) == ["GO", "GO", "GO", "NO_GO"]
    assert len({post.headers["webhook-id"] for post in receiver.posts}) == 2
    assert sum(faults.totals().values()) == 2


@pytest.mark.parametrize("answer", [301, 307, 400, 401, 404, 410])
async def test_what_is_refused_is_given_up_and_counted_and_the_next_one_is_told(answer: int) -> None:
    faults = Faults()
    async with Receiver(answer).listening() as receiver, telling(receiver.url, faults=faults) as alerts:
        await alerts.judged(judged(Answer.GO, at=1))
        await alerts.judged(judged(Answer.NO_GO, at=2))
        assert await alerts.idle(WITHIN)
        assert figures(alerts) == (0, 1, 1)
    assert said(receiver) == ["GO", "NO_GO"]
    assert list(faults.totals()) == [f"webhook: given up: the receiver answered {answer}"]


async def test_what_is_too_old_is_given_up_and_counted() -> None:
    wall = FakeClock(T0)
    async with Receiver(*[500] * 1000).listening() as receiver, telling(receiver.url, wall=wall) as alerts:
        await alerts.judged(judged(Answer.GO, at=0))
        await receiver.until(3)
        assert figures(alerts) == (1, 0, 0)
        wall.advance(101)
        assert await alerts.idle(WITHIN)
        assert figures(alerts) == (0, 0, 1)


async def test_a_restart_tells_what_was_not_delivered_and_not_what_was() -> None:
    receiver = Receiver()
    async with receiver.listening():
        url = receiver.url
        async with telling(url) as alerts:
            await alerts.judged(judged(Answer.GO, at=1))
            assert await alerts.idle(WITHIN)
    # Nobody listens now.
    async with telling(url) as alerts:
        await alerts.judged(judged(Answer.NO_GO, at=2))
        assert not await alerts.idle(0.05)
    async with receiver.listening(), telling(url) as alerts:
        assert await alerts.idle(WITHIN)
        await alerts.judged(judged(Answer.NO_GO, at=3))
        assert await alerts.idle(WITHIN)
    assert said(receiver) == ["GO", "NO_GO"]


async def test_a_receiver_that_says_nothing_is_waited_for_by_nobody() -> None:
    async with Receiver(SILENCE).listening() as receiver, telling(receiver.url, timeout="1h") as alerts:
        await alerts.judged(judged(Answer.GO, at=1))
        await receiver.until(1)
        await alerts.judged(judged(Answer.NO_GO, at=2))
        assert not await alerts.idle(0)


async def test_an_alarm_and_a_change_have_a_line_in_the_log_and_need_no_webhook(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.INFO, "shadowmesh"):
        async with telling(None) as alerts:
            await alerts.judged(judged(Answer.GO, at=1))
            await alerts.judged(judged(Answer.GO, at=2))
            alarms = [Alarm("errors", T0, news=True), Alarm("errors", T0, news=False)]
            alerts.watched([Watched(key(), {"errors": 0.0}, alarms, 0)])
            assert figures(alerts) == (0, 0, 0)
    assert [record.getMessage() for record in caplog.records if record.module == "alerts"] == [
        "summaries/candidate0: GO, was NOT_YET: errors: more pairs are needed",
        "summaries/candidate: alarm: errors became worse of late",
    ]


async def test_an_alert_without_room_is_counted() -> None:
    async with telling(None) as alerts:
        alerts.watched([Watched(key(), {}, [], 2)])
        assert figures(alerts) == (0, 0, 2)
