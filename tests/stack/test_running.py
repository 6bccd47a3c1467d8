"""Programs of the stack are started, stopped and told about; by stand-ins, so that no stack is needed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from stack.loopback import HOST, free_ports, get
from stack.running import Running
from support.resources import until

SERVES = f"""
import http.server, signal, sys
if "stubborn" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
http.server.HTTPServer(("{HOST}", int(sys.argv[1])), http.server.SimpleHTTPRequestHandler).serve_forever()
"""


STARTS_IT = """
import sys
from pathlib import Path
from test_running import server
running = server(Path(sys.argv[1]))
running.start()
print(running.pid, flush=True)
sys.stdin.read()
"""


def server(directory: Path, *arguments: str) -> Running:
    (port,) = free_ports(1)
    command = [sys.executable, "-c", SERVES, str(port), *arguments]
    return Running(command, directory, health=(port, "/"), environment={})


def test_it_runs_while_the_block_does_and_starts_again_on_the_same_port(tmp_path: Path) -> None:
    running = server(tmp_path)
    for _ in range(2):
        with running:
            assert running.is_ready()
        assert not running.is_ready()
    assert running.last_lines().count("GET /") >= 2


def test_one_that_does_not_end_when_asked_is_killed(tmp_path: Path) -> None:
    with server(tmp_path, "stubborn") as running:
        assert running.stop(grace=0.2) == -signal.SIGKILL
        assert running.stop() is None


def test_one_that_ends_instead_of_serving_is_told_with_its_log(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "print('no such key: receiver'); raise SystemExit(3)"]
    running = Running(command, tmp_path, health=(free_ports(1)[0], "/"), environment={})
    with pytest.raises(RuntimeError, match=r"ended with 3:\nno such key: receiver$"):
        running.start()


@pytest.mark.skipif(shutil.which("setpriv") is None, reason="needs setpriv")
def test_it_does_not_outlive_tests_that_are_killed(tmp_path: Path) -> None:
    paths = os.pathsep.join(str(path) for path in (Path(__file__).parent, Path(__file__).parent.parent))
    with subprocess.Popen(
        [sys.executable, "-c", STARTS_IT, str(tmp_path)],
        env=os.environ | {"PYTHONPATH": paths},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as tests:
        assert tests.stdout is not None
        pid = int(tests.stdout.readline())
        assert Path(f"/proc/{pid}").exists()
        tests.kill()
    assert until(lambda: not Path(f"/proc/{pid}").exists())


def test_its_environment_is_the_tests_and_what_it_is_given(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import os; print(os.environ['PATH'], os.environ['PEER'])"]
    running = Running(command, tmp_path, health=(free_ports(1)[0], "/"), environment={"PEER": "localhost:1"})
    with pytest.raises(RuntimeError, match=r"/bin.* localhost:1$"):
        running.start()


def test_ports_are_free_different_and_none_the_kernel_gives_to_others() -> None:
    ports = free_ports(50)
    assert len(set(ports)) == 50
    assert max(ports) < 32_768
    with pytest.raises(ConnectionRefusedError):
        get(ports[0], "/")
