"""``shadowmesh check-config``: a verdict, words or a schema, and the codes of every command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import shadowmesh
from shadowmesh.cli.main import main
from shadowmesh.config import Config

GOOD = """
experiments:
  - name: x
    preset: standard
    methods: ["/a.B/*"]
    targets: [{name: candidate, address: "127.0.0.1:1"}]
mirror:
  prices: [{per_million_tokens: {input: 1, output: 1}}]
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "shadowmesh.yaml"
    path.write_text(GOOD)
    return str(path)


def test_it_explains_in_words(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    tokens = ("--input-tokens", "500", "--output-tokens", "500")
    assert main(("check-config", "--explain", "--rate", "100", *tokens, file)) == 0
    said = capsys.readouterr().out
    assert "gets 10 % of the calls" in said
    assert "They cost $34.20 an hour" in said


def test_a_tokenizer_that_the_server_would_miss_is_missed_here(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    with Path(file).open("a") as opened:
        opened.write("  tokenizers: {llama-3: no/such/tokenizer.json}\n")
    assert main(("check-config", file)) == 64
    said = f"shadowmesh: {file}: mirror.tokenizers.llama-3: no/such/tokenizer.json: no such file\n"
    assert capsys.readouterr().err == said


def test_it_explains_as_json_of_a_shape_with_a_version(file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(("check-config", "--explain", "--json", "--rate", "100", file)) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["schema"] == "shadowmesh.explain/1"
    (target,) = said["experiments"][0]["targets"]
    assert (target["shadows_per_second"], target["cost_per_hour"]) == (pytest.approx(9.5), None)


def test_the_whole_configuration_as_json_has_what_the_preset_filled_in(
    file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(("check-config", "--json", file)) == 0
    read = Config.model_validate_json(capsys.readouterr().out)
    assert read.experiments[0].targets[0].max_in_flight == 32


def test_the_published_schema_is_the_one_it_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(("check-config", "--schema")) == 0
    published = Path(shadowmesh.__file__).parent / "schema" / "config.json"
    assert json.loads(capsys.readouterr().out) == json.loads(published.read_text()), "run make generate"


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--explain",),
        ("--rate", "5", "FILE"),
        ("--explain", "--seconds", "5", "FILE"),
        ("--explain", "--rate", "-1", "FILE"),
        ("--explain", "--rate", "many", "FILE"),
        ("--explain", "none.yaml"),
    ],
)
def test_wrong_usage_is_64_and_one_line(
    arguments: tuple[str, ...], file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(("check-config", *(file if one == "FILE" else one for one in arguments))) == 64
    captured = capsys.readouterr()
    assert (captured.out, captured.err.count("\n")) == ("", 1)
