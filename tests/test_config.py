"""A configuration file: every mistake is one line that names the file and the key."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowmesh.config import Config, check_credentials, load, parse, plans
from shadowmesh.errors import ConfigError
from shadowmesh.mirror.engine import EXPERIMENTS
from shadowmesh.policy.experiment import in_force

GOOD = """\
experiments:
  - name: summaries
    methods: ["/shadowmesh.v1.Inference/*"]
    targets:
      - {name: candidate, address: "127.0.0.1:1", rate: 0.5}
      - {name: control, kind: control, address: "127.0.0.1:2", deadline: 2m}
mirror: {carrier: thread, capture_bytes: 1MiB}
telemetry: {service_name: server, otlp: {endpoint: "http://127.0.0.1:4317"}}
processor: {listen: "127.0.0.1:0", window: 5s}
"""


def changed(before: str, after: str) -> str:
    assert GOOD.count(before) == 1
    return GOOD.replace(before, after)


def problem_of(text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        parse(text, source="mesh.yaml")
    error = caught.value
    assert "\n" not in str(error)
    assert str(error).startswith("mesh.yaml: ")
    return error


def test_a_whole_file_is_read() -> None:
    config = parse(GOOD)
    (experiment,) = config.experiments
    assert [target.rate for target in experiment.targets] == [0.5, 1.0]
    assert experiment.targets[1].deadline == 120
    assert (config.mirror.carrier, config.mirror.capture_bytes) == ("thread", 1 << 20)
    assert config.telemetry.service_name == "server"
    assert config.processor.window == 5


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "{}", "---\n..."])
def test_an_empty_file_is_a_configuration_with_nothing_in_it(text: str) -> None:
    assert parse(text) == Config()
    assert Config().experiments == ()


@pytest.mark.parametrize(
    ("text", "key", "problem"),
    [
        (changed("mirror:", "miror:"), "miror", "unknown key, perhaps mirror"),
        (changed("rate: 0.5", "rat: 0.5"), "experiments[0].targets[0].rat", "unknown key, perhaps rate"),
        (changed("name: control", "nme: control"), "experiments[0].targets[1].nme", "perhaps name (and 1 more)"),
        (changed("window: 5s", "store: {retention: {pairs: {ag: 3d}}}"), "processor.store.retention.pairs.ag", "age"),
        (changed("rate: 0.5", "tls: {rots: x}"), "experiments[0].targets[0].tls.rots", "perhaps roots"),
        (changed("rate: 0.5", "nonsense: 1"), "experiments[0].targets[0].nonsense", "unknown key"),
        (changed("mirror:", "reload: {every: [1]}\nmirror:"), "reload.every", "valid number"),
        (changed("rate: 0.5", "rate: 1.5"), "experiments[0].targets[0].rate", "less than or equal to 1 (got 1.5)"),
        (changed("rate: 0.5", "rate: on"), "experiments[0].targets[0].rate", "(got True)"),
        (changed("rate: 0.5", "rate: half"), "experiments[0].targets[0].rate", "(got 'half')"),
        (changed("deadline: 2m", "deadline: 2 weeks"), "experiments[0].targets[1].deadline", "not a quantity such as"),
        (changed("kind: control", "kind: canary"), "experiments[0].targets[1].kind", "(got 'canary')"),
        (changed("name: control", "name: candidate"), "experiments[0]", "two targets of one experiment"),
        (changed('["/shadowmesh.v1.Inference/*"]', "[oops]"), "experiments[0].methods", "'oops' is neither"),
        (changed('["/shadowmesh.v1.Inference/*"]', "[]"), "experiments[0].methods", "too few, at least 1"),
        (changed("name: summaries", "name: 7"), "experiments[0].name", "(got 7)"),
        (changed("carrier: thread", "carrier: pigeon"), "mirror.carrier", "(got 'pigeon')"),
        (changed("1MiB", "1 acre"), "mirror.capture_bytes", "not a quantity such as"),
        (changed('otlp: {endpoint: "http://127.0.0.1:4317"}', "otlp: here"), "telemetry.otlp", "not a mapping"),
        (changed('["/shadowmesh.v1.Inference/*"]', "{}"), "experiments[0].methods", "not a list"),
        (changed('{endpoint: "http://127.0.0.1:4317"}', "{}"), "telemetry.otlp.endpoint", "Field required"),
        (changed("window: 5s", "window: 0s"), "processor.window", "greater than 0"),
        (changed("  - name:", "  - protocol: nope\n    name:"), "experiments[0].protocol", "'nope' is none of"),
        ("[1, 2]", "", "not a mapping"),
        ("just text", "", "(got 'just text')"),
        ("experiments: 7", "experiments", "(got 7)"),
        ("experiments: [{}]", "experiments[0].name", "Field required (and 2 more)"),
        ("1: 2", "[1]", ""),
    ],
)  # fmt: skip
def test_a_wrong_key_type_or_range_is_named_by_its_path(text: str, key: str, problem: str) -> None:
    error = problem_of(text)
    assert problem in error.problem
    assert error.key == key
    assert error.source == "mesh.yaml"


def test_a_key_stands_where_it_was_written_whatever_shapes_there_are() -> None:
    error = problem_of(changed("  - name:", "  - sampling: {by: {metdata: x}}\n    name:"))
    assert (error.key, error.problem) == (
        "experiments[0].sampling.by.metdata",
        "unknown key, perhaps metadata",
    )


def test_two_experiments_of_one_name_are_refused_at_the_second() -> None:
    twice = "experiments:\n" + 2 * ('  - {name: one, methods: ["*"], targets: [{name: a, address: "h:1"}]}\n')
    error = problem_of(twice)
    assert (error.key, error.problem) == ("experiments[1].name", "two experiments are named one")


def test_mistakes_are_counted_and_a_list_with_a_wrong_element_is_not_one_more() -> None:
    only_target = changed('      - {name: control, kind: control, address: "127.0.0.1:2", deadline: 2m}\n', "")
    assert "more" not in problem_of(only_target.replace("rate: 0.5", "rate: 2")).problem
    assert "(and 1 more)" in problem_of(only_target.replace("rate: 0.5", "rate: 2, tls: maybe")).problem


@pytest.mark.parametrize(
    ("text", "place", "problem"),
    [
        ("a: [1,\nb: 2", "line 2", "expected ',' or ']'"),
        ("a: b: c", "line 1", "mapping values are not allowed here"),
        ("\tmirror: {}", "line 1", "found character '\\t' that cannot start any token"),
        ("!!python/object:os.system {}", "line 1", "could not determine a constructor"),
        ("mirror: {}\nmirror: {}", "line 2", "key 'mirror' twice"),
        (changed("rate: 0.5", "rate: 0.5, rate: 1.0"), "line 5", "key 'rate' twice"),
        ("a: 2026-13-45", "", "not YAML"),
        ("a: " + "[" * 5_000, "", "not YAML"),
        ("a: " + "9" * 5_000, "", "not YAML"),
        ("a: *nowhere", "line 1", "found undefined alias"),
        ("--- 1\n--- 2", "line 2", "but found another document"),
        ("\x00", "", "not YAML"),
    ],
)  # fmt: skip
def test_what_is_no_yaml_is_named_by_its_line(text: str, place: str, problem: str) -> None:
    error = problem_of(text)
    assert problem in error.problem
    assert error.key == place


def test_anchors_and_merges_may_be_overridden() -> None:
    text = """\
