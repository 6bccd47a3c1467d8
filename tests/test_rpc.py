"""The four shapes of a method."""

from __future__ import annotations

import grpc
import pytest

from shadowmesh.rpc import Arity, span_method


@pytest.mark.parametrize("request_streaming", [False, True])
@pytest.mark.parametrize("response_streaming", [False, True])
def test_a_shape_is_two_directions_and_has_grpcs_own_name(request_streaming: bool, response_streaming: bool) -> None:
    arity = Arity.of(request_streaming=request_streaming, response_streaming=response_streaming)
    assert (arity.request_streaming, arity.response_streaming) == (request_streaming, response_streaming)
    handler = getattr(grpc, f"{arity.value}_rpc_method_handler")(lambda request, context: request)
    assert (handler.request_streaming, handler.response_streaming) == (request_streaming, response_streaming)
    assert getattr(handler, arity.value) is not None


def test_there_are_four_shapes() -> None:
    assert len(Arity) == 4


@pytest.mark.parametrize(
    ("path", "method"),
    [("/pkg.Service/Method", "pkg.Service/Method"), ("pkg.Service/Method", "pkg.Service/Method"), ("", "")],
)
def test_a_span_names_a_method_without_the_slash_of_its_path(path: str, method: str) -> None:
    assert span_method(path) == method
