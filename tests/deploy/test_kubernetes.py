"""The manifests build, hold only what Kubernetes knows, and fit together."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from deploy.owners import Read
from deploy.queries import DEPLOY
from stack.parts import Binaries

from shadowmesh.config import parse

pytestmark = pytest.mark.e2e

KUBERNETES = DEPLOY / "kubernetes"
OVERLAYS = ("base", *(f"overlays/{path.name}" for path in sorted((KUBERNETES / "overlays").iterdir())))


class Key(NamedTuple):
    kind: str
    name: str


Objects = dict[Key, dict[str, Any]]


@pytest.fixture(params=OVERLAYS)
def built(request: pytest.FixtureRequest, read: Read) -> Objects:
    """The objects of the base and of each overlay; building decodes every one strictly."""
    done = read("kustomize", KUBERNETES / request.param)
    assert done.returncode == 0, done.stderr
    documents = list(yaml.safe_load_all(done.stdout))
    return {Key(one["kind"], one["metadata"]["name"]): one for one in documents}


def pods(built: Objects) -> dict[str, dict[str, Any]]:
    """Return the pod templates by the name of what makes them."""
    return {key.name: one["spec"]["template"] for key, one in built.items() if key.kind == "StatefulSet"}


def config_map(built: Objects, pod: dict[str, Any], volume: str) -> dict[str, str]:
    (name,) = [one["configMap"]["name"] for one in pod["spec"]["volumes"] if one["name"] == volume]
    return dict(built[Key("ConfigMap", name)]["data"])


def selected(built: Objects, labels: dict[str, str]) -> list[str]:
    return [name for name, pod in pods(built).items() if labels.items() <= pod["metadata"]["labels"].items()]


def test_a_field_that_kubernetes_does_not_know_is_refused(read: Read, tmp_path: Path) -> None:
    (tmp_path / "kustomization.yaml").write_text("resources: [pod.yaml]", encoding="utf-8")
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "one"}, "spec": {"container": []}}
    (tmp_path / "pod.yaml").write_text(yaml.safe_dump(pod), encoding="utf-8")
    done = read("kustomize", tmp_path)
    assert done.returncode == 1
    assert 'unknown field "spec.container"' in done.stderr


def test_selectors_and_ports_find_what_they_name(built: Objects) -> None:
    for key, one in built.items():
        if key.kind in {"Service", "NetworkPolicy", "PodDisruptionBudget"}:
            spec = one["spec"]
            selector = spec.get("podSelector", spec.get("selector", {}))
            (name,) = selected(built, selector.get("matchLabels", selector))
            ports = {port["name"] for port in pods(built)[name]["spec"]["containers"][0]["ports"]}
            named = {port["targetPort"] for port in spec.get("ports", ())}
            named |= {port["port"] for rule in spec.get("ingress", ()) for port in rule["ports"]}
            assert named <= ports, key
        if key.kind == "StatefulSet":
            assert selected(built, one["spec"]["selector"]["matchLabels"]) == [key.name]
            assert Key("Service", one["spec"]["serviceName"]) in built


def test_pods_run_with_as_little_as_they_can(built: Objects) -> None:
    for name, pod in pods(built).items():
        spec = pod["spec"]
        (container,) = spec["containers"]
        assert spec["securityContext"]["runAsNonRoot"], name
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert container["resources"]["requests"].keys() == container["resources"]["limits"].keys() == {"cpu", "memory"}
        assert ":" in container["image"]
        assert not container["image"].endswith(":latest")


def test_every_pod_is_probed_and_guarded(built: Objects) -> None:
    for name, pod in pods(built).items():
        (container,) = pod["spec"]["containers"]
        assert {"livenessProbe", "readinessProbe"} <= container.keys()
        assert Key("NetworkPolicy", name) in built
    processor = pods(built)["processor"]["spec"]["containers"][0]
    assert processor["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert processor["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_the_processors_configuration_is_accepted_and_fits_the_pod(built: Objects) -> None:
    pod = pods(built)["processor"]
    (container,) = pod["spec"]["containers"]
    settings = parse(config_map(built, pod, "config")["processor.yaml"]).processor
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert settings.listen == f"0.0.0.0:{ports['otlp-grpc']}"
    assert settings.http_listen == f"0.0.0.0:{ports['http']}"
    mounted = [mount["mountPath"] for mount in container["volumeMounts"]]
    tls = settings.tls is not None
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        assert (container[probe]["httpGet"].get("scheme") == "HTTPS") is tls
    assert tls is ("/etc/shadowmesh/tls" in mounted) is ("/etc/shadowmesh/token" in mounted)


def test_what_a_processor_keeps_is_on_its_volume(built: Objects) -> None:
    pod = pods(built)["processor"]
    settings = parse(config_map(built, pod, "config")["processor.yaml"]).processor
    (claim,) = built[Key("StatefulSet", "processor")]["spec"]["volumeClaimTemplates"]
    mounts = {mount["name"]: mount["mountPath"] for mount in pod["spec"]["containers"][0]["volumeMounts"]}
    assert settings.data == mounts[claim["metadata"]["name"]]
    assert settings.journal_settings.path.is_relative_to(settings.data)


def test_more_processors_than_one_share_a_database_and_are_balanced(built: Objects) -> None:
    pod = pods(built)["processor"]
    settings = parse(config_map(built, pod, "config")["processor.yaml"]).processor
    several = built[Key("StatefulSet", "processor")]["spec"]["replicas"] > 1
    url = settings.store_settings.location
    assert url.startswith("postgresql://" if several else f"sqlite:///{settings.data}/")
    options = pods(built)["collector"]["spec"]["containers"][0]["args"]
    assert ("--config=/etc/otelcol/load-balancing.yaml" in options) is several
    assert (Key("NetworkPolicy", "processor-store") in built) is several
    (host,) = [one["data"]["SHADOWMESH_HOST"] for one in built.values() if "SHADOWMESH_HOST" in one.get("data", {})]
    assert built[Key("Service", host)]["spec"]["clusterIP"] == "None"


def test_the_collector_accepts_the_files_that_its_pod_is_given(
    built: Objects, binaries: Binaries, tmp_path: Path
) -> None:
    pod = pods(built)["collector"]
    (container,) = pod["spec"]["containers"]
    for name, text in config_map(built, pod, "config").items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    options = [option.replace("/etc/otelcol", str(tmp_path)) for option in container["args"]]
    command = [str(binaries.collector), "validate", *options]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


def test_rules_and_dashboard_are_those_of_the_other_deployments(read: Read) -> None:
    documents = yaml.safe_load_all(read("kustomize", KUBERNETES / "overlays" / "scraped").stdout)
    maps = {one["metadata"]["name"].rpartition("-")[0]: one["data"] for one in documents if one["kind"] == "ConfigMap"}
    rules = DEPLOY / "prometheus" / "rules"
    assert maps["shadowmesh-rules"] == {path.name: path.read_text(encoding="utf-8") for path in rules.iterdir()}
    board = DEPLOY / "grafana" / "dashboards" / "shadowmesh.json"
    assert maps["shadowmesh-dashboard"] == {board.name: board.read_text(encoding="utf-8")}