experiments:
  - name: one
    methods: ["*"]
    targets:
      - &base {name: a, address: "h:1", rate: 0.5}
      - &next {<<: *base, name: b}
      - {<<: *next, name: c, rate: 1}
"""
    targets = parse(text).experiments[0].targets
    assert [(target.name, target.rate) for target in targets] == [("a", 0.5), ("b", 0.5), ("c", 1.0)]


def test_a_credential_is_never_part_of_a_message() -> None:
    text = "processor: {export: [{endpoint: 'http://h:1', headers: {authorization: 4711}}]}"
    error = problem_of(text)
    assert error.key == "processor.export[0].headers.authorization"
    assert "4711" not in str(error)


@given(st.text(max_size=80))
def test_any_text_is_a_configuration_or_one_line_that_says_why_not(text: str) -> None:
    try:
        parse(text, source="mesh.yaml")
    except ConfigError as error:
        line = str(error)
    else:
        return
    assert "\n" not in line


# --- files ----------------------------------------------------------------------------------------------------


def test_a_file_is_read_and_named_in_what_is_wrong_with_it(tmp_path: Path) -> None:
    path = tmp_path / "mesh.yaml"
    path.write_text(GOOD, encoding="utf-8")
    assert load(path) == load(str(path)) == parse(GOOD)
    path.write_text(changed("mirror:", "miror:"), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert str(caught.value) == f"{path}: miror: unknown key, perhaps mirror"


def test_a_file_that_is_missing_is_said_to_be(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file or directory"):
        load(tmp_path / "nothing.yaml")


def test_a_directory_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Is a directory"):
        load(tmp_path)


def test_a_file_that_is_no_text_is_said_to_be(tmp_path: Path) -> None:
    path = tmp_path / "mesh.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not UTF-8 text"):
        load(path)


POLICIES = """\
experiments:
  - name: x
    methods: ["/shadowmesh.v1.Inference/*"]
    targets: [{name: a, address: "h:1", tls: true, %s}]
