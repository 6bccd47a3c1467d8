"""A request as the payload of a record: what the journal keeps of it, and what that says when it is read again."""

from __future__ import annotations

from struct import Struct

from shadowmesh.errors import DecodeError
from shadowmesh.processor.decoded import NOTHING, Decoded
from shadowmesh.processor.intake import Signal
from shadowmesh.processor.journal_format import Kind, Record
from shadowmesh.processor.pipeline import Pipeline

_KINDS = {Signal.TRACES: Kind.TRACES, Signal.METRICS: Kind.METRICS, Signal.LOGS: Kind.LOGS}
_SIGNALS = {int(kind): signal for signal, kind in _KINDS.items()}
_COUNTS = Struct("<II")


def payload(signal: Signal, request: bytes, decoded: Decoded) -> tuple[Kind, bytes]:
    """Return what is kept of a request that was decoded."""
    if decoded.ours:
        return _KINDS[signal], request
    # Somebody else's spans are most of what a Collector has; of them only the number is kept.
    return Kind.COUNTS, _COUNTS.pack(decoded.spans.ignored, decoded.spans.rejected)


def signal_of(record: Record) -> Signal | None:
    """Return what the request of a record carried; ``None`` where no request was kept."""
    return _SIGNALS.get(record.kind)


def decoded_again(record: Record, pipeline: Pipeline) -> Decoded:
    """
    Return what a record holds.

    Raises:
        DecodeError: it cannot be read.
    """
    if record.kind == Kind.COUNTS:
        if len(record.payload) != _COUNTS.size:
            raise DecodeError("counts of another form")
        ignored, rejected = _COUNTS.unpack(record.payload)
        return NOTHING._replace(spans=NOTHING.spans._replace(ignored=ignored, rejected=rejected))
    signal = signal_of(record)
    if signal is None:
        raise DecodeError("a record of a later version")
    return pipeline.decode(signal, record.payload)
