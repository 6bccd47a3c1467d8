"""Ids, aborts and metadata of a protocol of one's own, whose messages its descriptors tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from pydantic import ValidationError
from support.filled import filled

from shadowmesh.catalog.configured import ProtocolSettings, configured, of_given
from shadowmesh.catalog.given import GivenProtocol
from shadowmesh.config import Config
from shadowmesh.errors import ConfigError
from shadowmesh.mirror.credentials import connect
from shadowmesh.protocols import wire

RUN, STOP = "/acme.Models/Run", "/acme.Models/Stop"
TEXT = 9
DESCRIBED = filled(
    FileDescriptorProto,
    name="acme.proto",
    package="acme",
    message_type=[
        {"name": "Question", "field": [{"name": "call", "number": 7, "type": TEXT}]},
        {"name": "Answer", "field": [{"name": "text", "number": 1, "type": TEXT}]},
        {"name": "Ending", "field": [{"name": "calls", "number": 3, "type": TEXT, "label": 3}]},
    ],
    service=[
        {
            "name": "Models",
            "method": [
                {
                    "name": "Run",
                    "input_type": ".acme.Question",
                    "output_type": ".acme.Answer",
                    "server_streaming": True,
                },
                {"name": "Stop", "input_type": ".acme.Ending", "output_type": ".acme.Answer"},
            ],
        }
    ],
)


def settings(folder: Path, **changes: Any) -> ProtocolSettings:
    (folder / "acme.binpb").write_bytes(FileDescriptorSet(file=[DESCRIBED]).SerializeToString())
    run = {"identity": "call", "response": {"text": "text"}} | changes.pop("run", {})
    said = {"version": 1, "protocol": "acme", "methods": {RUN: run}, "aborts": {STOP: {"ids": "calls[*]", "of": [RUN]}}}
    (folder / "acme.yaml").write_text(yaml.safe_dump(said | changes))
    return ProtocolSettings(file=str(folder / "acme.yaml"), descriptors=str(folder / "acme.binpb"))


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_method_that_ends_others_is_described_as_they_are_here_and_in_another_process(
    tmp_path: Path, elsewhere: bool
) -> None:
    catalog = configured((settings(tmp_path),), connect)
    if elsewhere:
        catalog = of_given(tuple(GivenProtocol.model_validate_json(one.model_dump_json()) for one in catalog.given))
    run = catalog.method_map(RUN)
    assert run is not None
    assert run.abort is not None
    assert run.abort.method == STOP
    assert list(run.abort.ids(wire.field(3, b"a") + wire.field(3, b"b"))) == ["a", "b"]
    assert run.abort.request("own") == wire.field(3, b"own")
    assert run.identified(wire.field(7, b"live"), "own") == wire.field(7, b"own")
    assert catalog.method_map(STOP) is None, "it is no exchange"


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"aborts": {STOP: {"ids": "nothing", "of": [RUN]}}}, "no field 'nothing'"),
        ({"aborts": {"/acme.Models/Other": {"ids": "calls[*]", "of": [RUN]}}}, "no message '/acme.Models/Other'"),
        ({"aborts": {"Stop": {"ids": "calls[*]", "of": [RUN]}}}, "no full name"),
        ({"aborts": {STOP: {"ids": "calls[*]", "of": [STOP]}}}, "names no identity"),
        ({"run": {"identity": {"id": "call", "ever": True}}}, "identity.ever: unknown key"),
        ({"run": {"identity": "md:x-api-key"}}, "'x-api-key' is a credential and is never read"),
        ({"run": {"request": {"model": "md:authorization"}}}, "'authorization' is a credential and is never read"),
    ],
)
def test_what_is_wrong_is_refused_at_the_start(tmp_path: Path, changes: dict[str, Any], problem: str) -> None:
    one = settings(tmp_path, **changes)
    with pytest.raises((ConfigError, ValidationError)) as refused:
        Config.model_validate({"protocols": [one.model_dump()]})
    assert problem in str(refused.value)
