"""The last question of the demo: may the shadow model go live? Asked of the store that its processor leaves behind."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from shadowmesh import config
from shadowmesh.cli.gate import look
from shadowmesh.cli.report import report
from shadowmesh.errors import StartError
from shadowmesh.verdict.judgement import Judgement
from shadowmesh.verdict.plan import Plan


class Evidence:
    """
    What the demo's processor has stored, and how the live model's file says that it is judged.

    Args:
        directory: of the demo's files.
    """

    def __init__(self, directory: Path) -> None:
        self.file = directory / "live.yaml"
        self.url = config.load(directory / "processor.yaml").processor.store_settings.location

    @property
    def plans(self) -> Sequence[Plan]:
        """The experiments of the file."""
        return config.plans(config.load(self.file))

    def judge(self) -> Judgement:
        """
        Judge it, as the gate does.

        Raises:
            StoreError: the store cannot be read.
        """
        return look(self.url, self.plans)

    def report(self) -> bool:
        """Write the HTML report where it outlives the demo, and say where; ``False`` without the extra it needs."""
        directory = Path(tempfile.mkdtemp(prefix="shadowmesh-report-"))
        try:
            report(store=self.url, config=self.file, html=directory / "report.html")
        except StartError:
            directory.rmdir()
            return False
        return True