"""


@pytest.mark.parametrize(
    ("policy", "key"),
    [
        ("transform: {set_fields: {modle: m}}", "transform.set_fields"),
        ("transform: {modle: m}", "transform.modle"),
        ("transform: {set_fields: {max_tokens: many}}", "transform"),
        ("allow_unsafe: [nonsense]", "allow_unsafe"),
        ("credentials: [{key: a, value: hunter2}]", "credentials[0].value"),
        ("credentials: [{key: a, env: hunter2-hunter2}]", "credentials[0].env"),
        ("credentials: hunter2", "credentials"),
        ("metadata: [x-user-token]", "metadata"),
    ],
)
def test_a_policy_that_does_not_fit_is_refused_by_its_key_and_no_secret_is_repeated(policy: str, key: str) -> None:
    error = problem_of(POLICIES % policy)
    assert error.key == f"experiments[0].targets[0].{key}"
    assert "hunter2" not in str(error)


@pytest.mark.parametrize(
    ("choice", "key"),
    [
        ("when: {models: [llama-*]}", ""),
        ("sampling: {by: {field: request_id}}", ""),
        ("protocol: raw\n    when: {models: [llama-*]}", "when.models"),
        ("sampling: {by: {field: session.id}}", "sampling.by.field"),
        ("sampling: {by: {field: sampling}}", "sampling.by.field"),
    ],
)
def test_a_choice_is_accepted_where_some_request_can_make_it(choice: str, key: str) -> None:
    text = POLICIES.replace("name: x\n", f"name: x\n    {choice}\n") % "rate: 0.5"
    if key:
        assert problem_of(text).key == f"experiments[0].{key}"
    else:
        parse(text)


def test_a_policy_that_fits_is_accepted_without_its_files_and_refused_where_they_are_needed() -> None:
    config = parse(POLICIES % "transform: {model: m}, credentials: [{key: a, file: /no/such/file}]")
    with pytest.raises(ConfigError, match=r"mesh.yaml: experiments\[0\].targets\[0\].credentials\[0\].file: No such"):
        check_credentials(config, source="mesh.yaml")


@pytest.mark.parametrize(("written", "read"), [("off", "off"), ("'off'", "off"), ("events", "events")])
def test_yaml_takes_off_for_a_boolean_and_it_is_off_all_the_same(written: str, read: str) -> None:
    assert parse(changed("name: summaries", f"name: summaries\n    content: {written}")).experiments[0].content == read


@pytest.mark.parametrize("content", ["events", "spans"])
def test_text_that_no_protocol_map_finds_cannot_be_captured(content: str) -> None:
    error = problem_of(changed("name: summaries", f"name: summaries\n    protocol: raw\n    content: {content}"))
    assert error.key == "experiments[0].content"
    assert "protocol raw does not say where a text is" in str(error)
    parse(changed("name: summaries", "name: summaries\n    protocol: raw\n    content: off"))


def test_pairs_that_are_fewer_than_engines_name_their_key() -> None:
    text = changed("    targets:", "    time_box: {pairs: 7}\n    targets:")
    assert parse(text).experiments[0].time_box is not None
    error = problem_of(text.replace("carrier: thread", "carrier: process, workers: 4, budget: {processes: 2}"))
    assert (error.key, "less than one" in error.problem) == ("experiments[0].time_box.pairs", True)


def test_criteria_stand_beside_the_targets_and_name_the_key_that_is_wrong() -> None:
    text = changed("    targets:", "    criteria: {errors: {mode: strict}, latency: [{ratio: 1.5}]}\n    targets:")
    criteria = parse(text).experiments[0].criteria
    assert (criteria.errors.allowed, criteria.latency[0].ratio, criteria.coverage.pairs) == (0.0, 1.5, 10_000)
    assert problem_of(text.replace("1.5", "'1.5'")).key == "experiments[0].criteria.latency[0].ratio"
    assert problem_of(text.replace("strict", "lenient")).key == "experiments[0].criteria.errors.mode"


def test_other_criteria_are_another_policy_and_no_other_target() -> None:
    before, after = (
        parse(changed("    targets:", f"    criteria: {{alpha: {alpha}}}\n    targets:")).experiments[0]
        for alpha in (0.05, 0.01)
    )
    assert before.digest != after.digest
    assert [one.digest for one in before.targets] == [one.digest for one in after.targets]


def test_candidates_in_force_are_planned_as_the_mirror_will_record_them() -> None:
    another = 'rate: 0.5}\n      - {name: another, address: "h:2", enabled: false}'
    config = parse(changed("rate: 0.5}", another))
    (plan,) = plans(config)
    (mirrored,) = EXPERIMENTS.validate_json(EXPERIMENTS.dump_json(in_force(config.experiments)))
    assert plan.config_digest == mirrored.digest
    assert plan.candidates == {one.name: one.digest for one in mirrored.targets if one.kind == "candidate"}
    assert list(plan.candidates) == ["candidate"]
    assert plan.criteria == config.experiments[0].criteria


@pytest.mark.parametrize(("content", "captured"), [("false", False), ("spans", False), ("events", True)])
def test_texts_that_go_to_the_processor_are_planned_for(content: str, captured: bool) -> None:
    (plan,) = plans(parse(changed("    targets:", f"    content: {content}\n    targets:")))
    assert ("numbers" in plan.captured) is captured
