"""What goes through the proxy, and what it says for itself; that calls look the same is in tests/interceptor."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress
from itertools import pairwise
from typing import Any

import grpc
import grpc.aio
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from support.scripts import AioScripts, Log, script

from shadowmesh.errors import StartError
from shadowmesh.proxy.health import SERVICE
from shadowmesh.proxy.server import Proxy
from shadowmesh.proxy.settings import ProxySettings
from shadowmesh.proxy.workers import hold
from shadowmesh.schema.descriptors import message_class
from shadowmesh.testing import Backend

UNUSED = {"listen": "127.0.0.1:0", "live": {"address": "127.0.0.1:1"}}


@asynccontextmanager
async def proxied(*handlers: grpc.GenericRpcHandler, **settings: Any) -> AsyncIterator[tuple[Any, Proxy]]:
    """Run a server behind a proxy, and give a channel to the proxy."""
    server = grpc.aio.server(handlers=list(handlers), options=(("grpc.so_reuseport", 0),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    live = {"address": f"127.0.0.1:{port}", **settings.pop("live", {})}
    proxy = Proxy(ProxySettings.model_validate({"listen": "127.0.0.1:0", "live": live, **settings}))
    await proxy.start()
    options = (("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{proxy.port}", options=options) as channel:
        try:
            yield channel, proxy
        finally:
            await proxy.close()
            await server.stop(0)


class Own(grpc.GenericRpcHandler):
    """One method of any name, by a behaviour and a shape."""

    def __init__(self, suffix: str, handler: Any) -> None:
        self._suffix = suffix
        self._handler = handler

    def service(self, handler_call_details: Any) -> Any:
        return self._handler if handler_call_details.method.endswith(self._suffix) else None


async def echo(request: bytes, context: Any) -> bytes:
    return request


async def quiet(count: Callable[[], int]) -> None:
    """Return when nothing more comes: nobody says that he waits, so this is seen by looking again."""
    before = -1
    while before != (now := count()):
        before = now
        await asyncio.sleep(0.3)


async def asked_for_ever(method: Any) -> None:
    while True:
        assert await method(b"x") == b"x"


async def asked_until_there(method: Any) -> None:
    while True:
        with suppress(grpc.aio.AioRpcError):
            await method(b"x")
        await asyncio.sleep(0.05)


async def test_messages_of_any_size_go_through() -> None:
    async def sized(request: bytes, context: Any) -> bytes:
        return request[:1] * 12_000_000

    handler = Own("Sized", grpc.unary_unary_rpc_method_handler(sized))
    async with proxied(handler, methods={"*": "unary_unary"}, live={}) as (channel, _):
        assert len(await channel.unary_unary("/acme.Models/Sized")(b"xy")) == 12_000_000


async def test_metadata_goes_through_as_large_as_client_and_live_server_take_it() -> None:
    async def ask(request: bytes, context: Any) -> bytes:
        said = dict(context.invocation_metadata())
        await context.send_initial_metadata((("x-begun", said["x-long"]),))
        context.set_trailing_metadata((("x-ended", said["x-long"]),))
        return request

    options = (("grpc.max_metadata_size", 1 << 20),)
    async with AsyncExitStack() as stack:
        server = grpc.aio.server(options=(("grpc.so_reuseport", 0), *options))
        server.add_generic_rpc_handlers((Own("Ask", grpc.unary_unary_rpc_method_handler(ask)),))
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        stack.push_async_callback(server.stop, 0)
        live = {"address": f"127.0.0.1:{port}"}
        proxy = Proxy(ProxySettings.model_validate({"listen": "127.0.0.1:0", "live": live}))
        await proxy.start()
        stack.push_async_callback(proxy.close)
        target = f"127.0.0.1:{proxy.port}"
        channel: Any = await stack.enter_async_context(grpc.aio.insecure_channel(target, options=options))
        # Twice as much as gRPC takes by default.
        long = "x" * 32_000
        call = channel.unary_unary("/acme.Models/Ask")(b"a", metadata=(("x-long", long),))
        assert await call == b"a"
        assert dict(await call.initial_metadata())["x-begun"] == long
        assert dict(await call.trailing_metadata())["x-ended"] == long


async def test_an_unknown_method_is_forwarded_in_whatever_shape_it_has() -> None:
    async def parts(request: bytes, context: Any) -> AsyncIterator[bytes]:
        for number in range(3):
            yield request + str(number).encode()

    ask = Own("Ask", grpc.unary_unary_rpc_method_handler(echo))
    listen = Own("Listen", grpc.unary_stream_rpc_method_handler(parts))
    async with proxied(ask, listen) as (channel, _):
        assert await channel.unary_unary("/acme.Models/Ask")(b"a") == b"a"
        assert [part async for part in channel.unary_stream("/acme.Models/Listen")(b"b")] == [b"b0", b"b1", b"b2"]
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await channel.unary_unary("/acme.Models/Nothing")(b"")
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_streams_go_through_where_opentelemetry_has_wrapped_grpc() -> None:
    instrumentation = pytest.importorskip("opentelemetry.instrumentation.grpc")
    programs = [instrumentation.GrpcAioInstrumentorClient(), instrumentation.GrpcAioInstrumentorServer()]

    def echoes(call: Any, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        yield from requests

    def asked(port: int) -> list[bytes]:
        channel: Any
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            return list(channel.stream_stream("/acme.Models/Echo")(iter([b"a", b"b"]), timeout=20))

    with Backend(echoes) as backend, ExitStack() as stack:
        for one in programs:
            one.instrument()
            stack.callback(one.uninstrument)
        proxy = Proxy(ProxySettings.model_validate({"listen": "127.0.0.1:0", "live": {"address": backend.address}}))
        await proxy.start()
        try:
            assert await asyncio.to_thread(asked, proxy.port) == [b"a", b"b"]
        finally:
            await proxy.close()
        # Nobody has said anything in our name.
        assert not [key for call in backend.calls for key, _ in call.metadata if key == "traceparent"]


async def test_headers_come_no_sooner_than_the_live_server_sends_them_and_before_its_first_message_where_it_does() -> (
    None
):
    go_on = asyncio.Event()

    async def early(request: bytes, context: Any) -> AsyncIterator[bytes]:
        await context.send_initial_metadata((("x-early", "1"),))
        await go_on.wait()
        yield b"late"

    async def none(request: bytes, context: Any) -> AsyncIterator[bytes]:
        await go_on.wait()
        await context.abort(grpc.StatusCode.UNAVAILABLE, "try again")
        yield b""

    handlers = [
        Own(name, grpc.unary_stream_rpc_method_handler(one)) for name, one in (("Early", early), ("None", none))
    ]
    async with proxied(*handlers, methods={"*": "unary_stream"}) as (channel, _):
        calls = [channel.unary_stream(f"/acme.Models/{name}")(b"") for name in ("Early", "None")]
        waiting = asyncio.ensure_future(calls[1].initial_metadata())
        assert ("x-early", "1") in tuple(await calls[0].initial_metadata())
        assert not waiting.done()
        go_on.set()
        assert [part async for part in calls[0]] == [b"late"]
        assert await calls[1].code() is grpc.StatusCode.UNAVAILABLE
        waiting.cancel()


@pytest.mark.parametrize("arity", ["unary_stream", "stream_stream"])
async def test_headers_that_say_nothing_come_before_the_first_message_too(arity: str) -> None:
    go_on = asyncio.Event()

    async def begun(_: Any, context: Any) -> AsyncIterator[bytes]:
        await context.send_initial_metadata(())
        await go_on.wait()
        yield b"late"

    handler = Own("Begun", getattr(grpc, f"{arity}_rpc_method_handler")(begun))
    async with proxied(handler, methods={"*": arity}) as (channel, _):
        call = getattr(channel, arity)("/acme.Models/Begun")(*((b"",) if arity == "unary_stream" else ()))
        # Whoever waits for them before he asks would wait for ever.
        assert not tuple(await asyncio.wait_for(call.initial_metadata(), 20))
        go_on.set()
        assert await call.read() == b"late"


async def test_a_client_may_retry_what_the_live_server_refused_before_it_sent_headers() -> None:
    attempts: list[int] = []

    async def second_time(request: bytes, context: Any) -> bytes:
        attempts.append(1)
        if len(attempts) == 1:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "not yet")
        return b"well"

    handler = Own("Ask", grpc.unary_unary_rpc_method_handler(second_time))
    policy = (
        '{"methodConfig":[{"name":[{}],"retryPolicy":{"maxAttempts":3,"initialBackoff":"0.01s","maxBackoff":"0.01s",'
        '"backoffMultiplier":1,"retryableStatusCodes":["UNAVAILABLE"]}}]}'
    )
    async with proxied(handler, methods={"*": "unary_unary"}) as (_, proxy):
        options = (("grpc.service_config", policy),)
        channel: Any
        async with grpc.aio.insecure_channel(f"127.0.0.1:{proxy.port}", options=options) as channel:
            assert await channel.unary_unary("/acme.Models/Ask")(b"") == b"well"
    assert len(attempts) == 2


async def test_the_live_server_hears_when_the_client_leaves() -> None:
    log = Log()
    methods = {f"/test.Scripted/{arity}": arity for arity in ("unary_unary", "stream_stream")}
    async with proxied(AioScripts(log), methods=methods) as (channel, _):
        unary = channel.unary_unary("/test.Scripted/unary_unary")(script(["wait"]))
        both = channel.stream_stream("/test.Scripted/stream_stream")()
        await both.write(script(["wait"]))
        await asyncio.to_thread(log.wait_for, "waiting", 2)
        unary.cancel()
        both.cancel()
        await asyncio.to_thread(log.wait_for, "ended", 2)


@contextmanager
def reflected(file: FileDescriptorProto, *, silent: int = 0) -> Iterator[tuple[str, Backend]]:
    """Run a server with the service of ``file`` and reflection in its older version only, at first too busy for it."""
    silences = iter(range(silent))
    request = message_class("shadowmesh.views.reflection.Request")
    response: Any = message_class("shadowmesh.views.reflection.Response")

    def answer(call: Any, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        if "reflection" not in call.method:
            yield next(requests)
            return
        if "v1alpha" not in call.method:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "")
        if next(silences, None) is not None:
            context.abort(grpc.StatusCode.UNAVAILABLE, "")
        for data in requests:
            asked: Any = request.FromString(data)
            known = asked.file_containing_symbol == f"{file.package}.Models"
            yield (
                response(files={"descriptors": [file.SerializeToString()]}) if known else response(failure={"code": 5})
            ).SerializeToString()

    with Backend(answer) as backend:
        yield backend.address, backend


@asynccontextmanager
async def frames_to(port: int) -> AsyncIterator[tuple[int, Counter[str]]]:
    """Relay to a server; give a port, and a count of the ends of request streams that go through, by their kind."""
    ends: Counter[str] = Counter()

    async def back(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)

    async def forth(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", port)
        backwards = asyncio.create_task(back(up_reader, writer))
        with suppress(asyncio.IncompleteReadError):
            up_writer.write(await reader.readexactly(24))
            while True:
                # Of a frame: length, type, flags and stream.
                head = await reader.readexactly(9)
                up_writer.write(head + await reader.readexactly(int.from_bytes(head[:3], "big")))
                if head[3] in (0, 1) and head[4] & 1:
                    ends["half-closed"] += 1
                elif head[3] == 3:
                    ends["reset"] += 1
        backwards.cancel()
        up_writer.close()
        writer.close()

    async with await asyncio.start_server(forth, "127.0.0.1", 0) as relay:
        yield relay.sockets[0].getsockname()[1], ends


async def test_a_client_that_gives_up_its_requests_has_not_ended_them() -> None:
    async def take(requests: AsyncIterator[bytes], context: Any) -> bytes:
        return b"".join([request async for request in requests])

    handler = Own("Tell", grpc.stream_unary_rpc_method_handler(take))
    tell, calls = {"*": "stream_unary"}, 100
    async with AsyncExitStack() as stack:
        _, behind = await stack.enter_async_context(proxied(handler, methods=tell))
        port, ends = await stack.enter_async_context(frames_to(behind.port))
        live = {"address": f"127.0.0.1:{port}"}
        proxy = Proxy(ProxySettings.model_validate({"listen": "127.0.0.1:0", "live": live, "methods": tell}))
        await proxy.start()
        stack.push_async_callback(proxy.close)
        channel: Any = await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{proxy.port}"))
        assert await channel.stream_unary("/acme.Models/Tell")(iter([b"a", b"b"])) == b"ab"
        assert ends == {"half-closed": 1}
        for _ in range(calls):
            call = channel.stream_unary("/acme.Models/Tell")()
            await call.write(b"a")
            await asyncio.sleep(0.005)
            call.cancel()
        await quiet(ends.total)
    # A server takes what was half-closed for whole, and may act on it before it hears of the reset.
    assert ends["half-closed"] < 5
    assert ends["reset"] > calls - 5


@pytest.mark.parametrize("silent", [0, 2])
async def test_the_shape_of_a_method_is_asked_of_the_live_server_until_it_says_and_known_from_then_on(
    silent: int,
) -> None:
    file = FileDescriptorProto(name="acme.proto", package="acme")
    file.service.add(name="Models").method.add(name="Ask")
    seen: list[Any] = []
    with reflected(file, silent=silent) as (address, backend):
        proxy = Proxy(
            ProxySettings.model_validate({"listen": "127.0.0.1:0", "live": {"address": address}}),
            interceptors=[Watching(seen)],
        )
        await proxy.start()
        try:
            channel: Any
            async with grpc.aio.insecure_channel(f"127.0.0.1:{proxy.port}") as channel:
                ask = channel.unary_unary("/acme.Models/Ask")
                async with asyncio.timeout(20):
                    while not seen or seen[-1]:
                        assert await ask(b"x") == b"x"
                assert await channel.unary_unary("/acme.Other/Ask")(b"y") == b"y"
            assert seen[0] is True
        finally:
            await proxy.close()
        versions = [call.method.split(".")[2] for call in backend.calls if "reflection" in call.method]
        assert versions[:2] == ["v1", "v1alpha"]
        assert "v1" not in versions[1:]


class Watching(grpc.aio.ServerInterceptor):
    """Sees whether handlers take a stream of requests."""

    def __init__(self, seen: list[Any]) -> None:
        self._seen = seen

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        handler = await continuation(handler_call_details)
        self._seen.append(handler.request_streaming)
        return handler


async def test_health_of_the_proxy_is_its_own_and_all_other_health_the_live_servers() -> None:
    asked: list[bytes] = []

    async def health(request: bytes, context: Any) -> bytes:
        asked.append(request)
        return b"\x08\x02"

    async def watched(request: bytes, context: Any) -> AsyncIterator[bytes]:
        yield b"\x08\x03"

    ours = bytes([0x0A, len(SERVICE)]) + SERVICE.encode()
    check = Own("Check", grpc.unary_unary_rpc_method_handler(health))
    watch = Own("Watch", grpc.unary_stream_rpc_method_handler(watched))
    async with proxied(check, watch) as (channel, proxy):
        assert await channel.unary_unary("/grpc.health.v1.Health/Check")(ours) == b"\x08\x01"
        assert await channel.unary_unary("/grpc.health.v1.Health/Check")(b"") == b"\x08\x02"
        assert asked == [b""]
        watching = channel.unary_stream("/grpc.health.v1.Health/Watch")(ours)
        assert await watching.read() == b"\x08\x01"
        assert [one async for one in channel.unary_stream("/grpc.health.v1.Health/Watch")(b"")] == [b"\x08\x03"]
        draining = asyncio.ensure_future(proxy.drain(5))
        assert await watching.read() == b"\x08\x02"
        assert await watching.read() is grpc.aio.EOF
        await draining


async def test_a_drain_does_not_wait_for_those_who_watch_the_health_of_the_live_server() -> None:
    left = asyncio.Event()

    async def watched(request: bytes, context: Any) -> AsyncIterator[bytes]:
        try:
            yield b"\x08\x01"
            await asyncio.Event().wait()
        finally:
            left.set()

    async with proxied(Own("Watch", grpc.unary_stream_rpc_method_handler(watched))) as (channel, proxy):
        watching = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"")
        assert await watching.read() == b"\x08\x01"
        async with asyncio.timeout(20):
            await proxy.drain(60)
            await left.wait()
        assert await watching.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_drain_lets_calls_in_flight_end_and_takes_no_new_ones() -> None:
    go_on, begun = asyncio.Event(), asyncio.Event()

    async def slow(request: bytes, context: Any) -> bytes:
        begun.set()
        await go_on.wait()
        return b"done"

    handlers = [Own(name, grpc.unary_unary_rpc_method_handler(one)) for name, one in (("Slow", slow), ("Quick", echo))]
    async with proxied(*handlers, methods={"*": "unary_unary"}) as (channel, proxy):
        call = channel.unary_unary("/acme.Models/Slow")(b"")
        await begun.wait()
        draining = asyncio.ensure_future(proxy.drain(20))
        # The client hears of it a moment later.
        async with asyncio.timeout(20):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await asked_for_ever(channel.unary_unary("/acme.Models/Quick"))
        # A call that crosses the goodbye on its way is cancelled by grpc itself, as by any server of its.
        assert caught.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
        assert not draining.done()
        go_on.set()
        assert await call == b"done"
        await draining


async def test_a_port_that_somebody_listens_on_is_refused() -> None:
    async with proxied() as (_, proxy):
        again = Proxy(ProxySettings.model_validate({**UNUSED, "listen": f"127.0.0.1:{proxy.port}"}))
        with pytest.raises(StartError, match=r"proxy\.listen: "):
            await again.start()
        await again.close()


@pytest.mark.parametrize(("host", "family"), [("127.0.0.1", socket.AF_INET), ("::1", socket.AF_INET6)])
async def test_a_name_is_refused_where_somebody_listens_on_one_of_its_addresses(
    host: str, family: socket.AddressFamily
) -> None:
    # gRPC takes what it gets of ``localhost``, and callers of the other address would be somebody else's.
    try:
        taken = socket.create_server((host, 0), family=family)
    except OSError:
        pytest.skip("this machine has no IPv6")
    with taken:
        listen = f"localhost:{taken.getsockname()[1]}"
        with pytest.raises(StartError, match=r"proxy\.listen: .* in use"):
            hold(listen)
        proxy = Proxy(ProxySettings.model_validate({**UNUSED, "listen": listen}))
        with pytest.raises(StartError, match=r"proxy\.listen: .* in use"):
            await proxy.start()
        await proxy.close()


@pytest.mark.parametrize(
    ("listen", "live"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("127.0.0.1", "dns:///localhost"),
        ("localhost", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        ("[::]", "ipv4:127.0.0.1"),
    ],
)
async def test_a_live_server_that_is_the_proxy_itself_is_refused(listen: str, live: str) -> None:
    with socket.create_server(("", 0)) as found:
        port = found.getsockname()[1]
    settings = {"listen": f"{listen}:{port}", "live": {"address": f"{live}:{port}"}}
    proxy = Proxy(ProxySettings.model_validate(settings))
    with pytest.raises(StartError, match=r"proxy\.live: .* is the proxy itself"):
        await proxy.start()
    await proxy.close()


async def test_the_same_port_at_another_address_is_another_server() -> None:
    # As beside a server in the same pod, which listens on the loopback interface only.
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
        settings = {"listen": f"127.0.0.2:{port}", "live": {"address": f"127.0.0.1:{port}"}}
        proxy = Proxy(ProxySettings.model_validate(settings))
        await proxy.start()
        assert proxy.port == port
        await proxy.close()


async def test_a_live_server_that_is_not_there_is_unavailable_and_nothing_else() -> None:
    proxy = Proxy(ProxySettings.model_validate(UNUSED))
    await proxy.start()
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{proxy.port}") as channel:
            for arity in ("unary_unary", "unary_stream"):
                call = getattr(channel, arity)(f"/acme.Models/{arity}")(b"", timeout=10)
                assert await call.code() is grpc.StatusCode.UNAVAILABLE
    finally:
        await proxy.close()


async def test_a_live_server_that_comes_back_is_not_kept_waiting() -> None:
    tried: list[float] = []
    often = asyncio.Event()

    def try_again(_: Any, writer: Any) -> None:
        tried.append(asyncio.get_running_loop().time())
        writer.close()
        if len(tried) == 6:
            often.set()

    async with await asyncio.start_server(try_again, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        live = {"address": f"127.0.0.1:{port}"}
        proxy = Proxy(ProxySettings.model_validate({"listen": "127.0.0.1:0", "live": live, "reflection": False}))
        await proxy.start()
        channel: Any
        async with grpc.aio.insecure_channel(f"127.0.0.1:{proxy.port}") as channel:
            asking = asyncio.create_task(asked_until_there(channel.unary_unary("/acme.Models/Ask")))
            await asyncio.wait_for(often.wait(), 60)
            asking.cancel()
        await proxy.close()
    # By default a channel waits longer each time, in the end two minutes, and whoever calls meanwhile is refused.
    assert max(after - before for before, after in pairwise(tried)) < 3.0


async def test_a_slow_reader_holds_the_live_server_back() -> None:
    sent = 0

    async def flood(request: bytes, context: Any) -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(2000):
            yield b"x" * 100_000
            sent += 1

    handler = Own("Listen", grpc.unary_stream_rpc_method_handler(flood))
    async with proxied(handler, methods={"*": "unary_stream"}) as (channel, _):
        call = channel.unary_stream("/acme.Models/Listen")(b"")
        assert len(await call.read()) == 100_000
        await quiet(lambda: sent)
        # 200 MB are on offer: what is on its way is some windows' worth.
        assert sent < 200
        left = 0
        while await call.read() is not grpc.aio.EOF:
            left += 1
        assert left == 1999


async def test_a_slow_live_server_holds_the_client_back() -> None:
    go_on = threading.Event()
    written = 0

    async def slow(requests: AsyncIterator[bytes], context: Any) -> bytes:
        await asyncio.to_thread(go_on.wait)
        return str(sum([1 async for _ in requests])).encode()

    handler = Own("Tell", grpc.stream_unary_rpc_method_handler(slow))
    async with proxied(handler, methods={"*": "stream_unary"}) as (channel, _):
        call = channel.stream_unary("/acme.Models/Tell")()

        async def write() -> None:
            nonlocal written
            for _ in range(1000):
                await call.write(b"x" * 100_000)
                written += 1
            await call.done_writing()

        writing = asyncio.create_task(write())
        await quiet(lambda: written)
        assert written < 200
        go_on.set()
        await writing
        assert await call == b"1000"
