"""The Collector's files, one over the other."""

from __future__ import annotations

from typing import Any

import yaml
from deploy.queries import DEPLOY

COLLECTOR = DEPLOY / "collector"


def merged(*variants: str) -> dict[str, Any]:
    """Return its configuration with these over it: mappings are joined and lists replaced, as the Collector does it."""
    config: dict[str, Any] = {}
    for name in ("collector", *variants):
        config = _over(config, yaml.safe_load((COLLECTOR / f"{name}.yaml").read_text(encoding="utf-8")))
    return config


def _over(below: Any, above: Any) -> Any:
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    return below | {key: _over(below.get(key), value) for key, value in above.items()}
