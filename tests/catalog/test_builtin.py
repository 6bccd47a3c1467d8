"""The protocols that are known without being told."""

from __future__ import annotations

from importlib.resources import files

import pytest
import yaml

from shadowmesh.catalog.builtin import builtin, method_map
from shadowmesh.catalog.catalog import RAW
from shadowmesh.protocols.map_settings import ProtocolMapSettings
from shadowmesh.schema.inference import methods

DATA_FILES = sorted(file.name for file in files("shadowmesh.catalog").joinpath("maps").iterdir())


@pytest.mark.parametrize("name", DATA_FILES)
def test_every_data_file_loads_and_every_method_of_it_is_found(name: str) -> None:
    text = files("shadowmesh.catalog").joinpath("maps", name).read_text(encoding="utf-8")
    settings = ProtocolMapSettings.model_validate(yaml.safe_load(text))
    assert name == f"{settings.protocol}.yaml"
    assert settings.protocol in builtin().names
    for method in settings.methods:
        assert method_map(method, settings.protocol) is not None
        # A dialect is never guessed.
        alone = method not in builtin().dialects
        assert method_map(method) is (method_map(method, settings.protocol) if alone else None)


def test_every_method_of_the_reference_api_has_a_map() -> None:
    assert all(method_map(method.full_name) is not None for method in methods().values())


def test_raw_is_a_protocol_that_reads_nothing() -> None:
    assert builtin().names[-1] == RAW
    assert all(method_map(method.full_name, RAW) is None for method in methods().values())


def test_an_unknown_method_or_protocol_has_no_map() -> None:
    assert method_map("/acme.Service/Method") is None
    assert method_map("/shadowmesh.v1.Inference/Generate", "acme") is None
