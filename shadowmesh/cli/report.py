"""``shadowmesh report``: the verdict and what it rests on, for a terminal or as one HTML file."""

from __future__ import annotations

import importlib.util
import json
import logging
import time
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from shadowmesh.cli.gate import sources
from shadowmesh.cli.store_options import MOMENT, STORE, moment
from shadowmesh.errors import StartError

_NEEDED = ("matplotlib", "jinja2")


def report(
    store: Annotated[str | None, typer.Option(metavar="URL", help=STORE)] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", metavar="FILE", help="The criteria, and the store where --store is not given."),
    ] = None,
    experiment: Annotated[str | None, typer.Option(metavar="NAME", help="Only this experiment.")] = None,
    target: Annotated[str | None, typer.Option(metavar="NAME", help="Only this target.")] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="WHEN", help=f"Only what was dispatched from {MOMENT}; costs half of alpha."),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option(metavar="FILE", dir_okay=False, help="Write one HTML file that needs nothing else, with charts."),
    ] = None,
    jaeger: Annotated[
        str | None, typer.Option(metavar="URL", help="--html: where traces are seen, to make links of their ids.")
    ] = None,
    content: Annotated[
        bool, typer.Option("--content/--no-content", help="--html: whether captured outputs are quoted.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print a document of the shape shadowmesh.report/1.")] = False,
) -> None:
    """
    Show the verdict and what it rests on. The exit code is 0 whatever the verdict is; for a decision ask the gate.

    The store is only read. Without --html everything goes to standard output.
    """
    from shadowmesh.report.gathering import gather
    from shadowmesh.store.evidence import EvidenceBook
    from shadowmesh.store.reader import Reader
    from shadowmesh.verdict.judgement import judgement

    if html is not None:
        _check_html(html)
    traces = _address(jaeger)
    url, plans = sources(store, config, experiment, target, ways="--store or --config")
    now_ns = time.time_ns()
    since_ns = moment(since, now_ns, "--since")
    reader = Reader.open(url)
    try:
        evidence = EvidenceBook.read(reader, now_ns=now_ns, since_ns=since_ns)
        judged = judgement(evidence, plans, now_ns=now_ns, experiment=experiment, target=target, since_ns=since_ns)
        shown = gather(
            reader,
            evidence,
            judged,
            place=reader.place,
            version=version("shadowmesh"),
            jaeger=traces,
            with_content=content and html is not None,
        )
    finally:
        reader.close()
    if as_json:
        from shadowmesh.report.report_document import to_document

        typer.echo(json.dumps(to_document(shown), indent=2, allow_nan=False))
    elif html is None:
        from rich.console import Console

        from shadowmesh.report.report_tables import report as drawn

        Console(highlight=False).print(drawn(shown))
    if html is not None:
        # It warns where it cannot keep a list of fonts, as in a container, and then does without.
        logging.getLogger("matplotlib").setLevel(logging.ERROR)
        from shadowmesh.report.html_page import page

        _write(html, page(shown))
        typer.echo(f"{html}: {html.stat().st_size:,} bytes", err=as_json)


def _check_html(file: Path) -> None:
    """Refuse, before anything is read, what could not be written at the end."""
    if not file.absolute().parent.is_dir():
        raise typer.BadParameter(f"{file.parent} is no directory", param_hint="--html")
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise StartError(f"--html needs {' and '.join(missing)}: pip install 'shadowmesh[report]'")


def _address(url: str | None) -> str:
    """Return the address to put trace ids behind; a scheme that runs something is none."""
    if url is None:
        return ""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.netloc:
        raise typer.BadParameter(f"{url}: not http://host or https://host", param_hint="--jaeger")
    return url.rstrip("/")


def _write(file: Path, text: str) -> None:
    """Write the file whole, or not at all."""
    part = file.with_name(f"{file.name}.part")
    try:
        # A name from the wire may hold half a character, which is no reason to have no report.
        part.write_text(text, encoding="utf-8", errors="replace")
        part.replace(file)
    except OSError as error:
        raise StartError(f"{file}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            part.unlink()
