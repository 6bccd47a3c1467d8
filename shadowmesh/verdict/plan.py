"""How the experiments of a configuration file are to be judged: what the verdict needs to know of the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from shadowmesh.verdict.records import EvidenceKey
from shadowmesh.verdict.settings import CriteriaSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """
    One experiment in force.

    Args:
        config_digest: of the whole experiment; evidence that was gathered under another one is not about this file.
        candidates: the digest of each candidate target, by its name; no control targets.
        captured: the guards of captured texts, where any are captured and sent: where none came, similarity is open and
            not off, and the alpha of NO_GO is divided among all of them from the beginning.
    """

    experiment: str
    criteria: CriteriaSettings
    config_digest: str
    candidates: Mapping[str, str]
    captured: frozenset[str] = frozenset()

    def evidence_keys(self) -> list[EvidenceKey]:
        """Return what evidence about the candidates is kept under."""
        return [
            EvidenceKey(experiment=self.experiment, target=name, target_digest=digest, config_digest=self.config_digest)
            for name, digest in self.candidates.items()
        ]
