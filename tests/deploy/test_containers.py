"""The Dockerfile and the compose file, as far as they can be judged where no container runs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from deploy.owners import Read
from deploy.queries import DEPLOY

from shadowmesh.config import load

ROOT = DEPLOY.parent
DOCKERFILE = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))


@pytest.mark.e2e
def test_the_dockerfile_is_one_without_a_warning(read: Read) -> None:
    done = read("dockerfile", DEPLOY / "Dockerfile")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.e2e
def test_an_instruction_that_is_none_is_refused(read: Read, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCPOY . .\n", encoding="utf-8")
    done = read("dockerfile", tmp_path / "Dockerfile")
    assert done.returncode == 1
    assert "CPOY" in done.stderr


@pytest.mark.e2e
def test_the_compose_file_is_one(read: Read, tmp_path: Path) -> None:
    done = read("compose", DEPLOY / "compose.yaml")
    assert done.returncode == 0, done.stderr
    assert yaml.safe_load(done.stdout)["services"].keys() == COMPOSE["services"].keys()


@pytest.mark.e2e
def test_a_key_that_compose_does_not_know_is_refused(read: Read, tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("services: {one: {image: one, prots: []}}", encoding="utf-8")
    done = read("compose", tmp_path / "compose.yaml")
    assert done.returncode == 1
    assert "prots" in done.stderr


def test_what_is_copied_into_the_image_is_let_through_and_there() -> None:
    copied = {word for line in re.findall(r"^COPY (?!--)(.+) \S+$", DOCKERFILE, re.MULTILINE) for word in line.split()}
    let_through = {
        line.removeprefix("!")
        for line in (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
        if line.startswith("!")
    }
    assert copied == let_through
    assert all((ROOT / name).exists() for name in copied)


def test_the_image_is_not_roots_and_its_bases_are_named_by_version() -> None:
    assert re.search(r"^USER 10001:10001$", DOCKERFILE, re.MULTILINE)
    for base in re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE):
        assert re.search(r":\d+\.\d+", base), base


def test_images_are_named_by_version_and_ports_are_this_machines() -> None:
    for name, service in COMPOSE["services"].items():
        assert "build" in service or re.search(r":v?\d+\.\d+\.\d+$", service["image"]), name
        for port in service.get("ports", ()):
            assert port.startswith("127.0.0.1:"), name


def test_every_file_that_is_mounted_is_there() -> None:
    for name, service in COMPOSE["services"].items():
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            assert source in COMPOSE["volumes"] or (DEPLOY / source).exists(), f"{name}: {source}"


def test_the_processor_keeps_its_data_on_a_volume() -> None:
    data = load(DEPLOY / "shadowmesh" / "processor.yaml").processor.data
    volumes = [volume.split(":") for volume in COMPOSE["services"]["processor"]["volumes"]]
    assert [target for source, target, *_ in volumes if source in COMPOSE["volumes"]] == [data]


def test_hosts_that_configurations_name_are_services() -> None:
    texts = [path.read_text(encoding="utf-8") for path in DEPLOY.glob("*/*.yaml")]
    texts += [path.read_text(encoding="utf-8") for path in (DEPLOY / "grafana" / "provisioning").rglob("*.yaml")]
    ports = "4317|4319|888[89]|9090|14317|16686|18888|24317|5005[12]"
    hosts = {host for text in texts for host in re.findall(rf"(?<![\w.])([a-z][a-z-]*):(?:{ports})\b", text)}
    assert hosts - {"localhost"} <= COMPOSE["services"].keys()
    assert {"collector", "jaeger", "prometheus", "shadow", "live"} <= hosts
