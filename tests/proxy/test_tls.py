"""TLS on both sides of the proxy: towards clients, who may have to show a certificate, and towards the live server."""

from __future__ import annotations

import asyncio
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from shadowmesh.errors import StartError
from shadowmesh.proxy.server import Proxy
from shadowmesh.proxy.settings import ProxySettings

FILES = Path(__file__).parents[1] / "support" / "tls"
OURS = {"certificate": str(FILES / "server.pem"), "key": str(FILES / "server.key")}
ROOTS = str(FILES / "roots.pem")
NAME = "model.internal"
"""Whom the certificates name."""
METHOD = "/acme.Models/Ask"


def file(name: str) -> bytes:
    return (FILES / name).read_bytes()


async def echo(request: bytes, context: Any) -> bytes:
    return request


async def echoes(requests: Any, context: Any) -> AsyncIterator[bytes]:
    async for request in requests:
        yield request


async def who(request: bytes, context: Any) -> bytes:
    """Answer with the certificate that was shown."""
    (certificate,) = context.auth_context()["x509_pem_cert"]
    return bytes(certificate)


def copied(name: str, *to: Path) -> None:
    for suffix, path in zip((".pem", ".key"), to, strict=True):
        shutil.copy(FILES / f"{name}{suffix}", path)


@asynccontextmanager
async def live_with_tls() -> AsyncIterator[str]:
    """Run a server that wants TLS and a certificate of its clients."""
    server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
    behaviours = {"Ask": echo, "Who": who}
    handlers: dict[str, Any] = {name: grpc.unary_unary_rpc_method_handler(one) for name, one in behaviours.items()}
    handlers["Echo"] = grpc.stream_stream_rpc_method_handler(echoes)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("acme.Models", handlers),))
    credentials = grpc.ssl_server_credentials(
        [(file("server.key"), file("server.pem"))], root_certificates=file("roots.pem"), require_client_auth=True
    )
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


@asynccontextmanager
async def proxied(address: str, **settings: Any) -> AsyncIterator[Proxy]:
    tls = {
        "roots": ROOTS,
        "server_name": NAME,
        "certificate": str(FILES / "client.pem"),
        "key": str(FILES / "client.key"),
    }
    live = {"address": address, "tls": tls}
    values = {"listen": "127.0.0.1:0", "live": live, "methods": {"*": "unary_unary"}, **settings}
    proxy = Proxy(ProxySettings.model_validate(values))
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.close()


async def ask(proxy: Proxy, *, certificate: bool) -> bytes:
    shown = (file("client.key"), file("client.pem")) if certificate else (None, None)
    credentials = grpc.ssl_channel_credentials(file("roots.pem"), *shown)
    channel: Any
    options = (("grpc.ssl_target_name_override", NAME),)
    async with grpc.aio.secure_channel(f"127.0.0.1:{proxy.port}", credentials, options=options) as channel:
        answer: bytes = await channel.unary_unary(METHOD)(b"hello", timeout=10)
    return answer


async def shown(proxy: Proxy) -> bytes:
    """Return the certificate that the proxy shows to whoever connects now."""
    text = await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", proxy.port))
    return text.encode()


async def test_both_sides_may_want_tls_and_certificates() -> None:
    async with live_with_tls() as address, proxied(address, tls=OURS | {"client_roots": ROOTS}) as proxy:
        assert await ask(proxy, certificate=True) == b"hello"
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ask(proxy, certificate=False)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_a_certificate_that_is_renewed_is_used_without_a_restart(tmp_path: Path) -> None:
    certificate, key = tmp_path / "tls.pem", tmp_path / "tls.key"
    copied("client", certificate, key)
    tls = {"certificate": str(certificate), "key": str(key)}
    async with live_with_tls() as address, proxied(address, tls=tls) as proxy:
        assert await shown(proxy) == file("client.pem")
        copied("server", certificate, key)
        assert proxy.tls is not None
        proxy.tls.refresh()
        assert await shown(proxy) == file("server.pem")
        assert await ask(proxy, certificate=False) == b"hello"


async def test_a_certificate_for_the_live_server_is_renewed_too_and_calls_in_flight_go_on(tmp_path: Path) -> None:
    certificate, key = tmp_path / "tls.pem", tmp_path / "tls.key"
    copied("client", certificate, key)
    tls = {"roots": ROOTS, "server_name": NAME, "certificate": str(certificate), "key": str(key)}
    channel: Any
    async with (
        live_with_tls() as address,
        proxied(address, live={"address": address, "tls": tls}, methods={"/acme.Models/Who": "unary_unary"}) as proxy,
        grpc.aio.insecure_channel(f"127.0.0.1:{proxy.port}") as channel,
    ):
        begun = channel.stream_stream("/acme.Models/Echo")()
        ask = channel.unary_unary("/acme.Models/Who")
        await begun.write(b"a")
        assert await begun.read() == b"a"
        assert await ask(b"") == file("client.pem")
        copied("server", certificate, key)
        async with asyncio.timeout(20):
            while await ask(b"") != file("server.pem"):
                pass
        await begun.write(b"b")
        assert await begun.read() == b"b"
        await begun.done_writing()
        assert await begun.code() is grpc.StatusCode.OK


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"tls": OURS | {"key": "/no/such"}}, r"proxy\.tls\.key: /no/such: No such file"),
        ({"live": {"address": "a:1", "tls": {"roots": "/no/such"}}}, r"proxy\.live\.tls\.roots: No such file"),
        ({"live": {"address": "a:1", "tls": {"roots": __file__}}}, r"proxy\.live\.tls\.roots: not PEM"),
        (
            {"live": {"address": "a:1", "tls": OURS | {"key": str(FILES / "client.key")}}},
            r"proxy\.live\.tls\.certificate: not a PEM certificate chain",
        ),
    ],
)
async def test_a_file_that_cannot_be_used_stops_the_start(settings: dict[str, Any], problem: str) -> None:
    values = {"listen": "127.0.0.1:0", "live": {"address": "127.0.0.1:1"}, **settings}
    with pytest.raises(StartError, match=problem):
        await Proxy(ProxySettings.model_validate(values)).start()
