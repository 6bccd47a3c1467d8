"""Where commands that run for long say what happens meanwhile: lines on standard error."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from shadowmesh.report.wire_text import one_line

_FORMAT = "%(asctime)s %(levelname)s shadowmesh[%(process)d]: %(message)s"
_LONGEST = 2000


@contextmanager
def logged() -> Iterator[None]:
    """
    Log to standard error within the block, each line with its time.

    Python by itself leaves out what is no warning, such as that a candidate may go live now.
    """
    logger = logging.getLogger("shadowmesh")
    handler = logging.StreamHandler()
    handler.setFormatter(_OneLine(_FORMAT))
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.setLevel(before)
        logger.removeHandler(handler)


class _OneLine(logging.Formatter):
    """Names of experiments and models come from the wire, and none may make a line of its own."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # the standard library's name
        """Return the line of a record; a traceback, if there is one, comes after it."""
        record.message = one_line(record.message, _LONGEST)
        return super().formatMessage(record)
