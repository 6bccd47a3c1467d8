"""Exporters and resource, from settings and the standard variables."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.grpc._log_exporter import OTLPLogExporter as GrpcLogExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcSpanExporter
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter as HttpLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpSpanExporter
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.trace.export import ConsoleSpanExporter
from support.events import event

from shadowmesh.errors import ConfigError
from shadowmesh.telemetry.providers import (
    check,
    check_logs,
    log_exporter,
    make_resource,
    metric_reader,
    sdk_disabled,
    span_exporter,
)
from shadowmesh.telemetry.settings import OtlpSettings, TelemetrySettings

NOTHING = TelemetrySettings()
OURS = TelemetrySettings(otlp=OtlpSettings(endpoint="http://127.0.0.1:4317"))


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in (
        "OTEL_TRACES_EXPORTER",
        "OTEL_METRICS_EXPORTER",
        "OTEL_LOGS_EXPORTER",
        "OTEL_SDK_DISABLED",
        "OTEL_SERVICE_NAME",
        "OTEL_RESOURCE_ATTRIBUTES",
        "OTEL_EXPORTER_OTLP_PROTOCOL",
        "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
        "OTEL_EXPORTER_OTLP_LOGS_PROTOCOL",
        "OTEL_METRIC_EXPORT_INTERVAL",
    ):
        monkeypatch.delenv(variable, raising=False)


@pytest.fixture
def made() -> Iterator[list[Any]]:
    """What the test built, shut down at its end."""
    built: list[Any] = []
    yield built
    for one in built:
        one.shutdown()


@pytest.mark.parametrize(("value", "disabled"), [("true", True), (" TRUE ", True), ("false", False), ("1", False)])
def test_the_sdk_is_disabled_by_the_word_true_alone(
    monkeypatch: pytest.MonkeyPatch, value: str, disabled: bool
) -> None:
    assert not sdk_disabled()
    monkeypatch.setenv("OTEL_SDK_DISABLED", value)
    assert sdk_disabled() is disabled


# --- resource -------------------------------------------------------------------------------------------------


def test_every_process_has_an_instance_id_of_its_own_and_says_what_distribution_it_is() -> None:
    code = (
        "from shadowmesh.telemetry.providers import make_resource; "
        "from shadowmesh.telemetry.settings import TelemetrySettings; "
        "print(make_resource(TelemetrySettings()).attributes['service.instance.id'])"
    )
    other = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
    attributes = make_resource(NOTHING).attributes
    assert len({other, attributes["service.instance.id"], ""}) == 3
    assert attributes["telemetry.distro.name"] == "shadowmesh"
    assert attributes["telemetry.distro.version"]
    assert attributes["telemetry.sdk.language"] == "python"


def test_the_environment_names_the_service_and_its_instance(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "from-env")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "service.instance.id=i-7,deployment.environment.name=prod")
    attributes = make_resource(NOTHING).attributes
    assert attributes["service.name"] == "from-env"
    assert attributes["service.instance.id"] == "i-7"
    assert attributes["deployment.environment.name"] == "prod"


def test_a_service_name_that_is_set_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "from-env")
    assert make_resource(TelemetrySettings(service_name="ours")).attributes["service.name"] == "ours"


# --- exporters ------------------------------------------------------------------------------------------------


def test_by_default_spans_go_out_over_otlp_grpc(made: list[Any]) -> None:
    exporter = span_exporter(NOTHING)
    made.append(exporter)
    assert isinstance(exporter, GrpcSpanExporter)


@pytest.mark.parametrize("variable", ["OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"])
def test_the_protocol_of_the_environment_is_used(
    monkeypatch: pytest.MonkeyPatch, made: list[Any], variable: str
) -> None:
    monkeypatch.setenv(variable, "http/protobuf")
    check(NOTHING)
    exporter = span_exporter(NOTHING)
    made.append(exporter)
    assert isinstance(exporter, HttpSpanExporter)


def test_the_protocol_of_a_signal_wins_over_that_of_all(monkeypatch: pytest.MonkeyPatch, made: list[Any]) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc")
    exporter = span_exporter(NOTHING)
    made.append(exporter)
    assert isinstance(exporter, GrpcSpanExporter)


@pytest.mark.parametrize(
    ("settings", "variables", "kind"),
    [
        (NOTHING, {}, GrpcLogExporter),
        (NOTHING, {"OTEL_EXPORTER_OTLP_LOGS_PROTOCOL": "http/protobuf"}, HttpLogExporter),
        (NOTHING, {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, HttpLogExporter),
        (NOTHING, {"OTEL_LOGS_EXPORTER": "none"}, type(None)),
        (OURS, {"OTEL_LOGS_EXPORTER": "none", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, GrpcLogExporter),
    ],
)
def test_captured_text_goes_where_the_settings_or_the_variables_of_logs_say(
    monkeypatch: pytest.MonkeyPatch,
    made: list[Any],
    settings: TelemetrySettings,
    variables: dict[str, str],
    kind: type[Any],
) -> None:
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    check_logs(settings)
    exporter = log_exporter(settings)
    if exporter is not None:
        made.append(exporter)
    assert isinstance(exporter, kind)


def test_captured_text_can_be_printed(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("OTEL_LOGS_EXPORTER", "console")
    exporter = log_exporter(NOTHING)
    assert exporter is not None
    exporter.out = sys.stdout  # type: ignore[attr-defined]  # the SDK took what stood there when it was loaded
    assert exporter.export([event("Why?")]).name == "SUCCESS"
    printed = json.loads(capsys.readouterr().out)
    assert printed["event_name"] == "gen_ai.client.inference.operation.details"
    assert printed["attributes"]["gen_ai.input.messages"][0]["parts"] == [{"type": "text", "content": "Why?"}]


def test_variables_of_logs_are_nobodys_business_while_nothing_is_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_LOGS_EXPORTER", "bogus")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_LOGS_PROTOCOL", "carrier-pigeon")
    check(NOTHING)
    check_logs(OURS)
    with pytest.raises(ConfigError, match="OTEL_LOGS_EXPORTER=bogus is not one of otlp, console, none"):
        check_logs(NOTHING)
    monkeypatch.setenv("OTEL_LOGS_EXPORTER", "otlp")
    with pytest.raises(ConfigError, match="OTEL_EXPORTER_OTLP_LOGS_PROTOCOL=carrier-pigeon is not one of"):
        check_logs(NOTHING)


def test_none_is_no_exporter_and_console_is_the_console(monkeypatch: pytest.MonkeyPatch, made: list[Any]) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "none")
    check(NOTHING)
    assert span_exporter(NOTHING) is None
    assert metric_reader(NOTHING) is None
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", " Console ")
    exporter = span_exporter(NOTHING)
    made.append(exporter)
    assert isinstance(exporter, ConsoleSpanExporter)


def test_an_endpoint_that_is_set_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch, made: list[Any]) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
    exporter = span_exporter(OURS)
    made.append(exporter)
    assert isinstance(exporter, GrpcSpanExporter)


@pytest.mark.parametrize("variable", ["OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER"])
@pytest.mark.parametrize("value", ["bogus", "jaeger"])
def test_an_exporter_nobody_knows_is_refused_at_the_start_and_named(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigError, match=f"{variable}={value} is not one of otlp, console, none"):
        check(NOTHING)
    check(OURS)


@pytest.mark.parametrize("variable", ["OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_METRICS_PROTOCOL"])
def test_a_protocol_nobody_knows_is_refused_at_the_start_under_the_name_it_was_given(
    monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, "carrier-pigeon")
    with pytest.raises(ConfigError, match=f"{variable}=carrier-pigeon is not one of grpc, http/protobuf"):
        check(NOTHING)


def test_a_protocol_that_nothing_would_use_is_nobodys_business(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")
    check(OURS)
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "none")
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "console")
    check(NOTHING)


@pytest.mark.parametrize(
    ("settings", "variable", "seconds"),
    [
        (NOTHING, None, 10.0),
        (NOTHING, "3000", 3.0),
        (TelemetrySettings(metric_interval=2.0), "3000", 2.0),
    ],
)
def test_metrics_go_out_at_the_interval_that_is_set_then_the_environments_then_ours(
    monkeypatch: pytest.MonkeyPatch, made: list[Any], settings: TelemetrySettings, variable: str | None, seconds: float
) -> None:
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "console")
    if variable is not None:
        monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", variable)
    reader = metric_reader(settings)
    made.append(reader)
    assert isinstance(reader, PeriodicExportingMetricReader)
    assert reader._export_interval_millis == seconds * 1e3


def test_of_several_exporters_the_first_is_used_and_the_others_are_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "console,otlp")
    assert isinstance(span_exporter(TelemetrySettings()), ConsoleSpanExporter)
    assert "console,otlp" in caplog.text
