"""Whether the process lives and whether it is ready, for those who ask by gRPC and by HTTP."""

from __future__ import annotations

import asyncio
import http.client
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]
from support.receiving import Client, ScriptedIntake, receiving

from shadowmesh.processor.intake import Signal
from shadowmesh.processor.otlp_services import SERVICES
from shadowmesh.processor.receiver import Receiver
from shadowmesh.telemetry.faults import Faults

SERVING, NOT_SERVING = 1, 2
EVERY_SERVICE = ("", *(service.method.split("/")[1] for service in SERVICES.values()))


async def get(receiver: Receiver, path: str, method: str = "GET") -> tuple[int, str]:
    def ask() -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", receiver.http_port, timeout=20)
        connection.request(method, path)
        answer = connection.getresponse()
        found = answer.status, answer.read().decode()
        connection.close()
        return found

    return await asyncio.to_thread(ask)


async def check(receiver: Receiver, service: str = "") -> int:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{receiver.port}") as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        status: int = (await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=20)).status
        return status


@pytest.mark.parametrize("service", EVERY_SERVICE)
async def test_a_running_receiver_lives_is_ready_and_serves(service: str) -> None:
    async with receiving() as receiver:
        assert await get(receiver, "/healthz") == (200, "alive\n")
        assert await get(receiver, "/readyz") == (200, "ready\n")
        assert await check(receiver, service) == SERVING


async def test_a_service_nobody_has_is_not_found() -> None:
    async with receiving() as receiver:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await check(receiver, "acme.Model")
        assert error.value.code() is grpc.StatusCode.NOT_FOUND


async def test_what_is_behind_decides_at_every_look() -> None:
    reasons: list[str | None] = [None]
    async with receiving(ready=lambda: reasons[-1]) as receiver:
        for reason in (None, "the journal cannot be written", None):
            reasons.append(reason)
            expected = (200, "ready\n") if reason is None else (503, f"{reason}\n")
            assert await get(receiver, "/readyz") == expected
            assert await get(receiver, "/healthz") == (200, "alive\n")
            for service in EVERY_SERVICE:
                assert await check(receiver, service) == (SERVING if reason is None else NOT_SERVING)


async def test_a_draining_receiver_lives_and_says_so_and_those_who_watch_hear_of_it() -> None:
    intake = ScriptedIntake()
    intake.open.clear()
    async with receiving(intake) as receiver, grpc.aio.insecure_channel(f"127.0.0.1:{receiver.port}") as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest(), timeout=20)
        assert (await watch.read()).status == SERVING
        begun = asyncio.ensure_future(Client(receiver, "grpc").send(Signal.TRACES, b""))
        await intake.until_begun(1)
        draining = asyncio.ensure_future(receiver.drain(20))
        assert (await watch.read()).status == NOT_SERVING
        assert await get(receiver, "/healthz") == (200, "alive\n")
        assert await get(receiver, "/readyz") == (503, "draining\n")
        assert await check(receiver) == NOT_SERVING
        intake.open.set()
        assert (await begun).ok
        await draining
        assert await get(receiver, "/readyz") == (503, "draining\n")


async def test_who_watches_hears_of_the_end_before_it_comes() -> None:
    async with receiving() as receiver, grpc.aio.insecure_channel(f"127.0.0.1:{receiver.port}") as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest(), timeout=20)
        assert (await watch.read()).status == SERVING
        await receiver.drain(0)
        await receiver.close()
        assert (await watch.read()).status == NOT_SERVING


async def test_who_watches_hears_of_a_change_nobody_asked_about() -> None:
    reasons: list[str | None] = [None]
    async with (
        receiving(ready=lambda: reasons[-1]) as receiver,
        grpc.aio.insecure_channel(f"127.0.0.1:{receiver.port}") as channel,
    ):
        stub: Any = health_pb2_grpc.HealthStub(channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest(), timeout=20)
        assert (await watch.read()).status == SERVING
        reasons.append("the store is closed")
        assert (await watch.read()).status == NOT_SERVING


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_health_asks_for_no_token_and_takes_no_post(path: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("known")
    settings: Mapping[str, Any] = {"bearer_token": {"file": str(tmp_path / "token")}}
    async with receiving(**settings) as receiver:
        assert (await get(receiver, path))[0] == 200
        assert (await get(receiver, path, "POST"))[0] == 405
        assert await check(receiver) == SERVING


async def test_a_broken_look_is_counted_and_the_next_one_made() -> None:
    faults, looks = Faults(), itertools.count()

    def ready() -> str | None:
        if next(looks) == 0:
            raise ZeroDivisionError
        return None

    async with receiving(ready=ready, faults=faults) as receiver:
        assert await get(receiver, "/readyz") == (200, "ready\n")
        assert await check(receiver) == SERVING
    assert faults.totals() == {"health: ZeroDivisionError": 1}
