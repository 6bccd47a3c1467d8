"""What it costs to read the fields of a unary pair, which happens off the live path: CPU time, in a loop."""

from __future__ import annotations

import time

import numpy as np
from bench import payload
from bench.figures import put
from bench.plan import Settings
from bench.proxy_plan import EXTRACTION
from bench.series import middle

from shadowmesh.catalog.builtin import method_map
from shadowmesh.protocols.messages import Answer, Requests
from shadowmesh.protocols.reading import read_fields, read_output, read_request

_LEGS = 2
_PAIRS_AT_ONCE = 50
_TIMES = 200
_QUICKEST = 20


def extraction(settings: Settings) -> dict[str, object]:
    """
    Return the row: µs per pair for its request, and for the fields and the output of both answers.

    It is the middle of the quickest tenth of many short times: the others were disturbed.

    Raises:
        RuntimeError: the fields were not found.
    """
    found = method_map(payload.UNARY.full_name)
    requests, answers = [payload.request()], [payload.reply()]
    if read_fields(read_request(Requests(found, requests)), Answer(found, answers)).output_tokens is None:
        raise RuntimeError("the fields of the reference API cannot be read")
    figures = []
    for _ in range(_TIMES):
        began = time.thread_time_ns()
        for _ in range(_PAIRS_AT_ONCE):
            asked = read_request(Requests(found, requests))
            for _ in range(_LEGS):
                answer = Answer(found, answers)
                read_fields(asked, answer)
                read_output(answer)
        figures.append((time.thread_time_ns() - began) / _PAIRS_AT_ONCE / 1e3)
    row: dict[str, object] = {"mode": EXTRACTION, "shape": "unary", "pairs": _PAIRS_AT_ONCE * _TIMES}
    put(row, "cpu_us_per_pair", middle(sorted(figures)[:_QUICKEST], np.random.default_rng(settings.seed)))
    return row
