"""The gate's answer is that of the evidence, whichever database holds it."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.evidence import configured, of, pairs, plan_of, stored

from shadowmesh.cli.main import main


@pytest.mark.parametrize(("slower", "code"), [(1.0, 0), (2.5, 1)])
def test_the_gate_reads_both_databases(url: str, tmp_path: Path, slower: float, code: int) -> None:
    file = configured(tmp_path)
    stored(url, pairs(1500, slower=slower, **of(plan_of(file))))
    assert main(("gate", "--store", url, "--config", str(file))) == code
    assert main(("gate", "--store", url, "--config", str(file), "--since", "2023-11-14T22:28:20Z")) in (code, 2)
