"""A live server with ShadowMesh in front of a stage, mirrored as deploy/ has it, and the client that calls it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import grpc
import yaml
from deploy.queries import DEPLOY
from e2e.stage import Stage
from opentelemetry.sdk.trace.export import SpanExporter
from support.experiments import GENERATE
from support.models import Model, RefusalError
from support.resources import until
from support.servers import Server, interceptor_of, live_server
from support.wire import request, response

from shadowmesh.build import Mesh
from shadowmesh.config import Config
from shadowmesh.names import Decision
from shadowmesh.schema import messages
from shadowmesh.testing import Backend, ReceivedCall

Answer = Callable[[str], str]
"""From a prompt to an answer; may raise :class:`RefusalError`."""


class Live(NamedTuple):
    """A running server."""

    server: Server
    mesh: Mesh

    def ask(self, prompt: str, *, metadata: Any = ()) -> None:
        """Make one call, which must succeed."""
        generate: Any = self.server.channel.unary_unary(GENERATE)
        generate(request(model="m", prompt=prompt), timeout=20, metadata=metadata)

    def ask_many(self, calls: int) -> None:
        """Make so many, one after the other."""
        for number in range(calls):
            self.ask(f"call {number}")

    def settle(self) -> None:
        """Wait for the shadows in flight."""
        assert until(lambda: not any(self.mesh.active().values()))

    def mirrored(self) -> int:
        """Return how many exchanges the funnel says were mirrored."""
        return sum(count for key, count in self.mesh.funnel().items() if key.decision == Decision.MIRRORED)


def file(endpoint: str, addresses: Mapping[str, str], *, name: str, **experiment: Any) -> dict[str, Any]:
    """
    Return the file of deploy/ for a live server.

    Args:
        endpoint: of the Collector.
        addresses: of the targets by their name in the file; the others are left out.
        experiment: goes into the experiment.
    """
    config: dict[str, Any] = yaml.safe_load((DEPLOY / "shadowmesh" / "live.yaml").read_text(encoding="utf-8"))
    (settings,) = config["experiments"]
    known = {target["name"]: target for target in settings["targets"]}
    targets = [known[target] | {"address": address} for target, address in addresses.items()]
    settings |= {"name": name, "targets": targets, **experiment}
    # Chance must not leave one out of a few calls without its shadow.
    config["mirror"] = {"harm_guard": {"enabled": False}}
    config["telemetry"] |= {"otlp": {"endpoint": endpoint}, "service_name": name, "metric_interval": "500ms"}
    return config


@contextmanager
def backend(answer: Answer) -> Iterator[str]:
    """Run a shadow and yield its address."""

    def play(call: ReceivedCall, requests: Iterator[bytes], context: grpc.ServicerContext) -> Iterable[bytes]:
        try:
            yield answered(answer, next(requests))
        except RefusalError as refusal:
            context.abort(refusal.code, refusal.details)

    with Backend(play) as running:
        yield running.address


@contextmanager
def serving(
    config: Mapping[str, Any] | Path,
    kind: str = "sync",
    *,
    live: Answer = str.upper,
    handler: grpc.GenericRpcHandler | None = None,
    exporter: SpanExporter | None = None,
) -> Iterator[Live]:
    """
    Run a live server of ``kind`` with these settings, or with a file; the end of the block drains it.

    Args:
        handler: what answers its calls; a model that answers as ``live`` without.
    """
    handler = handler or Model(kind, lambda data: answered(live, data))
    if isinstance(config, Path):
        mesh = Mesh.from_file(config, span_exporter=exporter)
    else:
        mesh = Mesh(Config.model_validate(config), span_exporter=exporter)
    try:
        with live_server(kind, lambda: [interceptor_of(kind, mesh)], handler=handler) as server:
            yield Live(server, mesh)
            # While the server's loop still runs: an aio server's is the mirror's as well.
            mesh.drain(10)
    finally:
        mesh.close(10)


@contextmanager
def mirrored(
    stage: Stage,
    kind: str = "sync",
    *,
    name: str,
    live: Answer = str.upper,
    shadow: Answer = str.upper,
    **experiment: Any,
) -> Iterator[Live]:
    """Run a live server of ``kind`` and its shadow; the end of the block drains them."""
    with (
        backend(shadow) as address,
        serving(file(stage.endpoint, {"candidate": address}, name=name, **experiment), kind, live=live) as running,
    ):
        yield running


def answered(answer: Answer, data: bytes) -> bytes:
    """Return the response to a request."""
    asked = messages.GenerateRequest.FromString(data)
    text = answer(asked.prompt)
    usage = messages.Usage(input_tokens=len(asked.prompt), output_tokens=len(text))
    return response(text, model=asked.model, usage=usage, finish_reason=messages.FINISH_REASON_STOP)
