"""Shadow backends that behave, and that do not."""

from __future__ import annotations

from collections.abc import Iterator

import grpc

from shadowmesh.testing import ReceivedCall


def answering(call: ReceivedCall, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
    yield b"".join(requests)


def hanging(call: ReceivedCall, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
    call.ended.wait(30)
    yield from ()


def resetting(call: ReceivedCall, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
    yield b"one"
    context.cancel()


def erroring(call: ReceivedCall, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterator[bytes]:
    yield from ()
    context.abort(grpc.StatusCode.INTERNAL, "shadow is broken")


SCRIPTS = {"answering": answering, "hanging": hanging, "resetting": resetting, "erroring": erroring}
