"""Names on the wire keep the naming rules of OpenTelemetry, and stand in one file only."""

from __future__ import annotations

import ast
import re
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest

import shadowmesh
from shadowmesh import names

PACKAGE = Path(shadowmesh.__file__).parent
CONSTANTS = {
    name: value
    for name, value in vars(names).items()
    if name.isupper() and isinstance(value, str) and not name.startswith("META_")
}
NO_NAMES = {"SCHEMA_URL", "OTHER"}
DOTTED = {name: value for name, value in CONSTANTS.items() if name not in NO_NAMES}
METADATA = {name: value for name, value in vars(names).items() if name.startswith("META_")}
VALUES = [kind for kind in vars(names).values() if isinstance(kind, type) and issubclass(kind, StrEnum)]
# Prometheus appends these itself.
CLASHES = (".count", ".sum", ".bucket", ".total", ".info", ".created")


@pytest.mark.parametrize("name", DOTTED)
def test_a_name_is_dotted_snake_words_in_lower_case(name: str) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*(\.[a-z][a-z0-9]*(_[a-z0-9]+)*)+", DOTTED[name])


def test_names_of_ours_are_in_our_namespace_and_no_other_is_extended() -> None:
    theirs = {"service", "rpc", "server", "error", "gen_ai", "otel", "telemetry", "event"}
    assert {value.partition(".")[0] for value in DOTTED.values()} <= theirs | {"shadowmesh"}


def test_no_constant_says_what_another_says() -> None:
    assert len(set(CONSTANTS.values())) == len(CONSTANTS)
    assert len(set(METADATA.values())) == len(METADATA)


def test_no_name_is_also_a_namespace_of_another() -> None:
    every = set(DOTTED.values())
    spaces = {value.rpartition(".")[0] for value in every}
    spaces |= {space[:at] for space in spaces for at, sign in enumerate(space) if sign == "."}
    assert every & spaces == set()


def test_metric_names_do_not_end_as_prometheus_would_end_them() -> None:
    metrics = {
        value for name, value in DOTTED.items() if name.startswith("METRIC_") or name.endswith(("_DELTA", "_RATIO"))
    }
    assert len(metrics) >= 20
    assert not {value for value in metrics if value.endswith(CLASHES)}


@pytest.mark.parametrize("name", METADATA)
def test_metadata_keys_are_lower_case_and_hold_text(name: str) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9-]*", METADATA[name])
    assert not METADATA[name].endswith("-bin")


@pytest.mark.parametrize("kind", VALUES, ids=lambda kind: kind.__name__)
def test_values_of_closed_sets_are_snake_words_named_after_themselves(kind: type[StrEnum]) -> None:
    for member in kind:
        assert member.name == member.value.upper()
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", member.value)


def literals(path: Path) -> list[tuple[int, str]]:
    """Return the string constants of a module, without its docstrings."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    return [
        (node.lineno, node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs
    ]


def is_ours(text: str) -> bool:
    """Tell names on the wire from modules, services and files, which begin alike."""
    if re.fullmatch(r"(shadowmesh(\.\w+)+|gen_ai\.[\w.]+|x-shadowmesh[\w-]*)", text) is None:
        return False
    parts = text.split(".")
    module = PACKAGE.joinpath(*parts[1:])
    is_module = module.is_dir() or module.with_suffix(".py").is_file()
    return not (is_module or text.startswith(("shadowmesh.v1", "shadowmesh.views")) or parts[-1] in ("yaml", "json"))


def test_no_other_file_writes_a_name_that_stands_in_names() -> None:
    found: list[Any] = []
    for path in PACKAGE.rglob("*.py"):
        if path != PACKAGE / "names.py":
            found += [f"{path.relative_to(PACKAGE)}:{line}: {text}" for line, text in literals(path) if is_ours(text)]
    assert found == []


def test_every_name_is_used() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py") if path.name != "names.py")
    assert [name for name in CONSTANTS | METADATA if re.search(rf"\b{name}\b", text) is None] == []
