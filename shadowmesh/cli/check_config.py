"""``shadowmesh check-config``: says whether a configuration file would be accepted, and what it means."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shadowmesh import config


def check_config(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The configuration file.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole configuration, defaults filled in.")] = False,
) -> None:
    """Check a configuration file; 0 if it is good, 64 with the wrong key if not."""
    loaded = config.load(file)
    if as_json:
        typer.echo(loaded.model_dump_json(indent=2))
        return
    for experiment in loaded.experiments:
        typer.echo(f"experiment {experiment.name}: {', '.join(experiment.methods)}")
        for target in experiment.targets:
            typer.echo(f"  {target.kind} {target.name} at {target.address}, {target.rate:.4g} of calls")
    typer.echo(f"{file}: ok")
