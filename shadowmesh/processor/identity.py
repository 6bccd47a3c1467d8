"""What a processor is called, from its first start on: by the store, by the journal's owner, and in its metrics."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from opentelemetry.sdk.resources import Resource

from shadowmesh.errors import StartError
from shadowmesh.names import SERVICE_INSTANCE_ID, SERVICE_NAME
from shadowmesh.telemetry.providers import make_resource
from shadowmesh.telemetry.settings import TelemetrySettings


def identity(data: Path) -> str:
    """
    Return what a processor is called that keeps its data there, from its first start on.

    Raises:
        StartError: the directory cannot be used.
    """
    try:
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        path, new = data / "processor-id", data / f"processor-id.{os.getpid()}"
        if not path.exists():
            new.write_text(f"{uuid4()}\n", encoding="ascii")
            # Whole or not at all, and the first of two stays.
            with suppress(FileExistsError):
                path.hardlink_to(new)
            new.unlink()
        name = path.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise StartError(f"processor.data: {data} cannot be used: {reason}") from error
    if not name:
        raise StartError(f"processor.data: {data / 'processor-id'} is empty")
    return name


def own_resource(name: str | None = None) -> Resource:
    """
    Return this process's resource: a service name of ours where the environment gives none, and an instance id.

    Args:
        name: what :func:`identity` returned. It is the instance id where the environment gives none, one that stays:
            what this processor counts goes on after a restart, as one series.
    """
    resource = make_resource(TelemetrySettings())
    if str(resource.attributes[SERVICE_NAME]).startswith("unknown_service"):
        resource = resource.merge(Resource({SERVICE_NAME: "shadowmesh-processor"}))
    if name is not None and SERVICE_INSTANCE_ID not in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", ""):
        resource = resource.merge(Resource({SERVICE_INSTANCE_ID: name}))
    return resource
