"""A forked process begins anew with what was open in its parent, and leaves alone what was closed there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from support.meshes import config, target

# Python calls a fork beside other threads deprecated, which is what model servers do all the same.
_PROGRAM = """
import os, sys, threading, warnings
from shadowmesh.build import Mesh
from shadowmesh.testing import SpanSink

warnings.simplefilter("ignore", DeprecationWarning)

def ours():
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("shadowmesh")]

meshes = [Mesh.from_file(sys.argv[1], span_exporter=SpanSink()) for _ in range(2)]
for mesh in meshes:
    mesh.interceptor()
meshes[0].close()
print(os.getpid(), *ours(), flush=True)
child = os.fork()
if not child:
    print(os.getpid(), *ours(), *[mesh.status()["config_file"]["watched"] for mesh in meshes], flush=True)
    meshes[1].close()
    print(os.getpid(), *ours(), flush=True)
    os._exit(0)
os.waitpid(child, 0)
print(os.getpid(), *ours(), flush=True)
"""


def test_a_forked_process_goes_on_with_what_was_open_and_leaves_alone_what_was_closed(tmp_path: Path) -> None:
    file = tmp_path / "shadowmesh.yaml"
    file.write_text(config(target("127.0.0.1:1")).model_dump_json())
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    result = subprocess.run(
        [sys.executable, "-c", _PROGRAM, str(file)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env=environment,
    )
    parent, began, ended, after = (line.split() for line in result.stdout.splitlines())
    assert parent[1:] == ["shadowmesh-rounds"]
    assert began[1:] == ["shadowmesh-rounds", "False", "True"]
    assert ended[1:] == []
    assert after == parent
    assert (began[0], ended[0]) != (parent[0], parent[0])
    assert result.stderr == ""
