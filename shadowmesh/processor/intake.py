"""What stands between the receivers and the pipeline: one request in, one answer out, however it came."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple, Protocol


class Signal(Enum):
    """What a request carries."""

    TRACES = "traces"
    METRICS = "metrics"
    LOGS = "logs"


class Accepted(NamedTuple):
    """
    What became of a request that was taken in.

    ``rejected`` of its spans, data points or log records can never be accepted, and ``message`` says why; all others
    were accepted. A message without rejected items is a warning. The sender repeats neither.
    """

    rejected: int = 0
    message: str = ""


class Intake(Protocol):
    """Takes requests in, on the event loop's thread."""

    async def take(self, signal: Signal, request: bytes) -> Accepted:
        """
        Take one request in; when this returns the sender is told that it need not keep it any longer.

        It is not cancelled when its sender leaves, only when the processor ends before it is through.

        Args:
            request: a serialised ``Export…ServiceRequest`` of the signal, whatever it came as.

        Raises:
            DecodeError: the bytes are no such request, and nothing of them was taken in. The text is sent to whoever
                sent them, so it quotes nothing.
            OverloadedError: there is no room now, and nothing of it was taken in.
            SetAsideError: it failed again and again, and is lost.
        """
        ...
