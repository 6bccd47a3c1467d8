"""The README's reference is that of the code: every key with its default, every reason, every example."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import typer
import yaml
from pydantic import TypeAdapter
from support.acme import MAP, block
from support.experiments import experiment, target
from support.verdicts import judgement, verdict

from shadowmesh.catalog.configured import ProtocolSettings
from shadowmesh.cli.main import app, main
from shadowmesh.mirror.budget_file import BudgetShareSettings
from shadowmesh.mirror.capture_settings import CaptureSettings
from shadowmesh.mirror.carrier import MirrorSettings
from shadowmesh.mirror.file_watch import ReloadSettings
from shadowmesh.mirror.judged_experiment import JudgedExperimentSettings
from shadowmesh.names import WITHOUT_LEGS, DropReason
from shadowmesh.policy.breaker import BreakerSettings
from shadowmesh.policy.budget import BudgetSettings
from shadowmesh.policy.conditions import WhenSettings
from shadowmesh.policy.credentials import CredentialSettings, TlsSettings
from shadowmesh.policy.experiment import TargetSettings
from shadowmesh.policy.harm_settings import HarmGuardSettings
from shadowmesh.policy.presets import Preset
from shadowmesh.policy.retries import RetrySettings
from shadowmesh.policy.sampling import SamplingSettings
from shadowmesh.policy.timebox import TimeBoxSettings
from shadowmesh.policy.transform import TransformSettings
from shadowmesh.policy.translation import TranslateSettings, UnsaidSettings
from shadowmesh.processor.alert_settings import AlertSettings, WebhookSettings
from shadowmesh.processor.journal_settings import JournalSettings
from shadowmesh.processor.limits import LimitSettings
from shadowmesh.processor.settings import CompareThresholdSettings, ProcessorSettings
from shadowmesh.proxy.settings import LiveServerSettings, ProxySettings
from shadowmesh.settings import Settings
from shadowmesh.store.settings import StoreSettings
from shadowmesh.telemetry.settings import TelemetrySettings
from shadowmesh.verdict.document import to_document
from shadowmesh.verdict.settings import (
    CoverageSettings,
    CriteriaSettings,
    ErrorSettings,
    GuardSettings,
    JudgeSettings,
    LatencySettings,
    SimilaritySettings,
)

TEXT = (Path(__file__).parents[1] / "README.md").read_text()
YAML = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
SECTIONS: dict[str, tuple[type[Settings], ...]] = {
    "`experiments` (a list)": (JudgedExperimentSettings,),
    "`experiments[].criteria`": (
        CriteriaSettings,
        LatencySettings,
        ErrorSettings,
        SimilaritySettings,
        JudgeSettings,
        CoverageSettings,
        GuardSettings,
    ),
    "`experiments[].time_box`": (TimeBoxSettings,),
    "`experiments[].when`": (WhenSettings,),
    "`experiments[].sampling`": (SamplingSettings,),
    "`experiments[].retries`": (RetrySettings,),
    "`experiments[].targets` (a list)": (TargetSettings,),
    "`experiments[].targets[].translate`": (TranslateSettings, UnsaidSettings),
    "`experiments[].targets[].transform`": (TransformSettings,),
    "`experiments[].targets[].tls` and `credentials`": (TlsSettings, CredentialSettings),
    "`experiments[].targets[].budget`": (BudgetSettings,),
    "`experiments[].targets[].breaker`": (BreakerSettings,),
    "`protocols` (a list)": (ProtocolSettings,),
    "`mirror`": (MirrorSettings,),
    "`mirror.budget`": (BudgetShareSettings,),
    "`mirror.harm_guard`": (HarmGuardSettings,),
    "`capture`": (CaptureSettings,),
    "`reload`": (ReloadSettings,),
    "`telemetry`": (TelemetrySettings,),
    "`processor`": (ProcessorSettings, JournalSettings, StoreSettings, CompareThresholdSettings, LimitSettings),
    "`processor.alerts`": (AlertSettings, WebhookSettings),
    "`proxy`": (ProxySettings, LiveServerSettings),
}
"""The settings whose keys a section's tables list, a table for each, in this order."""
# What the OpenTelemetry variables say stands there as the default of a key that is absent.
BY_ENVIRONMENT = {"service_name", "otlp", "metric_interval"}


