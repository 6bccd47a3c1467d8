"""What one request holds, whichever signal it is of (pure)."""

from __future__ import annotations

from typing import NamedTuple

from shadowmesh.processor.decode import Counters, SpanDecoder, Spans, decode_counters
from shadowmesh.processor.decode_content import decode_contents
from shadowmesh.processor.intake import Signal
from shadowmesh.store.records import Content


class Decoded(NamedTuple):
    """Legs, the interceptors' counters, captured text."""

    spans: Spans
    counters: Counters
    contents: list[Content]

    @property
    def ours(self) -> bool:
        """Whether anything of it is worth keeping."""
        return bool(self.spans.legs or any(self.counters) or self.contents)


NOTHING = Decoded(Spans([], 0, 0, "", []), Counters([], []), [])


def decode_request(signal: Signal, request: bytes, spans: SpanDecoder) -> Decoded:
    """
    Return what is in a request; ``spans`` reads its legs.

    Raises:
        DecodeError: the bytes are no request of this signal.
    """
    if signal is Signal.TRACES:
        return NOTHING._replace(spans=spans.decode(request))
    if signal is Signal.METRICS:
        return NOTHING._replace(counters=decode_counters(request))
    return NOTHING._replace(contents=decode_contents(request))
