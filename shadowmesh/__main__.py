"""``python -m shadowmesh``."""

from shadowmesh.cli.main import run

run()
