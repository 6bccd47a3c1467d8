"""``shadowmesh instrument``: runs a Python program with the interceptor in every gRPC server it builds."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from shadowmesh import config as configuration
from shadowmesh.errors import StartError
from shadowmesh.instrument.environment import instrumented

_HIDES_US = "opentelemetry-instrument"


def instrument(
    config: Annotated[Path, typer.Option("--config", "-c", metavar="FILE", help="The configuration file.")],
    command: Annotated[list[str], typer.Argument(metavar="-- PROGRAM", help="What to run, and its arguments.")],
) -> None:
    """
    Run a Python program, and mirror the calls of the gRPC servers that it and its child processes build.

    The program needs ShadowMesh in its own environment, and takes the place of this process. Servers that are built by
    grpc.server or grpc.aio.server are reached; for others there is the proxy.
    """
    if Path(command[0]).name == _HIDES_US:
        # Of all that Python could load at its start only the first is loaded, and this one puts itself first.
        raise typer.BadParameter(
            f"{_HIDES_US} goes before us: {_HIDES_US} shadowmesh instrument -c {config} -- {' '.join(command[1:])}"
        )
    configuration.check_credentials(configuration.load(config), source=str(config))
    program = shutil.which(command[0])
    if program is None:
        raise StartError(f"{command[0]}: no such program")
    environment = instrumented(os.environ, config)
    sys.stdout.flush()
    try:
        os.execve(program, command, environment)  # noqa: S606  # no shell is wanted
    except OSError as error:
        raise StartError(f"{program}: {error.strerror}") from error
