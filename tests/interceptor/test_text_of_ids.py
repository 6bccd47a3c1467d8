"""Captured answers of an engine that speaks in token ids: their text, wherever the engine of the mirror runs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from pydantic import ValidationError
from support.collector import collector
from support.dialects.spoken import SERVER_STREAM, Said, Server, view
from support.events import EventSink, Received
from support.meshes import target
from support.servers import interceptor_of, live_server
from support.tokenizer import WORDS, tokenizer_file
from support.worlds import WORLDS

from shadowmesh.build import Mesh
from shadowmesh.config import Config
from shadowmesh.errors import ConfigError
from shadowmesh.telemetry.settings import OtlpSettings, TelemetrySettings
from shadowmesh.testing import Backend, ReceivedCall, SpanSink

METHOD = "/vllm.grpc.engine.VllmEngine/Generate"
ASKED = {"protocol": "vllm_smg", "methods": [METHOD], "content": "events"}

pytest.importorskip("tokenizers", reason="comes with the extra tokenizers")


def ids(*words: str) -> dict[str, list[int]]:
    return {"token_ids": [WORDS[word] for word in words]}


def settings(address: str, file: Path, *, carrier: str = "thread", tokenizer: str | None = "words") -> Config:
    experiment = {"name": "x", "tokenizer": tokenizer, "targets": [target(address)], **ASKED}
    mirror = {"carrier": carrier, "harm_guard": {"enabled": False}, "tokenizers": {"words": str(file)}}
    return Config.model_validate({"experiments": [experiment], "mirror": mirror})


def outputs(events: list[Received]) -> dict[str, list[list[str]]]:
    """Return the texts of each role."""
    return {
        one.attributes["shadowmesh.role"]: [
            [part["content"] for part in message["parts"]] for message in one.attributes["gen_ai.output.messages"]
        ]
        for one in events
    }


@pytest.mark.parametrize(("kind", "carrier"), WORLDS)
def test_both_legs_have_the_text_of_their_ids(kind: str, carrier: str, tmp_path: Path) -> None:
    def shadow(call: ReceivedCall, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterable[bytes]:
        for _ in requests:
            yield view("smg.VllmGenerateResponse", chunk=ids("the", "mat")).SerializeToString()

    live = Said([view("smg.VllmGenerateResponse", chunk=ids(word)) for word in ("<s>", "the", "cat")])
    spans, events = SpanSink(), EventSink()
    with collector(spans, events.take) as address, Backend(shadow) as backend:
        made = settings(backend.address, tokenizer_file(tmp_path), carrier=carrier)
        telemetry = TelemetrySettings(otlp=OtlpSettings(endpoint=f"http://{address}"))
        mesh = Mesh(made.model_copy(update={"telemetry": telemetry}))
        try:
            with live_server(
                kind, lambda: [interceptor_of(kind, mesh)], handler=Server(kind, SERVER_STREAM, live)
            ) as server:
                asked = view("smg.VllmGenerateRequest", tokenized={"input_ids": [WORDS["the"], WORDS["cat"]]})
                generate: Any = server.channel.unary_stream(METHOD)
                assert len(list(generate(asked.SerializeToString(), timeout=20))) == 3
                mesh.drain(10)
                said = events.wait_for(2)
        finally:
            mesh.close(5)
    assert outputs(said) == {"live": [["the cat"]], "shadow": [["the mat"]]}
    assert all(one.attributes["gen_ai.input.messages"][0]["parts"][0]["content"] == "the cat" for one in said)


def test_a_file_that_is_no_tokenizer_stops_the_start_and_names_the_key(tmp_path: Path) -> None:
    file = tmp_path / "tokenizer.json"
    file.write_text("{}")
    with pytest.raises(ConfigError, match=r"^mirror\.tokenizers\.words: .*tokenizer\.json: "):
        Mesh(settings("127.0.0.1:1", file))


@pytest.mark.parametrize("carrier", ["thread", "process"])
def test_a_file_that_is_missing_stops_the_start_whoever_would_read_it(tmp_path: Path, carrier: str) -> None:
    with pytest.raises(ConfigError, match=r"^mirror\.tokenizers\.words: .*gone\.json: no such file$"):
        Mesh(settings("127.0.0.1:1", tmp_path / "gone.json", carrier=carrier))


def test_outputs_cannot_be_alike_that_never_have_a_text(tmp_path: Path) -> None:
    file = tokenizer_file(tmp_path)
    with pytest.raises(ValidationError, match="answers here are token ids"):
        settings("127.0.0.1:1", file, tokenizer=None)
    with pytest.raises(ValidationError, match=r"'other' is none of mirror.tokenizers \(words\)"):
        settings("127.0.0.1:1", file, tokenizer="other")
