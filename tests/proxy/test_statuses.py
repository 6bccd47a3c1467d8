"""A client never sees a status that the live server did not send, also of streams that are ended early."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from support.scripts import script
from support.servers import PROXY, Server, live_server

MESSAGE = b"m" * 100
ENDINGS: dict[str, tuple[list[Any], grpc.StatusCode, str]] = {
    "refused": (["abort", "RESOURCE_EXHAUSTED", "no more"], grpc.StatusCode.RESOURCE_EXHAUSTED, "no more"),
    "answered": (["send", "enough"], grpc.StatusCode.OK, ""),
}


def early(server: Server, arity: str, ending: str, times: int) -> Counter[tuple[grpc.StatusCode, str]]:
    step, _, _ = ENDINGS[ending]
    call = server.call(arity)
    seen: Counter[tuple[grpc.StatusCode, str]] = Counter()
    for _ in range(times):
        requests = iter([script(["read"], step), *[MESSAGE] * 5])
        try:
            if arity == "stream_stream":
                one = call(requests, timeout=30)
                for _ in one:
                    pass
            else:
                _, one = call.with_call(requests, timeout=30)
        except grpc.RpcError as error:
            one = error
        seen[one.code(), one.details()] += 1
    return seen


def spread(server: Server, arity: str, ending: str, times: int) -> Counter[tuple[grpc.StatusCode, str]]:
    with ThreadPoolExecutor(8) as pool:
        parts = pool.map(lambda _: early(server, arity, ending, times // 8), range(8))
        return sum(parts, Counter[tuple[grpc.StatusCode, str]]())


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("arity", ["stream_unary", "stream_stream"])
def test_no_status_is_wrong_in_a_thousand_streams_that_end_early(arity: str, ending: str) -> None:
    _, code, details = ENDINGS[ending]
    with live_server(PROXY) as server:
        assert spread(server, arity, ending, 256) == {(code, details): 256}


@pytest.mark.soak
@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("arity", ["stream_unary", "stream_stream"])
def test_no_status_is_wrong_in_ten_thousand_streams_that_end_early(arity: str, ending: str) -> None:
    _, code, details = ENDINGS[ending]
    with live_server(PROXY) as server:
        assert spread(server, arity, ending, 10_000) == {(code, details): 10_000}