class Row(NamedTuple):
    """One row of a reference table: its keys, and what stands under "default"."""

    keys: tuple[str, ...]
    default: str


def section(heading: str) -> str:
    """Return the text under a heading, to the next one."""
    _, _, rest = TEXT.partition(f"\n### {heading}\n")
    assert rest, f"no section {heading}"
    return re.split(r"\n##", rest)[0]


def tables(text: str) -> Iterator[list[list[str]]]:
    """Return the cells of every table, without their headings' rule."""
    for found in re.findall(r"(?:^\|.*\|\n)+", text + "\n", re.MULTILINE):
        rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in found.splitlines()]
        yield [rows[0], *rows[2:]]


def reference(heading: str) -> Iterator[list[Row]]:
    """Return the tables of a section that list keys with their defaults."""
    for head, *rows in tables(section(heading)):
        if head[0].startswith("key") and head[1] == "default":
            yield [Row(tuple(re.findall(r"`(\w+)[`.]", cells[0])), cells[1].strip("| ")) for cells in rows]


REFERENCE = [
    (model, table)
    for heading, models in SECTIONS.items()
    for model, table in zip(models, reference(heading), strict=False)
]


@pytest.mark.parametrize(("model", "table"), REFERENCE, ids=lambda one: getattr(one, "__name__", ""))
def test_every_key_has_its_row_and_every_row_its_key(model: type[Settings], table: list[Row]) -> None:
    assert sorted(key for row in table for key in row.keys) == sorted(model.model_fields)


def test_no_section_has_lost_its_table() -> None:
    assert [model for model, _ in REFERENCE] == [model for models in SECTIONS.values() for model in models]


@pytest.mark.parametrize(("model", "table"), REFERENCE, ids=lambda one: getattr(one, "__name__", ""))
def test_the_default_that_is_stated_is_the_one_in_force(model: type[Settings], table: list[Row]) -> None:
    for row in table:
        for key in row.keys:
            field = model.model_fields[key]
            default = field.get_default(call_default_factory=True)
            values = re.findall(r"`([^`]+)`", row.default) if re.fullmatch(r"`[^`]+`(, `[^`]+`)*", row.default) else []
            if field.is_required():
                assert row.default == "required", key
            elif not values:
                # In words: nothing, or settings that are described elsewhere.
                assert default in (None, "", ()) or isinstance(default, (Settings, dict)), key
            elif default is None:
                assert key in BY_ENVIRONMENT, key
            else:
                stated = yaml.safe_load(values[0] if len(values) == 1 else "{" + ", ".join(values) + "}")
                assert TypeAdapter(field.rebuild_annotation()).validate_python(stated) == default, key


def value(cell: str) -> Any:
    """Return what a cell of the table of presets says."""
    text = cell.strip("`").replace(" ", "")
    return None if text == "none" else yaml.safe_load(text)


def settings(preset: Preset | None) -> list[tuple[Any, ...]]:
    """Return what a preset comes to, in the order of the table's rows."""
    one = experiment(target(), target("control", kind="control"), preset=preset)
    candidate, control = one.targets
    breaker = candidate.breaker
    return [
        (candidate.rate,),
        (control.rate,),
        (candidate.max_rate,),
        (candidate.max_in_flight,),
        (candidate.deadline,),
        (candidate.on_live_cancel.value,),
        (breaker.failures, breaker.least_calls),
        (breaker.open, breaker.open_most, breaker.probes),
        (one.time_box.pairs if one.time_box is not None else None,),
    ]


def test_the_table_of_presets_is_what_the_presets_say() -> None:
    ((head, _, *rows),) = tables(section("`experiments[].preset`"))
    columns: list[Preset | None] = [Preset(cell.strip("`")) for cell in head[1:-1]]
    for number, preset in enumerate([*columns, None], 1):
        stated = [tuple(value(cell) for cell in row[number].split(", ")) for row in rows]
        seconds = TypeAdapter(TargetSettings.model_fields["deadline"].rebuild_annotation())
        read = [tuple(seconds.validate_python(one) if re.fullmatch(r"\d+[sm]", str(one)) else one for one in row)
                for row in stated]  # fmt: skip
        assert read == settings(preset), preset


