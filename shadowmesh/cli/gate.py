"""``shadowmesh gate``: may the candidate go live? The exit code says it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from shadowmesh import config as configuration
from shadowmesh.cli.store_options import MOMENT, STORE, moment, seconds, store_url
from shadowmesh.errors import ShadowMeshError, StartError, StoreError
from shadowmesh.verdict.records import Answer

if TYPE_CHECKING:
    from shadowmesh.verdict.judgement import Judgement
    from shadowmesh.verdict.plan import Plan

CODES = {Answer.GO: 0, Answer.NO_GO: 1, Answer.NOT_YET: 2}
_SOONEST, _LATEST = 2.0, 30.0
# How often it is looked at in the time that is said to be still needed.
_LOOKS = 10

Ask = Callable[[], "Judgement"]


def gate(
    store: Annotated[str | None, typer.Option(metavar="URL", help=STORE)] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", metavar="FILE", help="The criteria, and the store where --store is not given."),
    ] = None,
    processor: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Ask a running processor instead: its HTTP port.")
    ] = None,
    experiment: Annotated[str | None, typer.Option(metavar="NAME", help="Only this experiment.")] = None,
    target: Annotated[str | None, typer.Option(metavar="NAME", help="Only this target.")] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="WHEN", help=f"Only what was dispatched from {MOMENT}; costs half of alpha."),
    ] = None,
    wait: Annotated[
        str | None, typer.Option(metavar="DURATION", help="Wait so long (30m, 2h) while it is NOT_YET.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as shadowmesh.verdict/1.")] = False,
    token: Annotated[Path | None, typer.Option(metavar="FILE", help="--processor: its bearer token.")] = None,
    roots: Annotated[
        Path | None, typer.Option(metavar="FILE", help="--processor: certificates to check its own against.")
    ] = None,
) -> int:
    """Judge the candidates: exit code 0 is GO, 1 NO_GO, 2 NOT_YET; 64 and above are errors, and say nothing of them."""
    from shadowmesh.cli.ask_processor import ask
    from shadowmesh.verdict.document import to_document

    patience = 0.0 if wait is None else seconds(wait, "--wait")
    since_ns = moment(since, time.time_ns(), "--since")
    if processor is not None:
        if store is not None or config is not None:
            raise typer.BadParameter("a running processor has its own store and criteria", param_hint="--processor")
        looking: Ask = partial(
            ask, processor, experiment=experiment, target=target, since_ns=since_ns, token=token, roots=roots
        )
    else:
        if token is not None or roots is not None:
            raise typer.BadParameter("--token and --roots are of --processor")
        url, plans = sources(store, config, experiment, target)
        looking = partial(look, url, plans, experiment=experiment, target=target, since_ns=since_ns)
    judged = until_decided(looking, patience, monotonic=time.monotonic, pause=time.sleep, say=_say)
    if as_json:
        typer.echo(json.dumps(to_document(judged), indent=2))
    else:
        _draw(judged)
    return CODES[judged.answer]


def look(
    url: str,
    plans: Sequence[Plan],
    *,
    experiment: str | None = None,
    target: str | None = None,
    since_ns: int | None = None,
) -> Judgement:
    """
    Judge what is in a store now.

    Raises:
        StoreError: it is not there, or fails.
        UnknownNameError: it has candidates, and none of these names.
    """
    from shadowmesh.store.evidence import EvidenceBook
    from shadowmesh.store.reader import Reader
    from shadowmesh.verdict.judgement import judgement

    now_ns = time.time_ns()
    reader = Reader.open(url)
    try:
        evidence = EvidenceBook.read(reader, now_ns=now_ns, since_ns=since_ns)
        return judgement(evidence, plans, now_ns=now_ns, experiment=experiment, target=target, since_ns=since_ns)
    finally:
        reader.close()


def until_decided(
    looking: Ask,
    patience: float,
    *,
    monotonic: Callable[[], float],
    pause: Callable[[float], None],
    say: Callable[[str], None],
) -> Judgement:
    """
    Look until it is GO or NO_GO, or ``patience`` seconds are over; the last look is at their end.

    Args:
        say: told what is waited for, whenever that changes.

    Raises:
        ShadowMeshError: nothing could be seen: at once where waiting does not help, else at the end.
    """
    end = monotonic() + patience
    said = ""
    while True:
        left = end - monotonic()
        try:
            judged = looking()
        except (StartError, StoreError) as error:
            if left <= 0 or not _may_pass(error):
                raise
            waiting, needed = str(error), None
        else:
            if judged.answer is not Answer.NOT_YET or left <= 0:
                return judged
            waiting, needed = f"{judged.answer}: {judged.reason}", _needed(judged)
        if waiting != said:
            said = waiting
            say(waiting)
        step = _LATEST if needed is None else min(max(needed / _LOOKS, _SOONEST), _LATEST)
        pause(min(step, max(left, 0.0)))


def _may_pass(error: ShadowMeshError) -> bool:
    """Return whether the same may be seen later: a processor that starts, a lock, a lost connection."""
    return error.retryable if isinstance(error, StoreError) else True


def _needed(judged: Judgement) -> float | None:
    """Return the seconds that the slowest candidate is said to need still."""
    return max((one.eta_seconds for one in judged.verdicts if one.eta_seconds is not None), default=None)


def sources(
    store: str | None,
    config: Path | None,
    experiment: str | None,
    target: str | None,
    *,
    ways: str = "one of --store, --config and --processor",
) -> tuple[str, Sequence[Plan]]:
    """
    Return the store to read and the experiments to judge by: none without a file.

    Args:
        ways: the options of which one has to be there.

    Raises:
        ConfigError: the file is none.
        BadParameter: nothing says which store, or the file does not have what is asked for.
    """
    if config is None:
        if store is None:
            raise typer.BadParameter(f"{ways} says whose evidence to judge")
        return store_url(store), ()
    loaded = configuration.load(config)
    plans = configuration.plans(loaded)
    _refuse_unknown(config, plans, experiment, target)
    url = loaded.processor.store_settings.location if store is None else store_url(store)
    return url, plans


def _refuse_unknown(config: Path, plans: Sequence[Plan], experiment: str | None, target: str | None) -> None:
    """Refuse what the file does not have: a misspelt name would be NOT_YET for ever."""
    if not plans:
        return
    of_experiment = [plan for plan in plans if experiment in (None, plan.experiment)]
    if not of_experiment:
        raise typer.BadParameter(f"{config} has no experiment {experiment} in force", param_hint="--experiment")
    if target is not None and not any(target in plan.candidates for plan in of_experiment):
        raise typer.BadParameter(f"{config} has no candidate {target} in force", param_hint="--target")


def _say(waiting: str) -> None:
    typer.echo(f"waiting, {waiting}", err=True)


def _draw(judged: Judgement) -> None:
    from rich.console import Console

    from shadowmesh.report.verdict_table import judgement as drawn

    Console(highlight=False).print(drawn(judged))
