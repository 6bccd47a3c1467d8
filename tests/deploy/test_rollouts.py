"""Where rollouts ask: Argo's own code takes the metric from a real answer, and what is written for others fits."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import typer
import yaml
from deploy.owners import Read
from deploy.queries import DEPLOY
from support.verdicts import judgement, verdict

from shadowmesh.cli.main import app
from shadowmesh.processor.verdict_routes import GATE_PATH
from shadowmesh.verdict.document import PATH, to_document
from shadowmesh.verdict.records import Answer

ROLLOUTS = DEPLOY / "rollouts"
PARAMETERS = {"experiment", "target", "config_digest", "answer"}


def loaded(name: str) -> Any:
    return yaml.safe_load((ROLLOUTS / name).read_text(encoding="utf-8"))


def options(command: str) -> set[str]:
    """Return the options a command of ours has."""
    group: Any = typer.main.get_command(app)
    return {option for parameter in group.commands[command].params for option in parameter.opts}


@contextmanager
def answering(document: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """Answer every request with a document; return the address, and what is asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(document).encode())

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.e2e
@pytest.mark.parametrize("folder", ["argo", "flagger"])
def test_every_object_is_read_strictly_by_its_owners_types(folder: str, read: Read) -> None:
    done = read("kustomize", ROLLOUTS / folder)
    assert done.returncode == 0, done.stderr


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("kind", "spec", "unknown"),
    [
        (
            "argoproj.io/v1alpha1/AnalysisTemplate",
            {"metrics": [{"name": "x", "sucessCondition": "x"}]},
            "sucessCondition",
        ),
        ("flagger.app/v1beta1/Canary", {"analysis": {"webhook": []}}, "webhook"),
    ],
)
def test_a_field_that_they_do_not_know_is_refused(
    kind: str, spec: dict[str, Any], unknown: str, read: Read, tmp_path: Path
) -> None:
    version, _, name = kind.rpartition("/")
    one = {"apiVersion": version, "kind": name, "metadata": {"name": "one"}, "spec": spec}
    (tmp_path / "one.yaml").write_text(yaml.safe_dump(one), encoding="utf-8")
    (tmp_path / "kustomization.yaml").write_text("resources: [one.yaml]", encoding="utf-8")
    done = read("kustomize", tmp_path)
    assert done.returncode == 1
    assert unknown in done.stderr


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("answer", "phase"),
    [(Answer.GO, "Successful"), (Answer.NO_GO, "Failed"), (Answer.NOT_YET, "Inconclusive"), (None, "Inconclusive")],
)
def test_argo_takes_go_for_success_and_not_yet_for_inconclusive(
    answer: Answer | None, phase: str, read: Read, tmp_path: Path
) -> None:
    said = judgement() if answer is None else judgement(verdict(answer))
    with answering(to_document(said)) as (address, asked):
        text = (ROLLOUTS / "argo" / "verdict.yaml").read_text(encoding="utf-8")
        given = {"processor": address, "experiment": "new-model", "config-digest": "8f2a61c0d95e"}
        for name, value in given.items():
            text = text.replace(f"{{{{args.{name}}}}}", value)
        file = tmp_path / "verdict.yaml"
        file.write_text(text, encoding="utf-8")
        done = read("measure", file)
    assert (done.returncode, done.stdout.split()[0]) == (0, phase), done.stderr
    assert asked == [f"{PATH}?experiment=new-model&config_digest=8f2a61c0d95e"]


def test_what_is_never_decided_ends_inconclusive_and_not_as_a_success() -> None:
    (metric,) = loaded("argo/verdict.yaml")["spec"]["metrics"]
    # More than the limit is inconclusive, and a full count without that many would be a success.
    assert metric["inconclusiveLimit"] == metric["count"] - 1
    assert (metric["failureLimit"], metric["consecutiveSuccessLimit"]) == (0, 1)


def test_every_argument_of_a_template_is_used_and_every_one_that_is_used_is_there() -> None:
    for name in ("verdict", "gate"):
        text = (ROLLOUTS / "argo" / f"{name}.yaml").read_text(encoding="utf-8")
        used = set(re.findall(r"\{\{args\.([\w-]+)\}\}", re.sub(r"^\s*#.*$", "", text, flags=re.MULTILINE)))
        assert used == {one["name"] for one in yaml.safe_load(text)["spec"]["args"]}


def test_a_job_tries_errors_again_and_no_answer() -> None:
    (metric,) = loaded("argo/gate.yaml")["spec"]["metrics"]
    job = metric["provider"]["job"]["spec"]
    (rule,) = job["podFailurePolicy"]["rules"]
    assert rule == {"action": "FailJob", "onExitCodes": {"containerName": "gate", "operator": "In", "values": [1, 2]}}
    assert job["template"]["spec"]["restartPolicy"] == "Never"
    (container,) = job["template"]["spec"]["containers"]
    assert {one.partition("=")[0] for one in container["args"][1:]} <= options("gate")
    assert job["activeDeadlineSeconds"] > 12 * 3600


def test_flaggers_hooks_ask_the_gate_and_none_counts_not_yet_as_a_failure() -> None:
    hooks = loaded("flagger/canary.yaml")["spec"]["analysis"]["webhooks"]
    asked = {hook["type"]: urlsplit(hook["url"]) for hook in hooks}
    assert set(asked) == {"confirm-traffic-increase", "rollback"}
    for url in asked.values():
        assert (url.path, url.port) == (GATE_PATH, 24318)
        assert set(parse_qs(url.query)) <= PARAMETERS
    assert "answer" not in parse_qs(asked["confirm-traffic-increase"].query)
    assert parse_qs(asked["rollback"].query)["answer"] == [Answer.NO_GO]


@pytest.mark.parametrize("name", ["github-actions", "gitlab-ci"])
def test_the_step_of_a_pipeline_calls_the_gate_with_options_that_it_has(name: str) -> None:
    text = (ROLLOUTS / "ci" / f"{name}.yaml").read_text(encoding="utf-8")
    yaml.safe_load(text)
    (command,) = re.findall(r"shadowmesh gate (.*?) > verdict\.json", text)
    given = [word for word in shlex.split(command) if word.startswith("--")]
    assert given == ["--config", "--store", "--wait", "--json"]
    assert set(given) <= options("gate")
