"""Real model servers of others, with and without ShadowMesh, each in an environment of its own."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from stack.loopback import HOST, free_ports
from stack.running import Running

import shadowmesh

HERE = Path(__file__).parent


class Kind(NamedTuple):
    """A way to run a server."""

    environment: str
    """Its name among those of ``make servers``."""
    protocol: str
    clients: tuple[str, ...]
    workers: int = 0
    """MLServer's processes for parallel inference, in which it has no streams: it answers them with one message."""


KINDS: Mapping[str, Kind] = {
    "mlserver": Kind("mlserver", "oip_mlserver", ("ask_unary", "ask_stream")),
    "mlserver with parallel inference": Kind("mlserver", "oip_mlserver", ("ask_unary", "ask_stream"), workers=2),
    "kserve": Kind("kserve", "oip_kserve", ("ask_unary",)),
}


class ModelServer(Running):
    """
    A server with the model ``words``.

    Args:
        programs: of its environment.
        way: how the model says the words of a prompt: the name of a method of ``str``.
        config: a file for ``shadowmesh instrument``; without it the server runs by itself.
    """

    # What they import takes ten seconds of a busy machine, for each of their processes anew.
    ready_within = 90.0

    def __init__(self, kind: Kind, programs: Path, directory: Path, *, way: str, config: Path | None = None) -> None:
        http, port, metrics = free_ports(3)
        self.address = f"{HOST}:{port}"
        environment = {"WAY": way, "MLSERVER_HOST": HOST, "MLSERVER_PARALLEL_WORKERS": str(kind.workers)}
        environment |= {"MLSERVER_HTTP_PORT": str(http), "MLSERVER_GRPC_PORT": str(port)}
        environment |= {"MLSERVER_METRICS_PORT": str(metrics)}
        if kind.environment == "mlserver":
            command = [str(programs / "mlserver"), "start", str(HERE / "mlserver_model")]
        else:
            command = [str(programs / "python"), str(HERE / "kserve_model.py"), "--enable_grpc", "true"]
            command += ["--http_port", str(http), "--grpc_port", str(port)]
        if config is not None:
            environment["PYTHONPATH"] = str(installed(directory / "site"))
            ours = [str(programs / "python"), "-m", "shadowmesh", "instrument", "--config", str(config), "--"]
            command = [*ours, *command]
        super().__init__(command, directory, health=(http, "/v2/health/ready"), environment=environment)


class ProxyServer(Running):
    """``shadowmesh proxy`` in front of a server; it needs nothing of that one's environment."""

    def __init__(self, directory: Path, *, live: str, config: Path) -> None:
        (port,) = free_ports(1)
        self.address = f"{HOST}:{port}"
        command = [sys.executable, "-m", "shadowmesh", "proxy", "--config", str(config)]
        command += ["--listen", self.address, "--live", live]
        super().__init__(command, directory, health=(port, ""), environment={})

    def is_ready(self) -> bool:
        return f"{self.address} to " in self.last_lines()


def installed(site: Path) -> Path:
    """Return a folder for ``PYTHONPATH`` that has ShadowMesh as an installation has it: the package and its version."""
    (package,) = shadowmesh.__path__
    about = site / f"shadowmesh-{version('shadowmesh')}.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: shadowmesh\nVersion: {version('shadowmesh')}\n")
    (site / "shadowmesh").symlink_to(package)
    return site
