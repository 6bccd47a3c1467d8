"""``shadowmesh export``: stored pairs as JSON Lines or Parquet."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import IO, Annotated

import typer

from shadowmesh.cli.store_options import MOMENT, STORE, moment, store_url
from shadowmesh.errors import StartError
from shadowmesh.names import Outcome


class Format(StrEnum):
    """What to write."""

    JSONL = "jsonl"
    PARQUET = "parquet"


def export(
    store: Annotated[str, typer.Option(metavar="URL", help=STORE)],
    file_format: Annotated[Format, typer.Option("--format", help="What to write.")] = Format.JSONL,
    experiment: Annotated[str | None, typer.Option(metavar="NAME", help="Only this experiment.")] = None,
    target: Annotated[str | None, typer.Option(metavar="NAME", help="Only this target.")] = None,
    since: Annotated[str | None, typer.Option(metavar="WHEN", help=f"Only what was dispatched from {MOMENT}.")] = None,
    until: Annotated[str | None, typer.Option(metavar="WHEN", help="Only what was dispatched before.")] = None,
    outcome: Annotated[Outcome | None, typer.Option(help="Only pairs that ended so.")] = None,
    with_content: Annotated[bool, typer.Option("--with-content", help="Captured prompts and outputs too.")] = False,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE", dir_okay=False, help="Write here instead of standard output.")
    ] = None,
) -> None:
    """
    Write the pairs of a store, one by one, as documents of the shape shadowmesh.pair/1.

    The store is only read, and nothing is made where none is. No pair is an empty result, not an error.
    """
    from shadowmesh.store.export import JsonLines
    from shadowmesh.store.export import export as written
    from shadowmesh.store.parquet import ParquetFile
    from shadowmesh.store.reader import PairFilter, Reader

    now_ns = time.time_ns()
    wanted = PairFilter(
        experiment=experiment,
        target=target,
        since_ns=moment(since, now_ns, "--since"),
        until_ns=moment(until, now_ns, "--until"),
        outcome=outcome,
    )
    if output is None and file_format is Format.PARQUET and sys.stdout.isatty():
        raise typer.BadParameter("Parquet is nothing to read: say where to with --output")
    if output is not None and not output.absolute().parent.is_dir():
        raise typer.BadParameter(f"{output.parent} is no directory", param_hint="--output")
    reader = Reader.open(store_url(store))
    try:
        with _destination(output) as sink:
            file = JsonLines(sink) if file_format is Format.JSONL else ParquetFile(sink, with_content=with_content)
            count = written(reader, wanted, file, with_content=with_content)
    except BrokenPipeError:
        # Whoever reads has enough; Python is not to write what is left when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return
    finally:
        reader.close()
    if output is not None:
        typer.echo(f"{output}: {count} pairs")


@contextmanager
def _destination(output: Path | None) -> Iterator[IO[bytes]]:
    """Return where to write; a file is there when it is whole, and not before."""
    if output is None:
        yield sys.stdout.buffer
        return
    part = output.with_name(f"{output.name}.part")
    try:
        with part.open("wb") as sink:
            yield sink
        part.replace(output)
    except OSError as error:
        raise StartError(f"{output}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            part.unlink()
