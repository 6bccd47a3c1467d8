"""The schema of the configuration: every key is in it, with a unit where there is one, and says what it means."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from shadowmesh.config import Config
from shadowmesh.report.config_schema import config_schema
from shadowmesh.settings import Settings

SCHEMA = config_schema()


def of(model: str, key: str) -> dict[str, Any]:
    found: dict[str, Any] = SCHEMA["$defs"][model]["properties"][key]
    return found


def test_every_key_of_the_whole_file_is_there_and_no_other_is_allowed() -> None:
    assert set(SCHEMA["properties"]) == set(Config.model_fields)
    objects = [SCHEMA, *(one for one in SCHEMA["$defs"].values() if "properties" in one)]
    assert all(one["additionalProperties"] is False for one in objects)


def test_a_duration_and_a_size_may_have_a_unit() -> None:
    number, text = of("TargetSettings", "deadline")["anyOf"]
    assert number == {"type": "number", "exclusiveMinimum": 0}
    assert [bool(re.search(text["pattern"], one)) for one in ("500ms", "1.5 h", "10", "10 parsecs")] == [
        True, True, False, False,
    ]  # fmt: skip
    size = of("MirrorSettings", "capture_bytes")["anyOf"]
    assert size[0]["type"] == "integer"
    assert [bool(re.search(size[1]["pattern"], one)) for one in ("64KiB", "65536", "1 MiB", "1MB")] == [
        True, True, True, False,
    ]  # fmt: skip


def test_tls_is_a_switch_or_its_settings() -> None:
    for one in ("TargetSettings", "LiveServerSettings", "ProtocolSettings"):
        assert of(one, "tls")["anyOf"] == [{"type": "boolean"}, {"$ref": "#/$defs/TlsSettings"}]


def test_keys_say_what_they_mean_without_markup() -> None:
    text = of("TargetSettings", "max_in_flight")["description"]
    assert text == "shadow calls running at once; more are shed with `concurrency_limit`."
    described = [entry for one in SCHEMA["$defs"].values() for entry in one.get("properties", {}).values()]
    texts = [entry["description"] for entry in described if "description" in entry]
    assert len(texts) > len(described) / 2
    assert not [text for text in texts if "``" in text or ":class:" in text or "\n" in text or "Args" in text]


def test_what_a_preset_may_be_is_listed() -> None:
    assert SCHEMA["$defs"]["Preset"]["enum"] == ["careful", "standard", "load-test"]


def test_every_key_of_the_interceptor_says_what_it_means() -> None:
    # What is of the processor's own has docstrings in prose.
    rooms = (
        "shadowmesh.policy.",
        "shadowmesh.mirror.",
        "shadowmesh.telemetry.",
        "shadowmesh.pricing",
        "shadowmesh.config",
    )
    models = {model.__name__ for model in _all(Settings) if model.__module__.startswith(rooms)}
    assert len(models) > 20
    undescribed = [
        f"{name}.{key}"
        for name, model in SCHEMA["$defs"].items()
        if name in models
        for key, entry in model.get("properties", {}).items()
        if "description" not in entry
    ]
    assert undescribed == []


def _all(model: type[Settings]) -> Iterator[type[Settings]]:
    for one in model.__subclasses__():
        yield one
        yield from _all(one)
