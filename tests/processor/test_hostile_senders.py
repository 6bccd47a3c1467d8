"""A real processor under senders that want its memory: it stays small, and serves the next one."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import pytest
import yaml
from support.legs import live
from support.otlp import TRACES, call, legs_request

MIB = 1 << 20
LIMIT = 4 * MIB
# Small packed, within the limit unpacked, and 40 times that when it is read.
NEST = b"[" + b'{"":{"":{"":[]}}},' * (LIMIT // 19) + b"0]"


class Victim(NamedTuple):
    """A running processor."""

    pid: int
    port: int
    http_port: int

    def peak(self) -> int:
        """Return the most memory it has ever had resident."""
        (line,) = re.findall(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text())
        return int(line) * 1024


@pytest.fixture
def victim(tmp_path: Path) -> Iterator[Victim]:
    file = tmp_path / "shadowmesh.yaml"
    ports = {"listen": "127.0.0.1:0", "http_listen": "127.0.0.1:0"}
    settings = ports | {"max_message_bytes": LIMIT, "limits": {"memory": 16 * MIB}}
    file.write_text(yaml.safe_dump({"processor": settings}))
    command = [sys.executable, "-m", "shadowmesh", "processor", "--config", str(file)]
    wide = {**os.environ, "COLUMNS": "200"}
    # What it keeps it keeps there.
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=wide, cwd=tmp_path) as process:
        try:
            assert process.stdout is not None
            port, http_port = re.findall(r"127\.0\.0\.1:(\d+)", process.stdout.readline())
            yield Victim(process.pid, int(port), int(http_port))
        finally:
            process.terminate()
        assert process.wait(20) == 0


def post(victim: Victim, body: bytes, **headers: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", victim.http_port, timeout=60)
    given = {key.replace("_", "-"): value for key, value in headers.items()}
    connection.request("POST", "/v1/traces", body, {"content-type": "application/x-protobuf"} | given)
    status = connection.getresponse().status
    connection.close()
    return status


def call_with(victim: Victim, size: int, compression: grpc.Compression) -> grpc.StatusCode:
    """Send a message of zeros and return how it was refused."""
    options: list[tuple[str, Any]] = [("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(f"127.0.0.1:{victim.port}", options, compression) as channel:
        export: Any = channel.unary_unary(TRACES)
        with pytest.raises(grpc.RpcError) as error:
            export(bytes(size), timeout=60)
        code: grpc.StatusCode = error.value.code()
        return code


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak of memory from /proc")
@pytest.mark.parametrize("attack", ["http bomb", "json bomb", "json nest", "http flood", "grpc bomb", "grpc flood"])
async def test_a_thousandfold_bomb_or_a_flood_is_refused_and_memory_stays_bounded(victim: Victim, attack: str) -> None:
    send = call(f"127.0.0.1:{victim.port}")
    # What is loaded at the first request is no matter of its size.
    await send(TRACES, legs_request([live()]))
    assert await asyncio.to_thread(post, victim, b"") == 200
    assert await asyncio.to_thread(post, victim, b"{}", content_type="application/json") == 200
    before = victim.peak()
    size = 256 * MIB
    json = {"content_type": "application/json", "content_encoding": "gzip"}
    packed = gzip.compress(bytes(size) if "bomb" in attack else NEST, 6) if "grpc" not in attack else b""
    for _ in range(3):
        if attack == "http bomb":
            assert size / len(packed) > 900
            assert await asyncio.to_thread(post, victim, packed, content_encoding="gzip") == 413
        elif "json" in attack:
            assert await asyncio.to_thread(post, victim, packed, **json) == 413
        elif attack == "http flood":
            assert await asyncio.to_thread(post, victim, bytes(8 * MIB)) == 413
        else:
            compression = grpc.Compression.Gzip if "bomb" in attack else grpc.Compression.NoCompression
            code = await asyncio.to_thread(call_with, victim, size, compression)
            assert code is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert victim.peak() - before < 5 * LIMIT
    await send(TRACES, legs_request([live("p2")]))
