"""The entry point ``shadowmesh``: registers the commands and turns every error into one line and a code."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import version
from io import TextIOWrapper
from typing import Annotated, Any, NoReturn

import typer

from shadowmesh.cli.capture import capture
from shadowmesh.cli.check_config import check_config
from shadowmesh.cli.demo.command import demo
from shadowmesh.cli.export import export
from shadowmesh.cli.gate import gate
from shadowmesh.cli.instrument import instrument
from shadowmesh.cli.processor import processor
from shadowmesh.cli.protocol import protocol
from shadowmesh.cli.proxy import proxy
from shadowmesh.cli.report import report
from shadowmesh.cli.status import status
from shadowmesh.errors import ConfigError, ShadowMeshError, StartError, StoreError, UnknownNameError

EX_USAGE = 64
EX_UNAVAILABLE = 69
EX_SOFTWARE = 70
EX_IOERR = 74
_EX_INTERRUPTED = 130
# Newer releases of typer carry a click of their own, older ones import the package: what is raised tells which.
_USAGE_ERROR: Any = next(base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException")
_CODES: tuple[tuple[type[Exception], int], ...] = (
    (ConfigError, EX_USAGE),
    (UnknownNameError, EX_USAGE),
    (StartError, EX_UNAVAILABLE),
    (StoreError, EX_UNAVAILABLE),
    (ShadowMeshError, EX_SOFTWARE),
)

_EXTRAS = {
    **dict.fromkeys(("alembic", "grpc_health", "rapidfuzz", "sqlalchemy", "starlette", "uvicorn"), "processor"),
    **dict.fromkeys(("jinja2", "matplotlib"), "report"),
}

app = typer.Typer(
    name="shadowmesh",
    help="Mirror live gRPC model calls to shadow backends and compare them, pair by pair.",
    no_args_is_help=False,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"shadowmesh {version('shadowmesh')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context,
    show_version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    if context.invoked_subcommand is None and not show_version:
        raise typer.BadParameter("a command is missing; see shadowmesh --help")


app.command(short_help="Watch a live and a shadow model answer the same calls.")(demo)
app.command(short_help="Receive spans, pair live and shadow legs, compare and export.")(processor)
app.command(short_help="Forward every call to a live server, and mirror it.")(proxy)
app.command(short_help="Run a Python program with the interceptor in it.")(instrument)
app.command(short_help="Forward every call to a live server, and write it to a file.")(capture)
app.command(short_help="Ask an interceptor or a processor how it is doing.")(status)
app.command(short_help="Show the verdict and what it rests on.")(report)
app.command(short_help="Write stored pairs, one by one.")(export)
app.command(short_help="Judge the candidates: exit code 0 is GO, 1 NO_GO, 2 NOT_YET.")(gate)
app.command("check-config", short_help="Check a configuration file, or say what it will do.")(check_config)
app.add_typer(protocol, name="protocol", short_help="List protocols, and check a map against captured calls.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code; errors go to standard error, one line each."""
    command = typer.main.get_command(app)
    try:
        result = command.main(
            args=list(arguments) if arguments is not None else None, prog_name="shadowmesh", standalone_mode=False
        )
    except Exception as error:
        return _explain(error)
    except KeyboardInterrupt:
        return _EX_INTERRUPTED
    except SystemExit:
        # click's only one, of a reader that has gone: with 1, which is an answer of ``gate``.
        return EX_IOERR
    return result if isinstance(result, int) else 0


def run() -> NoReturn:
    """Run as the console script."""
    if isinstance(sys.stdout, TextIOWrapper):
        # A terminal that knows no "…" gets a "?", and whoever asked the exit code.
        sys.stdout.reconfigure(errors="replace")
    sys.exit(main())


def _explain(error: Exception) -> int:
    if isinstance(error, typer.Exit):
        return error.exit_code
    if isinstance(error, typer.Abort):
        return _EX_INTERRUPTED
    if isinstance(error, _USAGE_ERROR):
        return _complain(error.format_message().removeprefix("Invalid value: "), EX_USAGE)
    if isinstance(error, ModuleNotFoundError) and (extra := _EXTRAS.get((error.name or "").partition(".")[0])):
        return _complain(f"{error.name} is missing: pip install 'shadowmesh[{extra}]'", EX_UNAVAILABLE)
    for kind, code in _CODES:
        if isinstance(error, kind):
            return _complain(str(error), code)
    return _complain(f"internal error: {type(error).__name__}: {error}", EX_SOFTWARE)


def _complain(text: str, code: int) -> int:
    typer.echo(f"shadowmesh: {' '.join(text.split())}", err=True)
    return code
