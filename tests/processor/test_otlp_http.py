"""What only HTTP has: content types, encodings, lengths and methods, and bodies that are none."""

from __future__ import annotations

import asyncio
import gzip
import json
from pathlib import Path

import pytest
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from support.raw_http import connected
from support.receiving import JSON, PROTOBUF, Client, ScriptedIntake, receiving

from shadowmesh.processor.intake import Signal
from shadowmesh.processor.otlp_json import memory_of
from shadowmesh.telemetry.faults import Faults

CHUNKED = (
    b"POST /v1/traces HTTP/1.1\r\nhost: test\r\n"
    b"content-type: application/x-protobuf\r\ntransfer-encoding: chunked\r\n\r\n"
)


@pytest.mark.parametrize("form", [JSON, PROTOBUF])
@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("POST", "/v1/profiles", "", 404),
        ("POST", "/v1/traces/", "", 404),
        ("POST", "/", "", 404),
        ("GET", "/v1/traces", "", 405),
        ("PUT", "/v1/logs", "", 405),
        ("POST", "/v1/traces", "content-encoding: deflate\r\n", 415),
        ("POST", "/v1/traces", "content-encoding: gzip, gzip\r\n", 415),
    ],
)
async def test_a_request_for_something_else_is_told_so_in_a_status_of_its_own_form(
    form: str, method: str, path: str, headers: str, status: int
) -> None:
    async with receiving() as receiver, connected(receiver.http_port) as client:
        head = f"{method} {path} HTTP/1.1\r\nhost: test\r\ncontent-type: {form}\r\n{headers}content-length: 0\r\n\r\n"
        await client.say(head.encode())
        answer = await client.answer()
        assert answer.status == status
        assert f"content-type: {form}\r\n" in answer.head
        assert ("allow: post\r\n" in answer.head) == (status == 405)
        said = json.loads(answer.body) if form == JSON else Status.FromString(answer.body)
        assert said["message"] if form == JSON else said.message
        # The connection is as good as before.
        await client.post("/v1/traces")
        assert (await client.answer()).status == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/grpc", "application/json5", ""])
async def test_an_unknown_content_type_is_unsupported(kind: str) -> None:
    intake = ScriptedIntake()
    async with receiving(intake) as receiver, connected(receiver.http_port) as client:
        await client.post("/v1/traces", b"{}", headers=f"content-type: {kind}\r\n")
        answer = await client.answer()
        assert answer.status == 415
        assert "application/json" in json.loads(answer.body)["message"]
    assert intake.taken == []


@pytest.mark.parametrize("kind", ["application/json; charset=utf-8", "Application/JSON", "application/json;x=y"])
async def test_a_content_type_may_have_parameters_and_any_case(kind: str) -> None:
    async with receiving() as receiver, connected(receiver.http_port) as client:
        await client.post("/v1/metrics", b"{}", headers=f"content-type: {kind}\r\n")
        answer = await client.answer()
        assert (answer.status, answer.body) == (200, b"{}")
        assert "content-type: application/json\r\n" in answer.head
        assert "date: " in answer.head
        assert "server: " not in answer.head


async def test_a_connection_serves_many_requests_even_when_they_come_at_once() -> None:
    intake = ScriptedIntake()
    async with receiving(intake) as receiver, connected(receiver.http_port) as client:
        for body in (b"", b"\x0a\x00", b"", b"\x0a\x00\x0a\x00"):
            await client.post("/v1/traces", body)
        for _ in range(4):
            assert (await client.answer()).status == 200
    assert [request for _, request in intake.taken] == [b"", b"\x0a\x00", b"", b"\x0a\x00\x0a\x00"]


async def test_a_body_in_chunks_is_taken() -> None:
    intake = ScriptedIntake()
    async with receiving(intake) as receiver, connected(receiver.http_port) as client:
        await client.say(CHUNKED)
        for _ in range(3):
            await client.say(b"2\r\n\x0a\x00\r\n")
        await client.say(b"0\r\n\r\n")
        assert (await client.answer()).status == 200
    assert intake.taken == [(Signal.TRACES, b"\x0a\x00" * 3)]


