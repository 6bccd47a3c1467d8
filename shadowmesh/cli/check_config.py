"""``shadowmesh check-config``: says whether a configuration file would be accepted, and what it means."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from shadowmesh import config
from shadowmesh.pricing import Pricing, bundled_list_prices

_LOAD = "--explain: of one live call, "


def check_config(
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="The configuration file.")] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the whole configuration, defaults filled in; or the explanation.")
    ] = False,
    explained: Annotated[bool, typer.Option("--explain", help="Say in words what will happen, and the cost.")] = False,
    rate: Annotated[
        float | None, typer.Option(min=0, metavar="CALLS", help="--explain: covered live calls per second.")
    ] = None,
    input_tokens: Annotated[int | None, typer.Option(min=0, metavar="TOKENS", help=f"{_LOAD}its input tokens.")] = None,
    output_tokens: Annotated[
        int | None, typer.Option(min=0, metavar="TOKENS", help=f"{_LOAD}its output tokens.")
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(min=0.001, metavar="SECONDS", help=f"{_LOAD}how long it takes.")
    ] = None,
    model: Annotated[str | None, typer.Option(metavar="NAME", help=f"{_LOAD}the model it asks for.")] = None,
    schema: Annotated[bool, typer.Option("--schema", help="Print the JSON Schema of such a file.")] = False,
) -> None:
    """Check a configuration file; 0 if it is good, 64 with the wrong key if not."""
    if schema:
        from shadowmesh.report.config_schema import config_schema

        typer.echo(json.dumps(config_schema(), indent=2, ensure_ascii=False))
        return
    if file is None:
        raise typer.BadParameter("a FILE is missing; only --schema needs none")
    load = (rate, input_tokens, output_tokens, seconds, model)
    if not explained and any(part is not None for part in load):
        raise typer.BadParameter("what live calls are like matters to --explain only")
    if rate is None and any(part is not None for part in load):
        raise typer.BadParameter("nothing is said of costs without --rate")
    loaded = config.load(file)
    config.check_credentials(loaded, source=str(file))
    config.check_tokenizers(loaded, source=str(file))
    if explained:
        _explain(loaded, *load, as_json=as_json)
    elif as_json:
        typer.echo(loaded.model_dump_json(indent=2))
    else:
        _summarise(loaded, file)


def _summarise(loaded: config.Config, file: Path) -> None:
    digests = {plan.experiment: plan.config_digest for plan in config.plans(loaded)}
    for experiment in loaded.experiments:
        typer.echo(f"experiment {experiment.name}: {', '.join(experiment.methods)}")
        if experiment.name in digests:
            typer.echo(f"  configuration {digests[experiment.name]}")
        for target in experiment.targets:
            typer.echo(f"  {target.kind} {target.name} at {target.address}, {target.rate:.4g} of calls")
    typer.echo(f"{file}: ok")


def _explain(
    loaded: config.Config,
    rate: float | None,
    input_tokens: int | None,
    output_tokens: int | None,
    seconds: float | None,
    model: str | None,
    *,
    as_json: bool,
) -> None:
    from shadowmesh.report.explain import explain, lines
    from shadowmesh.report.forecast import Load

    load = None if rate is None else Load(rate, input_tokens, output_tokens, seconds, model)
    prices = Pricing(loaded.mirror.prices, list_prices=bundled_list_prices())
    explanation = explain(loaded, prices, load)
    if as_json:
        typer.echo(json.dumps(asdict(explanation), indent=2))
        return
    for line in lines(explanation):
        typer.echo(line)
