"""An experiment with the criteria its candidates are judged by: one record of two rooms that do not know each other."""

from __future__ import annotations

from shadowmesh.policy.experiment import ExperimentSettings
from shadowmesh.verdict.settings import CriteriaSettings


class JudgedExperimentSettings(ExperimentSettings):
    """
    What a file says of one experiment.

    The mirror does not read the criteria. It carries them because they are part of the experiment's digest: whoever
    changes them midway asks other evidence, so that nobody shops for thresholds.

    Args:
        criteria: when a candidate may go live, see :class:`~shadowmesh.verdict.settings.CriteriaSettings`.
    """

    criteria: CriteriaSettings = CriteriaSettings()
