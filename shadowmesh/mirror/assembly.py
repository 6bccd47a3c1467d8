"""An engine with all that it reports to, for whichever process it runs in."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import SpanExporter

from shadowmesh.catalog import tokenizers
from shadowmesh.catalog.catalog import Catalog
from shadowmesh.catalog.configured import of_given
from shadowmesh.catalog.given import GivenProtocol
from shadowmesh.errors import ConfigError
from shadowmesh.mirror.accounts import Accounts
from shadowmesh.mirror.budget_file import BudgetFile
from shadowmesh.mirror.carrier import MirrorSettings, Receive
from shadowmesh.mirror.engine import Engine
from shadowmesh.mirror.recorder import Recorder
from shadowmesh.names import SERVICE_INSTANCE_ID
from shadowmesh.pricing import Pricing, bundled_list_prices
from shadowmesh.protocols.content import TextOf
from shadowmesh.settings import Settings
from shadowmesh.telemetry import providers
from shadowmesh.telemetry.content_export import ContentExporter
from shadowmesh.telemetry.export import PairExporter, Settled
from shadowmesh.telemetry.faults import Faults
from shadowmesh.telemetry.settings import TelemetrySettings


class WorkerSetup(Settings):
    """
    What a worker process needs to build its own engine and exporter, beside the experiments.

    ``protocols`` are those beside the built-in ones, as the live process has read them.

    ``resource`` is that of the live process: its attributes as JSON, because the legs speak of the live server, and the
    shadows' marker bears its instance id.
    """

    mirror: MirrorSettings
    telemetry: TelemetrySettings
    protocols: tuple[GivenProtocol, ...] = ()
    resource: str

    @classmethod
    def of(
        cls,
        mirror: MirrorSettings,
        telemetry: TelemetrySettings,
        resource: Resource,
        protocols: tuple[GivenProtocol, ...] = (),
    ) -> WorkerSetup:
        """Return what a worker of this process needs."""
        attributes = json.dumps(dict(resource.attributes))
        return cls(mirror=mirror, telemetry=telemetry, protocols=protocols, resource=attributes)

    def make_catalog(self) -> Catalog:
        """Return the protocols that the live process knows."""
        return of_given(self.protocols)

    def make_resource(self) -> Resource:
        """Return the resource as it was."""
        attributes: dict[str, Any] = json.loads(self.resource)
        return Resource(attributes)


def make_exporter(
    settings: TelemetrySettings, exporter: SpanExporter | None, faults: Faults, settled: Settled | None = None
) -> PairExporter:
    """Return the queue of pairs, running, in front of ``exporter`` or of what the settings and ``OTEL_*`` say."""
    exporter = exporter or providers.span_exporter(settings)
    capacity, size = settings.queue_pairs, settings.queue_content
    events = ContentExporter(partial(providers.log_exporter, settings), capacity=capacity, size=size, faults=faults)
    pairs = PairExporter(exporter, capacity=capacity, faults=faults, settled=settled, content_bytes=size, events=events)
    pairs.start()
    return pairs


def make_engine(
    reply: Receive, pairs: PairExporter, resource: Resource, mirror: MirrorSettings, faults: Faults, catalog: Catalog
) -> Engine:
    """Return an engine that records to ``pairs``; to be called in its own loop's process, after any fork."""
    accounts = make_accounts(mirror, faults, reply=reply)
    return Engine(
        reply,
        recorder=Recorder(
            pairs, resource, charge=accounts.charge, faults=faults, tokenizers=_tokenizers(mirror, faults)
        ),
        instance_id=str(resource.attributes[SERVICE_INSTANCE_ID]),
        max_call_bytes=mirror.max_call_bytes,
        answer_bytes=mirror.capture_bytes,
        faults=faults,
        accounts=accounts,
        maps=catalog.method_map,
        mapped=catalog.mapped_methods,
    )


def make_accounts(mirror: MirrorSettings, faults: Faults, *, reply: Receive | None = None) -> Accounts:
    """Return the accounts of one engine: its part of every budget, and its file; ``reply`` hears what is left."""
    state = mirror.budget.state
    return Accounts(
        lambda: Pricing(mirror.prices, list_prices=bundled_list_prices()),
        faults=faults,
        part=mirror.part,
        file=None if state is None else BudgetFile(state, mirror.engines),
        reply=reply,
    )


def _tokenizers(mirror: MirrorSettings, faults: Faults) -> dict[str, TextOf]:
    """Return those of the settings; without one of them its ids have no text, and everything else goes on."""
    try:
        return tokenizers.load(mirror.tokenizers)
    except ConfigError as error:
        faults.report("tokenizers", error)
        return {}
