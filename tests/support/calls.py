"""Calls a client makes of the scripted handlers, and everything it can see of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import grpc
from support.scripts import script
from support.servers import Server

ARITIES = ("unary_unary", "unary_stream", "stream_unary", "stream_stream")
_BIN = ["x-some-bin", "\x00\x01~"]

SCENARIOS: dict[str, list[list[Any]]] = {
    "answers": [["send", "one"], ["send", "two"], ["send", "three"]],
    "answers nothing": [],
    "echoes the request stream": [["read_all"]],
    "ends before the requests do": [["read"], ["send", "enough"]],
    "initial metadata": [["initial", [["x-a", "1"], ["x-a", "2"], _BIN]], ["send", "one"]],
    "trailing metadata": [["send", "one"], ["trailing", [["x-b", "1"], ["x-b", "2"], _BIN]]],
    "aborts at once": [["abort", "FAILED_PRECONDITION", "not today"]],
    "aborts after a message": [["send", "one"], ["trailing", [["x-b", "1"]]], ["abort", "DATA_LOSS", "gone"]],
    "sets a status": [["send", "one"], ["code", "NOT_FOUND"], ["details", "no such thing"]],
    "raises": [["send", "one"], ["raise", "boom"]],
    "raises with a status set": [["code", "OUT_OF_RANGE"], ["details", "far"], ["raise", "boom"]],
    "compresses": [["compress"], ["send", "one"], ["plain_next"], ["send", "x" * 5000]],
    "sees metadata": [["metadata"]],
    "sees the deadline": [["deadline"]],
}


def scenarios(kind: str) -> Iterator[tuple[str, str]]:
    """Every scenario in every arity, less what grpc itself cannot do reliably."""
    for name in SCENARIOS:
        for arity in ARITIES:
            # A synchronous generator on an aio server aborts from its pool thread while the loop may still be
            # writing its last message; grpc then fails the batch and leaves the client hanging, with us or without.
            if kind == "aio sync-servicer" and name == "aborts after a message" and arity.endswith("stream"):
                continue
            yield name, arity


class Seen(NamedTuple):
    """Everything a client can see of a call."""

    messages: tuple[bytes, ...]
    code: grpc.StatusCode
    details: str
    initial: tuple[tuple[str, str | bytes], ...]
    trailing: tuple[tuple[str, str | bytes], ...]


def see(server: Server, arity: str, steps: list[list[Any]], *, timeout: float = 30.0) -> Seen:
    """Make one call and see what comes."""
    metadata = (("x-one", "1"), ("x-one", "2"), ("x-raw-bin", b"\xff\x00"))
    first = script(*steps)
    request: Any = iter((first, b"a", b"b", b"c")) if arity.startswith("stream") else first
    messages: list[bytes] = []
    multicallable = server.call(arity)
    try:
        if arity.endswith("stream"):
            call = multicallable(request, metadata=metadata, timeout=timeout)
            messages.extend(call)
        else:
            response, call = multicallable.with_call(request, metadata=metadata, timeout=timeout)
            messages.append(response)
    except grpc.RpcError as error:
        call = error
    return Seen(
        tuple(messages),
        call.code(),
        call.details(),
        tuple(call.initial_metadata() or ()),
        tuple(call.trailing_metadata() or ()),
    )
