"""Every query of deploy/: of the dashboard's panels and variables, and of the rules."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
DASHBOARD = DEPLOY / "grafana" / "dashboards" / "shadowmesh.json"
RULES = DEPLOY / "prometheus" / "rules"

_VALUES = {"$__rate_interval": "5m", "$experiment": ".*", "$target": ".*"}
_STRINGS = re.compile(r'"[^"]*"')
_LABELS = re.compile(r"\{[^}]*\}|\[[^\]]*\]|\b(?:by|without|on|ignoring|group_left|group_right) *\([^)]*\)")
_METRIC = re.compile(r"\b(?:shadowmesh|otelcol)[_:][a-zA-Z0-9_:]+")
_OURS = re.compile(r"\bshadowmesh_\w+")
_LABEL_VALUES = re.compile(r"label_values\((?P<selector>.+), *(?P<label>\w+)\)")


class Query(NamedTuple):
    """A query and where it stands."""

    where: str
    expression: str

    @property
    def metrics(self) -> set[str]:
        """The names of what it reads, a recorded name as it is."""
        return set(_METRIC.findall(_LABELS.sub("", _STRINGS.sub('""', self.expression))))

    @property
    def labels(self) -> set[str]:
        """Those of its labels whose names are ours."""
        return set(_OURS.findall(_STRINGS.sub('""', self.expression))) - self.metrics


def dashboard() -> dict[str, Any]:
    """Return the dashboard."""
    return dict(json.loads(DASHBOARD.read_text(encoding="utf-8")))


def panels() -> list[dict[str, Any]]:
    """Return the panels that show something."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def panel_queries() -> Iterator[Query]:
    """Yield the queries of the panels as Grafana would send them with everything selected."""
    for panel in panels():
        for target in panel["targets"]:
            yield Query(f"panel {panel['title']}, {target['refId']}", _filled(target["expr"]))


def variable_queries() -> Iterator[Query]:
    """Yield a query for each variable whose result has the label of which the variable takes the values."""
    for variable in dashboard()["templating"]["list"]:
        if variable["type"] == "query":
            asked = _LABEL_VALUES.fullmatch(variable["query"]["query"])
            assert asked, variable["query"]
            yield Query(f"variable {variable['name']}", f"count by ({asked['label']}) ({_filled(asked['selector'])})")


def rules() -> Iterator[dict[str, Any]]:
    """Yield every rule, recorded ones first."""
    for name in ("recording", "alerts"):
        for group in yaml.safe_load((RULES / f"{name}.yaml").read_text(encoding="utf-8"))["groups"]:
            yield from group["rules"]


def recorded() -> dict[str, Query]:
    """Return the queries that are recorded, by the name of their result."""
    return {rule["record"]: Query(rule["record"], rule["expr"]) for rule in rules() if "record" in rule}


def alerts() -> dict[str, Query]:
    """Return the conditions of the alerts by name; healthy, they have no result."""
    return {rule["alert"]: Query(rule["alert"], rule["expr"]) for rule in rules() if "alert" in rule}


def all_queries() -> list[Query]:
    """Return all of them."""
    return [*panel_queries(), *variable_queries(), *recorded().values(), *alerts().values()]


def _filled(expression: str) -> str:
    for variable, value in _VALUES.items():
        expression = expression.replace(variable, value)
    assert "$" not in expression, expression
    return expression
