"""How the proxy knows which shape a method has."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from support.acme import ASK, written

from shadowmesh.catalog.configured import ProtocolSettings, read_protocol
from shadowmesh.errors import StartError
from shadowmesh.mirror.credentials import connect
from shadowmesh.proxy.arity import Shapes, read_descriptors, shapes_of, shapes_of_protocols
from shadowmesh.rpc import Arity


def described(package: str = "acme") -> FileDescriptorProto:
    file = FileDescriptorProto(name="acme.proto", package=package)
    service = file.service.add(name="Models")
    for name, asks, answers in (
        ("Ask", False, False),
        ("Listen", False, True),
        ("Tell", True, False),
        ("Talk", True, True),
    ):
        service.method.add(name=name, client_streaming=asks, server_streaming=answers)
    return file


def test_a_file_of_descriptors_tells_the_shapes_of_its_methods(tmp_path: Path) -> None:
    file = tmp_path / "acme.binpb"
    file.write_bytes(FileDescriptorSet(file=[described(), described("")]).SerializeToString())
    expected = dict(zip(("Ask", "Listen", "Tell", "Talk"), Arity, strict=True))
    assert read_descriptors(str(file)) == {
        **{f"/acme.Models/{name}": arity for name, arity in expected.items()},
        **{f"/Models/{name}": arity for name, arity in expected.items()},
    }


def test_the_descriptors_of_protocols_tell_shapes_too(tmp_path: Path) -> None:
    written(tmp_path)
    settings = ProtocolSettings(file=str(tmp_path / "acme.yaml"), descriptors=str(tmp_path / "acme.binpb"))
    told = shapes_of_protocols([read_protocol(settings, connect)])
    assert told == {ASK: Arity.UNARY_STREAM}
    assert Shapes({}, told).of(ASK) is Arity.UNARY_STREAM


@pytest.mark.parametrize("content", [b"\xff\xff", None])
def test_a_file_that_is_none_stops_the_start_and_names_its_key(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "acme.binpb"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(StartError, match=r"proxy\.descriptors: .*acme\.binpb: "):
        read_descriptors(str(file))


def test_what_is_told_goes_before_what_is_described_and_the_first_pattern_that_fits_counts() -> None:
    told = {"/acme.Models/Ask": "stream_stream", "/acme.*": "unary_stream"}
    shapes = Shapes(told, shapes_of(described()))
    assert shapes.of("/acme.Models/Ask") is Arity.STREAM_STREAM
    assert shapes.of("/acme.Models/Tell") is Arity.UNARY_STREAM
    assert shapes.of("/shadowmesh.v1.Inference/Generate") is Arity.UNARY_UNARY
    assert shapes.of("/grpc.health.v1.Health/Watch") is Arity.UNARY_STREAM


def test_an_unknown_method_is_a_stream_both_ways_until_somebody_knows_better_and_its_service_is_asked_about_once() -> (
    None
):
    wanted: list[str] = []
    shapes = Shapes({}, {}, wanted=wanted.append)
    for method in ("/acme.Models/Ask", "/acme.Models/Tell", "/acme.Models/Ask"):
        assert shapes.of(method) is Arity.STREAM_STREAM
    assert wanted == ["acme.Models"]
    assert list(shapes.unknown) == ["/acme.Models/Ask", "/acme.Models/Tell"]
    shapes.learn(shapes_of(described()))
    assert shapes.of("/acme.Models/Ask") is Arity.UNARY_UNARY
    assert not shapes.unknown


def test_a_service_that_could_not_be_asked_about_is_asked_about_at_its_next_call() -> None:
    wanted: list[str] = []
    shapes = Shapes({}, {}, wanted=wanted.append)
    shapes.of("/acme.Models/Ask")
    shapes.forget("acme.Models")
    assert wanted == ["acme.Models"]
    shapes.of("/acme.Models/Tell")
    shapes.of("/acme.Models/Ask")
    assert wanted == ["acme.Models"] * 2


def test_names_that_clients_make_up_are_remembered_up_to_a_bound() -> None:
    wanted: list[str] = []
    shapes = Shapes({}, {}, wanted=wanted.append)
    for number in range(5000):
        shapes.of(f"/made.up{number}/X")
    assert len(wanted) == len(shapes.unknown) == 1024
