"""``shadowmesh protocol``: which protocols there are, and what a map reads of captured calls."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import ValidationError

from shadowmesh import config as configuration
from shadowmesh.catalog.builtin import builtin
from shadowmesh.catalog.configured import ProtocolSettings, read_protocol
from shadowmesh.errors import ConfigError, DecodeError, ProtocolMapError
from shadowmesh.mirror.credentials import connect
from shadowmesh.protocols.protocol_map import MethodMap
from shadowmesh.settings import complaint

if TYPE_CHECKING:
    from shadowmesh.report.protocol_check import ProtocolCheck

protocol = typer.Typer(help="Protocol maps: list them, and check one against captured calls.", rich_markup_mode=None)


@protocol.command("list")
def list_protocols(
    config: Annotated[
        Path | None, typer.Option("--config", "-c", metavar="FILE", help="With the protocols of this configuration.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Print every protocol that is known, and its methods."""
    catalog = builtin() if config is None else configuration.load(config).catalog
    if as_json:
        methods = {name: sorted(maps) for name, maps in catalog.protocols.items()}
        typer.echo(json.dumps({"schema": "shadowmesh.protocols/1", "protocols": methods}, indent=2))
        return
    for name, maps in catalog.protocols.items():
        typer.echo(name)
        for method in sorted(maps):
            typer.echo(f"  {method}")


@protocol.command(short_help="Say field by field what a map reads of captured calls.")
def check(
    file: Annotated[str, typer.Argument(metavar="FILE", help="The protocol map, or the name of a known protocol.")],
    sample: Annotated[
        Path, typer.Option(metavar="CAPTURE", help="A file or directory that shadowmesh capture has written.")
    ],
    descriptors: Annotated[
        str | None, typer.Option(metavar="FILE", help="Describes its messages: a FileDescriptorSet.")
    ] = None,
    module: Annotated[
        str | None, typer.Option(metavar="NAME", help="Likewise: a module that protoc has written.")
    ] = None,
    reflection: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Likewise: a server with reflection, asked in the clear.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", metavar="FILE", help="Whose protocols are known by name too.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> int:
    """
    Say field by field what a map reads of captured calls; 1 if it reads none of them, or not every message.

    Examples of prompts and answers are printed.
    """
    from shadowmesh.mirror.capture_files import read_calls
    from shadowmesh.report import protocol_check

    known = (builtin() if config is None else configuration.load(config).catalog).protocols
    described = {"descriptors": descriptors, "module": module, "reflection": reflection}
    if not Path(file).exists() and file not in known:
        raise typer.BadParameter(f"{file}: no such file, and no protocol of that name (shadowmesh protocol list)")
    name, maps = _maps(file, described) if Path(file).exists() else (file, known[file])
    try:
        found = protocol_check.check(name, maps, read_calls(sample))
    except DecodeError as error:
        raise typer.BadParameter(str(error), param_hint="--sample") from error
    if as_json:
        typer.echo(json.dumps({"schema": protocol_check.SCHEMA, "good": found.good, **asdict(found)}, indent=2))
    else:
        for line in _lines(found):
            typer.echo(line)
    return 0 if found.good else 1


def _maps(file: str, described: dict[str, str | None]) -> tuple[str, Mapping[str, MethodMap]]:
    try:
        given = read_protocol(ProtocolSettings.model_validate({"file": file, **described}), connect)
        return given.protocol, given.bound()
    except ValidationError as error:
        raise typer.BadParameter(complaint(error.errors()[0])) from error
    except ConfigError as error:
        # Its keys are our options, but for the map itself, whose name is in the problem.
        raise typer.BadParameter(error.problem, param_hint=f"--{error.key}" if error.key != "file" else None) from error
    except ProtocolMapError as error:
        raise ConfigError(str(error), source=file) from error


def _lines(found: ProtocolCheck) -> Iterator[str]:
    for method in found.methods:
        incomplete = f", {method.incomplete} of them incomplete" if method.incomplete else ""
        yield f"{method.method}: {method.calls} calls{incomplete}, {method.exchanges} exchanges"
        if method.unreadable:
            yield f"  {method.unreadable} messages ARE NOT what the map says they are"
        if not method.calls:
            continue
        named = max((len(one.field) for one in method.fields), default=0)
        led = max((len(one.path) for one in method.fields), default=0)
        for one in method.fields:
            said = "found in none" if one.example is None else f"{one.found} of {method.exchanges}  {one.example}"
            yield f"  {one.field:{named}}  {one.path:{led}}  {said}"
    for other, calls in found.others.items():
        yield f"{other}: {calls} calls, which the map does not have"