async def test_a_length_over_the_limit_is_refused_at_once_and_the_answer_can_be_read() -> None:
    limits = {"head_time": "50ms"}
    async with receiving(max_message_bytes=1000, limits=limits) as receiver, connected(receiver.http_port) as client:
        await client.post("/v1/traces", b"x" * 100, length=10**12)
        assert (await client.answer()).status == 413
        # Nobody listens to the rest for long.
        await client.say(b"x")
        assert await client.closed()
    # One that sends everything first gets to read it too, and the connection is as good as before.
    async with receiving(max_message_bytes=1_000_000) as receiver, connected(receiver.http_port) as client:
        await client.post("/v1/traces", b"x" * 1_900_000)
        assert (await client.answer()).status == 413
        await client.post("/v1/traces")
        assert (await client.answer()).status == 200


async def test_chunks_over_the_limit_are_refused_as_soon_as_they_are_over() -> None:
    async with receiving(max_message_bytes=1000) as receiver, connected(receiver.http_port) as client:
        await client.say(CHUNKED + b"1000\r\n" + b"x" * 1001)
        assert (await client.answer()).status == 413


@pytest.mark.parametrize(("length", "status"), [(10, 100), (2000, 413)])
async def test_who_asks_before_sending_a_body_is_answered_first(length: int, status: int) -> None:
    async with receiving(max_message_bytes=1000) as receiver, connected(receiver.http_port) as client:
        await client.post("/v1/traces", headers="expect: 100-continue\r\n", length=length)
        assert (await client.answer()).status == status


