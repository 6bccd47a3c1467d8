"""What a protocol says in metadata: ids that no shadow gets, and fields that every leg has as it was sent them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.dialects.spoken import SERVER_STREAM, Said, Server, view
from support.meshes import running_mesh, target
from support.servers import interceptor_of, live_server
from support.worlds import LIVE, WORLDS, World, with_mirror, world

from shadowmesh.config import Config
from shadowmesh.names import Decision, DropReason
from shadowmesh.testing import Backend, ReceivedCall

TGIS = "/fmaas.GenerationService/GenerateStream"
ID = "x-correlation-id"
OURS = "/acme.Models/Ask"
MAP = {
    "version": 1,
    "protocol": "acme",
    "methods": {
        OURS: {
            "messages": {
                "request": "shadowmesh.views.tgis.SingleRequest",
                "response": "shadowmesh.views.tgis.Response",
            },
            "request": {"model": "model_id | md:mm-model-id"},
            "response": {"text": "text"},
        }
    },
}


def answering(call: ReceivedCall, requests: Any, context: Any) -> list[bytes]:
    list(requests)
    return [view("tgis.Response", text="four").SerializeToString()]


def server(kind: str) -> Server:
    return Server(kind, SERVER_STREAM, Said([view("tgis.Response", text="four")]))


@contextmanager
def running(kind: str, carrier: str, settings: Config) -> Iterator[World]:
    with running_mesh(with_mirror(settings), carrier, grace=0.0) as (mesh, sink):
        names = tuple(one.name for one in settings.experiments[0].targets)
        with live_server(kind, lambda: [interceptor_of(kind, mesh)], handler=server(kind)) as live:
            yield World(live, mesh, sink, names)
            mesh.drain(0.0)


def call(it: Any, method: str, metadata: Any, **fields: Any) -> None:
    ask: Any = it.server.channel.unary_stream(method)
    asked = view("tgis.SingleRequest", request={"text": "two and two?"}, **fields)
    assert len(list(ask(asked.SerializeToString(), timeout=20, metadata=metadata))) == 1


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_an_id_in_metadata_never_travels_and_the_shadow_has_its_own(kind: str, carrier: str, listed: bool) -> None:
    metadata = ["x-more"] + [ID] * listed
    with (
        Backend(answering) as backend,
        world(kind, carrier, target(backend.address, metadata=metadata), handler=server(kind), methods=(TGIS,)) as it,
    ):
        call(it, TGIS, ((ID, "live"), ("x-more", "1"), ("x-none", "2")))
        call(it, TGIS, (("x-more", "1"),))
        sent: list[dict[str, Any]] = [dict(one.metadata) for one in backend.wait_for_calls(2)]
        pairs = {leg.pair_id for leg in it.settle(2, grace=10)[LIVE]}
        assert it.mesh.faults() == {}
    named, unnamed = sorted(sent, key=lambda one: ID not in one)
    assert named[ID] == f"shadow-candidate-{named['x-shadowmesh-pair-id']}"
    assert named["x-shadowmesh-pair-id"] in pairs
    assert ID not in unnamed, "who has none gets none"
    assert (named["x-more"], unnamed["x-more"]) == ("1", "1")
    assert not any("live" in one.values() for one in (named, unnamed))


def test_it_does_not_travel_to_a_target_of_another_protocol_either() -> None:
    other = {"protocol": "vllm", "defaults": {"max_tokens": 8, "temperature": 1.0, "top_p": 1.0, "top_k": 4}}
    one = target("127.0.0.1:1", metadata=[ID, "x-more"], translate=other)
    with Backend(answering) as backend:
        there = one | {"address": backend.address}
        with world("sync", "thread", there, handler=server("sync"), methods=(TGIS,)) as it:
            call(it, TGIS, ((ID, "live"), ("x-more", "1")))
            (heard,) = backend.wait_for_calls(1)
            it.settle(1, grace=10)
    assert heard.method == "/vllm.Inference/GenerateStream"
    carried = dict(heard.metadata)
    assert carried["x-more"] == "1"
    assert ID not in carried


@pytest.mark.parametrize(("kind", "carrier"), [("sync", "thread"), ("aio", "loop"), ("aio", "process")])
def test_a_field_of_the_metadata_is_what_each_leg_was_sent(kind: str, carrier: str, tmp_path: Path) -> None:
    file = tmp_path / "acme.yaml"
    file.write_text(yaml.safe_dump(MAP))
    with Backend(answering) as backend:
        one = target(backend.address, "told", metadata=["mm-*"])
        other = target(backend.address, "untold")
        experiments = [{"name": "x", "methods": [OURS], "targets": [one, other]}]
        settings = Config.model_validate({"protocols": [{"file": str(file)}], "experiments": experiments})
        with running(kind, carrier, settings) as it:
            call(it, OURS, (("mm-model-id", "gpt"), ("mm-more", "1")))
            call(it, OURS, (("mm-model-id", "gpt"),), model_id="llama")
            legs = it.settle(2, grace=10)
    models = {name: [leg.fields.request_model for leg in found] for name, found in legs.items()}
    assert models == {LIVE: ["gpt", "llama"], "told": ["gpt", "llama"], "untold": [None, "llama"]}


@pytest.mark.parametrize(("kind", "carrier"), [("sync", "thread"), ("aio", "loop"), ("aio", "process")])
def test_an_experiment_takes_the_calls_whose_metadata_asks_for_its_model(
    kind: str, carrier: str, tmp_path: Path
) -> None:
    file = tmp_path / "acme.yaml"
    file.write_text(yaml.safe_dump(MAP))
    with Backend(answering) as backend:
        asks = {"name": "x", "methods": [OURS], "targets": [target(backend.address)], "when": {"models": ["gpt"]}}
        settings = Config.model_validate({"protocols": [{"file": str(file)}], "experiments": [asks]})
        with running(kind, carrier, settings) as it:
            for metadata in ((("mm-model-id", "gpt"),), (("mm-model-id", "llama"),), ()):
                call(it, OURS, metadata)
            it.mesh.drain(10)
            assert it.decided() == {(Decision.MIRRORED, ""): 1, (Decision.DISABLED, DropReason.OTHER_MODEL): 2}
