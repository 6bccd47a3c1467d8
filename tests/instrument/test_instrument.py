"""``shadowmesh instrument``: programs that know nothing of us are mirrored, and nothing we do can break them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from support.collector import collector

from shadowmesh.instrument import environment
from shadowmesh.mirror.capture_files import read_calls
from shadowmesh.names import Role
from shadowmesh.testing import Backend, SpanSink

HERE = Path(__file__).parent
PROGRAM = [sys.executable, str(HERE / "programs.py")]


def echo(call: Any, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
    yield next(requests)


def written(directory: Path, shadow: str, otlp: str, **more: Any) -> Path:
    file = directory / "shadowmesh.yaml"
    one = {"name": "x", "methods": ["*"], "targets": [{"name": "candidate", "address": shadow}]}
    file.write_text(json.dumps({"experiments": [one], "telemetry": {"otlp": {"endpoint": f"http://{otlp}"}}, **more}))
    return file


@contextmanager
def instrumented(
    file: Path, name: str, *, program: Sequence[str] = PROGRAM, **variables: str
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a program until the end of the block; gives the address it says."""
    command = ["shadowmesh", "instrument", "--config", str(file), "--", *program, name]
    process = subprocess.Popen(
        [sys.executable, "-m", *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**_clean(), **variables},
    )
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        assert said.startswith("port "), said + (process.stderr.read() if process.stderr else "")
        yield process, f"127.0.0.1:{said.split()[1]}"
    finally:
        # Its children have the same standard input, and end with it.
        if process.returncode is None:
            process.communicate("", timeout=60)


def _clean() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "PYTHONPATH"))}


def ask(address: str) -> bytes:
    with grpc.insecure_channel(address) as channel:
        call: Any = channel.unary_unary("/acme.Models/Ask")
        answer: bytes = call(b"hello", timeout=30)
    return answer


@pytest.mark.parametrize(
    "program",
    ["synchronous", "asynchronous", "asking_first", "child", "forked", "forked_by_multiprocessing", "spawned"],
)
def test_every_server_a_program_builds_is_mirrored_in_its_child_processes_too(tmp_path: Path, program: str) -> None:
    sink = SpanSink()
    with Backend(echo) as backend, collector(sink) as otlp:
        with instrumented(written(tmp_path, backend.address, otlp), program) as (_, address):
            assert ask(address) == b"hello"
            legs = sink.wait_for_legs(2)
        assert {leg.role for leg in legs} == {Role.LIVE, Role.SHADOW}
        assert {leg.status for leg in legs} == {"OK"}
        assert backend.calls[0].requests == [b"hello"]


def console_script(folder: Path) -> Path:
    """Write a program as an installer writes the entry points of a package."""
    script = folder / "acme-server"
    script.write_text(f"#!{sys.executable}\nimport sys\nimport programs\ngetattr(programs, sys.argv[1])()\n")
    script.chmod(0o755)
    return script


@pytest.mark.parametrize("way", ["module", "script", "console script"])
@pytest.mark.parametrize("program", ["synchronous", "asynchronous"])
def test_a_program_is_mirrored_however_it_is_started(tmp_path: Path, way: str, program: str) -> None:
    command = {
        "module": [sys.executable, "-m", "programs"],
        "script": PROGRAM,
        # By its name alone, as it is found in an environment.
        "console script": [console_script(tmp_path).name],
    }[way]
    path = os.pathsep.join([str(tmp_path), os.environ["PATH"]])
    sink = SpanSink()
    with Backend(echo) as backend, collector(sink) as otlp:
        file = written(tmp_path, backend.address, otlp)
        with instrumented(file, program, program=command, PYTHONPATH=str(HERE), PATH=path) as (_, address):
            assert ask(address) == b"hello"
            assert {leg.role for leg in sink.wait_for_legs(2)} == {Role.LIVE, Role.SHADOW}


def test_every_worker_of_a_pre_fork_server_is_mirrored_and_captured_by_itself(tmp_path: Path) -> None:
    sink, folder = SpanSink(), tmp_path / "calls"
    with Backend(echo) as backend, collector(sink) as otlp:
        file = written(tmp_path, backend.address, otlp, capture={"to": str(folder)})
        with instrumented(file, "preforked") as (process, address):
            assert process.stdout is not None
            other = f"127.0.0.1:{process.stdout.readline().split()[1]}"
            for asked in (address, address, other):
                assert ask(asked) == b"hello"
            sink.wait_for_legs(6)
    assert process.returncode == 0
    written_by = {path.name.split("-")[2]: len(list(read_calls(path))) for path in folder.iterdir()}
    assert sorted(written_by.values()) == [1, 2]


