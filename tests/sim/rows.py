"""All rows of the table, in its order."""

from __future__ import annotations

from sim import bias_rows, burst_rows, judge_rows, means_rows, quantile_rows, session_rows, whole_rows
from sim.plan import Simulation

ROWS: tuple[Simulation, ...] = (
    *means_rows.ROWS,
    *quantile_rows.ROWS,
    *burst_rows.ROWS,
    *session_rows.ROWS,
    *whole_rows.ROWS,
    *judge_rows.ROWS,
    *bias_rows.ROWS,
)
