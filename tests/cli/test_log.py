"""What commands that run for long say on standard error."""

from __future__ import annotations

import logging
import re

import pytest

from shadowmesh.cli.log import logged

_LOG = logging.getLogger("shadowmesh")


def test_what_is_no_warning_is_said_too_and_after_the_block_all_is_as_before(
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = (_LOG.level, list(_LOG.handlers))
    with logged():
        _LOG.info("summaries/candidate: GO, was NOT_YET")
    said = capsys.readouterr().err
    assert re.fullmatch(r"[\d-]+ [\d:,]+ INFO shadowmesh\[\d+\]: summaries/candidate: GO, was NOT_YET\n", said)
    assert (_LOG.level, _LOG.handlers) == before


def test_a_name_from_the_wire_makes_no_line_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    with logged():
        _LOG.warning("%s: alarm", "x\n2026-01-01 00:00:00,000 INFO shadowmesh[1]: all is well\x1b[2J")
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "\x1b" not in said


def test_a_name_of_a_megabyte_does_not_fill_the_log(capsys: pytest.CaptureFixture[str]) -> None:
    with logged():
        _LOG.warning("%s: alarm", "x" * 1_000_000)
    assert len(capsys.readouterr().err) < 3000


def test_what_went_wrong_is_said_with_where(capsys: pytest.CaptureFixture[str]) -> None:
    with logged():
        try:
            raise ValueError("odd")
        except ValueError:
            _LOG.exception("it failed")
    assert capsys.readouterr().err.splitlines()[-1] == "ValueError: odd"
