"""What a user imports: few names, and nothing heavy until one of them is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import shadowmesh
from shadowmesh import build, errors

HEAVY = {
    "asyncio", "google.protobuf", "genai_prices", "grpc", "numpy", "opentelemetry", "pydantic", "rich", "typer", "yaml",
}  # fmt: skip


def modules_after(code: str) -> set[str]:
    """Return what a fresh interpreter has loaded after ``code``."""
    printed = subprocess.run(
        [sys.executable, "-c", f"{code}; import sys; print(*sys.modules)"], check=True, capture_output=True, text=True
    ).stdout
    return set(printed.split())


def test_the_exported_names_are_these_and_no_others() -> None:
    assert shadowmesh.__all__ == ["ConfigError", "Mesh", "ShadowMeshError", "StartError", "__version__"]


def test_every_exported_name_is_the_thing_itself() -> None:
    assert shadowmesh.Mesh is build.Mesh
    assert shadowmesh.ConfigError is errors.ConfigError
    assert shadowmesh.ShadowMeshError is errors.ShadowMeshError
    assert shadowmesh.StartError is errors.StartError
    assert shadowmesh.__version__[0].isdigit()


def test_another_name_is_an_attribute_error_that_names_it() -> None:
    with pytest.raises(AttributeError, match="module 'shadowmesh' has no attribute 'Mash'"):
        shadowmesh.Mash  # noqa: B018


def test_importing_shadowmesh_loads_nothing_heavy() -> None:
    before, after = modules_after("pass"), modules_after("import shadowmesh")
    assert not {name for name in after - before if name in HEAVY or name.partition(".")[0] in HEAVY}
    assert {name for name in after - before if name.startswith("shadowmesh")} == {"shadowmesh"}


def test_errors_can_be_caught_without_loading_what_raises_them() -> None:
    loaded = modules_after("from shadowmesh import ConfigError, StartError")
    assert not {name for name in loaded if name.partition(".")[0] in HEAVY - {"asyncio"}}


def test_a_mesh_loads_neither_the_command_line_nor_the_processor_nor_prices() -> None:
    loaded = modules_after("from shadowmesh import Mesh")
    assert not {"typer", "rich", "genai_prices"} & {name.partition(".")[0] for name in loaded}
    # Its settings are part of every configuration, and stand beside what they set; what runs is not.
    processor = {name.removeprefix("shadowmesh.processor.") for name in loaded if ".processor." in name}
    settings = {"settings", "alert_settings", "endpoints", "journal_settings", "limits", "refusal", "tokens"}
    assert processor <= settings
    assert not {"sqlalchemy", "starlette", "uvicorn"} & {name.partition(".")[0] for name in loaded}
    assert not {name for name in loaded if name.startswith("shadowmesh.cli")}
