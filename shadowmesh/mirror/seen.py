"""What was seen of one backend in one exchange → its leg."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from shadowmesh.mirror.call_record import CallRecord
from shadowmesh.mirror.digests import digest_of
from shadowmesh.mirror.observation import Observation
from shadowmesh.model import ChunkGaps, Leg
from shadowmesh.names import CallEnd
from shadowmesh.protocols.exchanges import Slice
from shadowmesh.protocols.likeness import output_like
from shadowmesh.protocols.messages import Answer
from shadowmesh.protocols.reading import failure, first_content, read_cost, read_fields, read_output
from shadowmesh.rpc import span_method

# To look up a member and its value takes up to half a microsecond.
_COMPLETED, _SHED = CallEnd.COMPLETED.value, CallEnd.SHED.value


class Seen:
    """One exchange of one observation; ``kept`` is its answer, ``None`` where not all of that was kept."""

    def __init__(
        self,
        record: CallRecord,
        observation: Observation,
        part: Slice,
        asked: dict[str, Any],
        digest_key: bytes,
        *,
        target: str = "",
        live_answer: Answer | None = None,
    ) -> None:
        """Take what was seen of the live leg; or of the shadow at ``target``, beside what the live one answered."""
        self._record = record
        self._live_answer = live_answer
        self._translation = record.translations.get(target)
        self._method, self._arity = record.call_of(target)
        self._observation = observation
        self._part = part
        self._whole = part.key is None
        self._asked = asked
        self._digest_key = digest_key
        kept, method_map = self._kept(), record.map_of(target)
        self.kept = None if kept is None else Answer(method_map, kept)
        self._answer = self.kept or Answer(method_map, ())

    def leg(self, **facts: Any) -> Leg:
        """Return the leg; ``facts`` are what the observation does not tell."""
        begin, observation = self._record.begin, self._observation
        started, ended = self._bounds()
        times = self._response_times()
        streaming = self._arity.response_streaming
        gaps = sorted(after - before for before, after in pairwise(times)) if streaming else []
        answer = self._answer
        finished = not self._whole and self._part.ended
        status = "OK" if finished else observation.status or None
        if status == "OK":
            status = failure(answer) or status
        end = _COMPLETED if finished else str(observation.end)
        return Leg(
            experiment=self._record.experiment.name,
            experiment_version=self._record.experiment.version,
            config_digest=self._record.experiment.digest,
            method=span_method(self._method),
            trace_id=self._record.trace.trace_id,
            parent_span_id=self._record.trace.inbound_span_id,
            started_ns=self._wall(started),
            # A backend may answer a request before it was sent to it; no leg ends before it starts.
            ended_ns=self._wall(max(started, ended)),
            leg_count=1 + len(begin.admissions),
            status=status,
            end=end,
            streaming=streaming,
            message_count=observation.response_count if self._whole else len(self._part.responses),
            complete=status == "OK" and end == _COMPLETED and self._undisturbed(),
            time_to_first_chunk=self._first_chunk(times, started) if streaming and times else None,
            chunk_gaps=_quantiles(gaps) if gaps else None,
            stall_count=_longer(gaps, self._record.experiment.stall_after) if streaming else None,
            write_stall=observation.stall_ns / 1e9 if self._whole else 0.0,
            attempt=begin.caller.attempt,
            concurrency=observation.concurrency,
            output_digest=self._digest(),
            fields=read_fields(self._asked, answer),
            cost=read_cost(answer),
            **facts,
        )

    def _first_chunk(self, times: Sequence[int], started: int) -> float:
        place = first_content(self._answer)
        return max(times[min(place, len(times) - 1)] - started, 0) / 1e9

    def _undisturbed(self) -> bool:
        """Whether the exchange took its course: a stream half-closed by us may have had more to ask."""
        # Of a translated call all that is asked was asked at once.
        curtailed = self._observation.curtailed and self._translation is None
        return not curtailed if self._whole else self._part.ended

    def _bounds(self) -> tuple[int, int]:
        observation = self._observation
        if self._whole or not self._part.requests:
            return observation.started_ns, observation.ended_ns
        sent, first = observation.request_times, self._part.requests[0]
        started = sent[first] if first < len(sent) else observation.ended_ns
        if self._part.ended:
            return started, _at(observation.response_times, self._part.responses[-1], observation.ended_ns)
        return started, observation.ended_ns

    def _response_times(self) -> Sequence[int]:
        times = self._observation.response_times
        return times if self._whole else [times[at] for at in self._part.responses if at < len(times)]

    def _kept(self) -> Sequence[bytes] | None:
        observation = self._observation
        if not observation.captured or observation.end == _SHED:
            return None
        answers = observation.responses
        return answers if self._whole else [answers[at] for at in self._part.responses]

    def said(self) -> Answer | None:
        """Return the answer as far as it went, if its messages belong together; ``None`` where they were let go."""
        record = self._record
        mixed = not record.requests_complete and record.method_map is not None and record.method_map.exchanges
        return None if mixed else self.kept

    def _digest(self) -> str | None:
        if not self._record.experiment.output_digest or self.kept is None or not self._record.requests_complete:
            return None
        output = self._output(self.kept)
        return digest_of(output, self._digest_key) if output is not None else None

    def _output(self, answer: Answer) -> tuple[bytes, ...] | None:
        translation = self._translation
        if translation is None:
            return read_output(answer)
        if self._live_answer is None:
            return None
        return output_like(self._live_answer, answer, same_tokenizer=translation.same_tokenizer)

    def _wall(self, at_ns: int) -> int:
        return self._record.begin.wall_ns + at_ns - self._record.begin.at_ns


def _at(times: Sequence[int], position: int, otherwise: int) -> int:
    return times[position] if position < len(times) else otherwise


def _quantiles(gaps: Sequence[int]) -> ChunkGaps:
    """Return quantiles of sorted gaps, of which there is one at least."""
    return ChunkGaps(
        p50=gaps[(len(gaps) - 1) // 2] / 1e9, p95=gaps[int((len(gaps) - 1) * 0.95)] / 1e9, max=gaps[-1] / 1e9
    )


def _longer(gaps: Sequence[int], seconds: float) -> int:
    """Return how many of sorted gaps are longer than that."""
    return len(gaps) - bisect_right(gaps, seconds * 1e9)
