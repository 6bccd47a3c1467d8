"""What a verdict does not decide by, and whoever reads it should know."""

from __future__ import annotations

from shadowmesh.verdict.coverage import Coverage, shed_by_length
from shadowmesh.verdict.ledger import Ledger
from shadowmesh.verdict.settings import CriteriaSettings

_WORTH_SAYING = 0.01


def caveats(whole: Ledger, found: Coverage, criteria: CriteriaSettings, alpha: float) -> list[str]:
    """Return what is to be said of the pairs that were not compared, or not whole, a sentence each."""
    said = []
    if found.shed > criteria.coverage.shed_warning:
        said.append(f"{found.shed:.1%} of the exchanges were held back or cut, for reasons that may matter")
    if found.lost > criteria.coverage.shed_warning:
        said.append(f"of {found.lost:.1%} of the exchanges one leg was never seen")
    if found.skipped > _WORTH_SAYING:
        said.append(
            f"{found.skipped:.1%} of the sampled exchanges went to no shadow, by policy (limits, budgets, effects, "
            "translation): the answer is about the others"
        )
    if found.stopped > _WORTH_SAYING:
        said.append(
            f"of {found.stopped:.1%} of the exchanges the client left: latency is that of calls whose clients stayed, "
            "of which live had the quicker ones if it was slowness that made them leave"
        )
    long = shed_by_length(whole, alpha)
    if long is not None:
        said.append(
            f"what was held back or cut has to do with length: {long:.0%} of it had longer answers than half of all"
        )
    return said