def test_every_reason_is_in_the_table_of_reasons_with_what_it_counts_as() -> None:
    ((_, *rows),) = tables(section("Why a shadow is shed"))
    stated = {reason: (row[1], row[2]) for row in rows for reason in re.findall(r"`(\w+)`", row[0])}
    assert set(stated) == {reason.value for reason in DropReason}
    assert {reason for reason, said in stated.items() if said == ("dropped", "no")} == set(WITHOUT_LEGS)
    said = {("dropped", "yes"), ("dropped", "no"), ("disabled", "no"), ("mirrored", "yes")}
    assert set(stated.values()) == said


@pytest.mark.parametrize("number", range(len(YAML)))
def test_every_example_passes_check_config(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CANDIDATE_TOKEN", "one")
    file = tmp_path / "shadowmesh.yaml"
    # Where its files are does not matter, but that they are there.
    tokenizer = tmp_path / "llama-3" / "tokenizer.json"
    tokenizer.parent.mkdir()
    tokenizer.touch()
    file.write_text(YAML[number].replace("/var/lib/acme/llama-3", str(tokenizer.parent)))
    assert main(["check-config", str(file)]) == 0, capsys.readouterr().err
    assert main(["check-config", "--explain", "--rate", "200", str(file)]) == 0


def test_what_the_readme_says_of_an_example_is_what_the_command_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CANDIDATE_TOKEN", "one")
    command_line = r"What `shadowmesh (check-config --explain [^`]*)` says[^`]*"
    found = re.search(rf"```yaml\n([^`]*)```\n\n{command_line}```text\n(.*?)```", TEXT, re.DOTALL)
    assert found is not None
    example, command, said = found.groups()
    file = tmp_path / "shadowmesh.yaml"
    file.write_text(example)
    assert main([*command.split(), str(file)]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    first = lines.index("candidate") + 1
    assert lines[first : lines.index("control")] == said.splitlines()


def keys_of(heading: str) -> list[set[str]]:
    """Return the keys of each table of a section."""
    return [
        {key for cells in rows for key in re.findall(r"`(\w+)`", cells[0])} for _, *rows in tables(section(heading))
    ]


def test_the_document_of_a_verdict_has_the_keys_that_are_listed() -> None:
    document = to_document(judgement(verdict()))
    _, whole, of_verdict, of_finding = keys_of("`shadowmesh gate`")
    assert whole == set(document)
    assert of_verdict == set(document["verdicts"][0])
    assert of_finding == set(document["verdicts"][0]["findings"][0])
    assert f"`{document['schema']}`" in section("`shadowmesh gate`")


def test_the_options_of_capture_and_of_the_check_of_a_map_are_those_that_are_listed() -> None:
    group: Any = typer.main.get_command(app)
    rows = {line.split("`")[1]: line for line in TEXT.splitlines() if line.startswith("| `shadowmesh ")}
    for begin, command in (
        ("shadowmesh capture", group.commands["capture"]),
        ("shadowmesh protocol check", group.commands["protocol"].commands["check"]),
    ):
        (row,) = (line for name, line in rows.items() if name.startswith(begin))
        options = {option for one in command.params for option in one.opts if option.startswith("--")}
        assert set(re.findall(r"--[a-z-]+", row)) == options - {"--help"}


def test_the_map_in_the_readme_is_the_one_of_the_tour() -> None:
    assert MAP in TEXT
    assert set(block("protoc ").splitlines()) | set(block("shadowmesh protocol").splitlines()) <= {
        line.removeprefix("$ ") for line in TEXT.splitlines()
    }


def test_the_options_of_the_gate_are_those_that_are_listed() -> None:
    group: Any = typer.main.get_command(app)
    options = {option for parameter in group.commands["gate"].params for option in parameter.opts}
    listed = set(re.findall(r"--[a-z]+", section("`shadowmesh gate`")))
    assert listed == options - {"-c", "--help"}