async def test_who_knows_no_token_is_answered_before_its_body(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("known")
    async with (
        receiving(bearer_token={"file": str(tmp_path / "token")}) as receiver,
        connected(receiver.http_port) as client,
    ):
        await client.post("/v1/traces", length=500)
        assert (await client.answer()).status == 401


# Without the time of day, which would be in the names of the tests: workers that run them must agree on those.
PACKED = gzip.compress(b"\x0a\x00" * 1000, mtime=0)


@pytest.mark.parametrize(
    "body", [b"\x0a\x00", PACKED[:-1], PACKED[:20], PACKED + b"x", PACKED + PACKED, b"\x1f\x8b" + bytes(50), b""]
)
async def test_what_is_not_one_whole_gzip_is_malformed(body: bytes) -> None:
    intake = ScriptedIntake()
    async with receiving(intake) as receiver, connected(receiver.http_port) as client:
        await client.post("/v1/traces", body, headers="content-encoding: gzip\r\n")
        answer = await client.answer()
        assert (answer.status, "gzip" in Status.FromString(answer.body).message) == (400, True)
        assert receiver.requests.invalid == 1
    assert intake.taken == []


async def test_json_that_is_none_is_malformed_and_says_where() -> None:
    async with receiving() as receiver, connected(receiver.http_port) as client:
        for body, says in (
            (b"{", "not JSON"),
            (b'{"resourceSpans":7}', "resourceSpans: not a list"),
            (b"", "not JSON"),
        ):
            await client.post("/v1/traces", body, headers=f"content-type: {JSON}\r\n")
            answer = await client.answer()
            assert answer.status == 400
            said = json.loads(answer.body)
            assert said["code"] == 3
            assert says in said["message"]


async def test_json_that_would_take_more_memory_than_there_is_is_too_large() -> None:
    intake = ScriptedIntake()
    async with receiving(intake, limits={"memory": 1_000_000}, max_message_bytes=100_000) as receiver:
        small, large = (b'{"x":[' + b"{}," * count + b"0]}" for count in (3000, 5000))
        assert (await Client(receiver, "json").send(Signal.TRACES, small)).ok
        assert (await Client(receiver, "json").send(Signal.TRACES, large)).status == 413
    assert intake.taken == [(Signal.TRACES, b"")]


async def test_texts_that_would_take_more_memory_together_than_there_is_are_read_one_after_the_other() -> None:
    intake = ScriptedIntake()
    text = b'{"x":[' + b"{}," * 100_000 + b"0]}"
    memory = 2 * memory_of(text) - 1
    async with receiving(intake, limits={"memory": memory}, max_message_bytes=1_000_000) as receiver:
        client = Client(receiver, "json")
        answers = await asyncio.gather(*[client.send(Signal.TRACES, text) for _ in range(8)])
        assert all(answer.ok for answer in answers)
    assert len(intake.taken) == 8


async def test_a_body_that_does_not_come_in_time_is_to_be_sent_again_and_gives_its_place_back() -> None:
    limits = {"body_time": "500ms", "requests": 1}
    async with receiving(limits=limits) as receiver, connected(receiver.http_port) as client:
        await client.post("/v1/traces", b"\x0a", length=2)
        assert (await client.answer()).status == 503
        assert (await Client(receiver, "protobuf").send(Signal.TRACES, b"")).ok
        assert receiver.requests.refused == 1


async def test_a_sender_that_breaks_off_leaves_nothing_behind() -> None:
    intake = ScriptedIntake()
    async with receiving(intake, limits={"requests": 1}) as receiver:
        for _ in range(3):
            async with connected(receiver.http_port) as client:
                await client.post("/v1/traces", b"\x0a" * 10, length=2000)
        answer = await Client(receiver, "protobuf").send(Signal.TRACES, b"")
        while not answer.ok:
            answer = await Client(receiver, "protobuf").send(Signal.TRACES, b"")
    assert intake.taken == [(Signal.TRACES, b"")]


async def test_other_routes_stand_beside_ours() -> None:
    async def metrics(_: Request) -> PlainTextResponse:
        return PlainTextResponse("up 1")

    async with (
        receiving(routes=(Route("/metrics", metrics),)) as receiver,
        connected(receiver.http_port) as client,
    ):
        await client.say(b"GET /metrics HTTP/1.1\r\nhost: test\r\n\r\n")
        assert (await client.answer()).body == b"up 1"


HEADS = st.builds(
    lambda method, path, kind, encoding, extra: (
        b"%s %s HTTP/1.1\r\nhost: t\r\ncontent-type: %s\r\n%s%s\r\n" % (method, path, kind, encoding, extra)
    ),
    st.sampled_from([b"POST", b"GET", b"HEAD", b"BREW"]),
    st.sampled_from([b"/v1/traces", b"/v1/metrics", b"/v1/logs", b"/readyz", b"/%ff%00", b"*"]),
    st.sampled_from([PROTOBUF.encode(), JSON.encode(), b"x"]),
    st.sampled_from([b"", b"content-encoding: gzip\r\n"]),
    st.sampled_from([b"connection: close\r\ncontent-length: 8\r\n", b"content-length: -1\r\n", b"x: \xff\r\n"]),
)


TIMES = ("head_time", "body_time", "idle_time")


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stream=st.binary(max_size=300) | st.builds(bytes.__add__, HEADS, st.binary(min_size=8, max_size=40)))
def test_whatever_a_stream_holds_the_next_sender_is_served_and_no_error_is_ours(stream: bytes) -> None:
    async def attempt() -> None:
        # Whatever is kept open ends by itself.
        faults = Faults()
        async with receiving(faults=faults, limits=dict.fromkeys(TIMES, "50ms")) as receiver:
            async with connected(receiver.http_port) as client:
                await client.say(stream)
                await client.closed()
            assert (await Client(receiver, "protobuf").send(Signal.TRACES, b"")).ok
            assert receiver.requests.failed == 0
        assert all("refused" in cause for cause in faults.totals())

    asyncio.run(attempt())
