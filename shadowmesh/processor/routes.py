"""What the HTTP port answers beside OTLP and health: what the store says, and metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from opentelemetry.sdk.metrics.export import MetricsData

from shadowmesh.errors import StartError
from shadowmesh.processor.settings import ProcessorSettings
from shadowmesh.processor.verdicts import Verdicts
from shadowmesh.telemetry.faults import Faults

if TYPE_CHECKING:
    from starlette.routing import BaseRoute

    from shadowmesh.processor.scrape import Allowed


def routes(
    settings: ProcessorSettings,
    verdicts: Verdicts,
    collect: Callable[[], MetricsData],
    *,
    allowed: Allowed,
    faults: Faults,
) -> list[BaseRoute]:
    """
    Return the routes, none if there is no such port.

    Args:
        collect: called on the event loop.
        allowed: whether somebody may ask.

    Raises:
        StartError: a package is missing.
    """
    if settings.http_listen is None:
        return []
    try:
        from shadowmesh.processor.scrape import scrape_route
        from shadowmesh.processor.verdict_routes import verdict_routes
    except ImportError as error:
        raise StartError(f"{error.name} is missing: pip install 'shadowmesh[processor]'") from error
    every: list[BaseRoute] = [*verdict_routes(verdicts, faults=faults, allowed=allowed)]
    if settings.scrape:
        every.append(scrape_route(collect, allowed=allowed))
    return every
