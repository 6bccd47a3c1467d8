"""What was seen of one leg while it ran, live or shadow, before anything is made of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

MAX_TIMES = 16_384
"""Response times kept per leg; a longer stream keeps its first, and its count stays exact."""


@dataclass(slots=True)
class Observation:
    """
    One leg of one call. Times are nanoseconds of the call's monotonic clock; ``status`` is a gRPC status name,
    empty while (or when) nobody knows it; ``end`` is a ``names.CallEnd``; ``span_id`` is what was propagated.

    ``drop_reason`` says why the engine shed a shadow that the live gate had admitted, ``drop_detail`` more of it;
    ``curtailed`` that its request stream was half-closed where the live one was not; ``sent`` how many request messages
    a shadow was sent; ``pages`` the credit that its answer holds.
    """

    span_id: int = 0
    started_ns: int = 0
    ended_ns: int = 0
    status: str = ""
    end: str = ""
    request_times: list[int] = field(default_factory=list)
    response_times: list[int] = field(default_factory=list)
    response_count: int = 0
    last_response_ns: int = 0
    responses: list[bytes] = field(default_factory=list)
    captured: bool = True
    stall_ns: int = 0
    queue_ns: int = 0
    concurrency: float | None = None
    drop_reason: str = ""
    drop_detail: str = ""
    curtailed: bool = False
    sent: int = 0
    pages: int = 0

    def add_responses(self, times: Sequence[int], messages: Sequence[bytes]) -> None:
        """Count messages; a batch without bytes makes the whole answer unknown."""
        if not times:
            return
        self.response_count += len(times)
        self.last_response_ns = times[-1]
        self.response_times.extend(times[: MAX_TIMES - len(self.response_times)])
        if self.captured and len(messages) == len(times):
            self.responses.extend(messages)
        else:
            self.captured = False
            self.responses.clear()


def unsent(span_id: int, at_ns: int, *, end: str, drop_reason: str = "", drop_detail: str = "") -> Observation:
    """Return what is seen of a shadow that never reached a channel: its leg says so."""
    return Observation(
        span_id=span_id,
        started_ns=at_ns,
        ended_ns=at_ns,
        end=end,
        captured=False,
        drop_reason=drop_reason,
        drop_detail=drop_detail,
    )