def test_a_program_keeps_the_sitecustomize_it_has(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import os\nos.environ['CUSTOMIZED'] = 'yes'\n")
    sink = SpanSink()
    with Backend(echo) as backend, collector(sink) as otlp:
        file = written(tmp_path, backend.address, otlp)
        with instrumented(file, "customized", PYTHONPATH=str(tmp_path)) as (_, address):
            assert ask(address) == b"hello"
            assert len(sink.wait_for_legs(2)) == 2


@pytest.mark.parametrize("problem", ["import no_such_module", "raise ValueError('x')"])
def test_what_is_wrong_with_a_sitecustomize_is_said_as_without_us_and_the_program_is_mirrored(
    tmp_path: Path, problem: str
) -> None:
    (tmp_path / "sitecustomize.py").write_text(f"{problem}\n")
    plain = [sys.executable, "-c", ""]
    variables = {**_clean(), "PYTHONPATH": str(tmp_path)}
    usual = subprocess.run(plain, check=True, capture_output=True, text=True, timeout=60, env=variables).stderr
    assert usual.startswith("Error in sitecustomize")
    sink = SpanSink()
    with Backend(echo) as backend, collector(sink) as otlp:
        file = written(tmp_path, backend.address, otlp)
        with instrumented(file, "synchronous", PYTHONPATH=str(tmp_path)) as (process, address):
            assert ask(address) == b"hello"
            assert len(sink.wait_for_legs(2)) == 2
            # Of our command, which is a Python program too, and of theirs.
            assert process.communicate("", timeout=60)[1] == usual * 2


def test_a_program_is_mirrored_though_somebody_else_has_wrapped_what_builds_servers(tmp_path: Path) -> None:
    # As opentelemetry-instrument does, whose function does not tell the original's signature.
    wrapped = "import grpc\nbuild = grpc.server\ngrpc.server = lambda *args, **kwargs: build(*args, **kwargs)\n"
    (tmp_path / "sitecustomize.py").write_text(wrapped)
    sink = SpanSink()
    with Backend(echo) as backend, collector(sink) as otlp:
        file = written(tmp_path, backend.address, otlp)
        with instrumented(file, "synchronous", PYTHONPATH=str(tmp_path)) as (_, address):
            assert ask(address) == b"hello"
            assert len(sink.wait_for_legs(2)) == 2


def test_servers_that_are_built_at_the_same_moment_have_one_mesh(tmp_path: Path) -> None:
    folder = tmp_path / "calls"
    file = tmp_path / "shadowmesh.yaml"
    file.write_text(json.dumps({"capture": {"to": str(folder)}}))
    with instrumented(file, "at_once", OTEL_METRICS_EXPORTER="none") as (process, address):
        assert process.stdout is not None
        for asked in (address, *(f"127.0.0.1:{process.stdout.readline().split()[1]}" for _ in range(3))):
            assert ask(asked) == b"hello"
        process.communicate("", timeout=60)
    assert len(list(folder.iterdir())) == 1


def test_a_path_stays_as_it_is_behind_ours() -> None:
    file = Path("/x.yaml")
    once = environment.instrumented({"PYTHONPATH": "/a::/b"}, file)
    assert once["PYTHONPATH"] == f"{environment.SITE}:/a::/b"
    assert environment.instrumented(once, file) == once
    assert environment.instrumented({}, file)["PYTHONPATH"] == str(environment.SITE)


def test_a_program_without_grpc_loads_nothing_heavy(tmp_path: Path) -> None:
    file = written(tmp_path, "127.0.0.1:1", "127.0.0.1:1")
    done = run(file, "without_grpc")
    assert (done.returncode, done.stdout, done.stderr) == (0, "nothing\n", "")


def test_a_configuration_that_breaks_after_the_start_is_one_line_and_the_program_runs_on(tmp_path: Path) -> None:
    file = written(tmp_path, "127.0.0.1:1", "127.0.0.1:1", mirror={"carrier": "loop"})
    with instrumented(file, "synchronous") as (process, address):
        assert ask(address) == b"hello"
        _, said = process.communicate("")
    assert process.returncode == 0
    assert said.splitlines()[0] == (
        "shadowmesh: nothing is mirrored: the carrier loop serves grpc.aio servers only: set mirror.carrier to thread"
    )


def test_a_program_that_cannot_be_told_what_is_wrong_runs_on(tmp_path: Path) -> None:
    file = written(tmp_path, "127.0.0.1:1", "127.0.0.1:1", mirror={"carrier": "loop"})
    with instrumented(file, "speechless") as (process, address):
        assert ask(address) == b"hello"
        process.communicate("", timeout=60)
    assert process.returncode == 0


def test_what_is_wrong_before_the_start_is_one_line_and_a_code(tmp_path: Path) -> None:
    file = written(tmp_path, "127.0.0.1:1", "127.0.0.1:1")
    done = run(file, command=["no-such-program-anywhere"])
    assert (done.returncode, done.stderr) == (69, "shadowmesh: no-such-program-anywhere: no such program\n")
    done = run(file, command=["/any/opentelemetry-instrument", "python"])
    assert done.returncode == 64
    assert "opentelemetry-instrument shadowmesh instrument" in done.stderr
    file.write_text("experiments: 7")
    done = run(file, "without_grpc")
    assert done.returncode == 64
    assert done.stderr.startswith(f"shadowmesh: {file}: experiments: ")


def run(file: Path, name: str = "", *, command: list[str] | None = None) -> subprocess.CompletedProcess[str]:
    program = [*PROGRAM, name] if command is None else command
    line = [sys.executable, "-m", "shadowmesh", "instrument", "--config", str(file), "--", *program]
    return subprocess.run(line, check=False, capture_output=True, text=True, timeout=60, env=_clean())
