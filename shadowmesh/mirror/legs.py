"""A recorded call → the legs of each of its exchanges."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from hashlib import blake2b
from itertools import pairwise
from typing import Any, NamedTuple

from shadowmesh.mirror.call_record import CallRecord
from shadowmesh.mirror.observation import Observation
from shadowmesh.mirror.server_address import host_and_port
from shadowmesh.mirror.session import bucket_of
from shadowmesh.mirror.shares import Shares, share_of, shares_of, split_call
from shadowmesh.model import ChunkGaps, Fields, Leg, Metadata
from shadowmesh.names import CallEnd, Decision, Role
from shadowmesh.policy.experiment import Content, TargetSettings
from shadowmesh.policy.headers import AllowList
from shadowmesh.policy.live_gate import Admission
from shadowmesh.protocols.exchanges import Slice
from shadowmesh.protocols.likeness import output_like
from shadowmesh.protocols.reading import failure, first_content, read_cost, read_fields, read_output, read_request
from shadowmesh.rpc import span_method

# To look up a member and its value takes up to half a microsecond, a dozen times a call.
_LIVE, _SHADOW = Role.LIVE.value, Role.SHADOW.value
_MIRRORED, _DROPPED = Decision.MIRRORED.value, Decision.DROPPED.value
_COMPLETED, _SHED = CallEnd.COMPLETED.value, CallEnd.SHED.value
_OFF = Content.OFF


class Messages(NamedTuple):
    """What one backend was sent in an exchange and what it answered; ``None`` where not all of the answer was kept."""

    requests: Sequence[bytes]
    answers: Sequence[bytes] | None


class ExchangeLegs(NamedTuple):
    """
    The live leg of one exchange and its shadow legs.

    ``messages`` are those of all of them, the live leg's first, where the experiment captures content; else there are
    none.
    """

    live: Leg
    shadows: tuple[Leg, ...]
    messages: tuple[Messages, ...] = ()


def assemble(record: CallRecord, *, new_span_id: Callable[[], int], digest_key: bytes) -> list[ExchangeLegs]:
    """
    Return every exchange's legs: one live, one per sampled target, whatever became of it.

    Args:
        digest_key: key of the digests, at most 64 bytes; equal ones show equal answers, or requests, and nothing else.
    """
    slices = split_call(record, record.live)
    own = shares_of(record)
    session = bucket_of(record, several=len(slices) > 1)
    return [
        _exchange(
            record,
            part,
            own,
            index=index,
            several=len(slices) > 1,
            session=session,
            new_span_id=new_span_id,
            digest_key=digest_key,
        )
        for index, part in enumerate(slices)
    ]


def _exchange(
    record: CallRecord,
    part: Slice,
    own: Shares,
    *,
    index: int,
    several: bool,
    session: int | None,
    new_span_id: Callable[[], int],
    digest_key: bytes,
) -> ExchangeLegs:
    """Return the legs of one exchange; ``own`` is what each shadow saw of the call, by exchange."""
    admissions = record.begin.admissions
    requests = record.requests if part.key is None else [record.requests[at] for at in part.requests]
    common: dict[str, Any] = {
        "pair_id": _pair_id(record.pair_id, index),
        "exchange_index": index if several else None,
    }
    asked = read_request(record.method_map, requests, record.begin.metadata)
    one = _Seen(record, record.live, part, asked, digest_key)
    live = one.leg(
        **common,
        role=_LIVE,
        session=session,
        # The propagated span is the first exchange's; the others of the same call get spans of their own.
        span_id=record.live.span_id if index == 0 else new_span_id(),
        decision=_decision(shed=all(reason for _, _, reason in admissions)),
        expected_targets=tuple(target for target, _, _ in admissions),
        probability=max(probability for _, probability, _ in admissions),
        deadline=record.begin.deadline,
    )
    captures = record.experiment.content is not _OFF
    answered = one.answers()
    messages = [Messages(requests, one.said())] if captures else []
    shadows = []
    for admission in admissions:
        seen, theirs = share_of(record, admission.target, part, own, first=index == 0)
        sent = _rewritten(record, admission.target, theirs)
        asked_there = _asked(record, admission.target, requests, sent, asked)
        one = _Seen(record, seen, theirs, asked_there, digest_key, target=admission.target, live_answers=answered)
        shadows.append(
            one.leg(
                **common,
                role=_SHADOW,
                span_id=new_span_id() if index else seen.span_id,
                request_digest=_digest(sent, digest_key) if sent else None,
                **_shadow_facts(record, admission, seen, finished=theirs.ended),
            )
        )
        if captures:
            messages.append(Messages(_sent(record, seen, theirs, requests) if sent is None else sent, one.said()))
    return ExchangeLegs(live, tuple(shadows), tuple(messages))


def _asked(
    record: CallRecord, target: str, requests: Sequence[bytes], sent: Sequence[bytes] | None, live: dict[str, Any]
) -> dict[str, Any]:
    """Return the fields of what a shadow was asked, which are the live request's where it was sent the same."""
    method_map = record.map_of(target)
    reads_metadata = method_map is not None and bool(method_map.metadata_keys)
    if target not in record.translations and sent is None and not reads_metadata:
        return live
    metadata: Metadata = ()
    if reads_metadata:
        allowed = AllowList(_target(record, target).metadata, never=record.experiment.never)
        metadata = allowed.filter(record.begin.metadata)
    return read_request(method_map, requests if sent is None else sent, metadata)


def _sent(record: CallRecord, seen: Observation, part: Slice, requests: Sequence[bytes]) -> Sequence[bytes]:
    """Return what a shadow was sent of the ``requests`` that came, which are the very same where it was sent all."""
    if seen.sent >= len(record.requests):
        return requests
    return [record.requests[at] for at in part.requests if at < seen.sent]


def _rewritten(record: CallRecord, target: str, part: Slice) -> list[bytes] | None:
    """Return what a shadow was sent of its exchange where that is not what came; ``None`` where it is."""
    rewrite = record.rewrites.get(target)
    if rewrite is None:
        return None
    # Made again rather than kept, which would hold the bytes of every call twice.
    return [rewrite(record.requests[at]) for at in part.requests if at < record.shadows[target].sent]


def _digest(parts: Sequence[bytes], key: bytes) -> str:
    digest = blake2b(digest_size=16, key=key)
    for part in parts:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()


def _shadow_facts(record: CallRecord, admission: Admission, seen: Observation, *, finished: bool) -> dict[str, Any]:
    """Return what a leg says of its target, and of what was decided about it."""
    target = _target(record, admission.target)
    # What the engine sheds was admitted, and counted as mirrored: the leg keeps that word, so that legs and funnel
    # agree on how many there were of each, and gives the reason beside it.
    # A stream that was cut at a message may have ended exchanges before it.
    dropped = admission.drop_reason or ("" if finished else seen.drop_reason)
    host, port = host_and_port(target.address)
    return {
        "target": target.name,
        "target_kind": target.kind.value,
        "target_digest": target.digest,
        "probability": admission.probability,
        "decision": _decision(shed=bool(admission.drop_reason)),
        "drop_reason": dropped or None,
        "drop_detail": seen.drop_detail or None if dropped else None,
        "queue_time": seen.queue_ns / 1e9 if not dropped else None,
        "deadline": target.deadline,
        "server_address": host,
        "server_port": port,
    }


def _decision(*, shed: bool) -> str:
    return _DROPPED if shed else _MIRRORED


class _Seen:
    """One exchange of one observation."""

    def __init__(
        self,
        record: CallRecord,
        observation: Observation,
        part: Slice,
        asked: dict[str, Any],
        digest_key: bytes,
        *,
        target: str = "",
        live_answers: list[bytes] | None = None,
    ) -> None:
        """Take what was seen of the live leg; or of the shadow at ``target``, beside what the live one answered."""
        self._record = record
        self._live_answers = live_answers
        self._translation = record.translations.get(target)
        self._map = record.map_of(target)
        self._method, self._arity = record.call_of(target)
        self._observation = observation
        self._part = part
        self._whole = part.key is None
        self._asked = asked
        self._digest_key = digest_key

    def leg(self, **facts: Any) -> Leg:
        """Return the leg; ``facts`` are what the observation does not tell."""
        begin, observation = self._record.begin, self._observation
        started, ended = self._bounds()
        times = self._response_times()
        streaming = self._arity.response_streaming
        gaps = sorted(after - before for before, after in pairwise(times)) if streaming else []
        answers = self.answers()
        finished = not self._whole and self._part.ended
        status = "OK" if finished else observation.status or None
        if status == "OK":
            status = failure(self._map, answers or ()) or status
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
            time_to_first_chunk=self._first_chunk(times, answers, started) if streaming and times else None,
            chunk_gaps=_quantiles(gaps) if gaps else None,
            stall_count=_longer(gaps, self._record.experiment.stall_after) if streaming else None,
            write_stall=observation.stall_ns / 1e9 if self._whole else 0.0,
            attempt=begin.caller.attempt,
            concurrency=observation.concurrency,
            output_digest=self._digest(answers),
            fields=self._fields(answers),
            cost=read_cost(self._map, answers or ()),
            **facts,
        )

    def _first_chunk(self, times: Sequence[int], answers: list[bytes] | None, started: int) -> float:
        place = first_content(self._map, answers or ())
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

    def answers(self) -> list[bytes] | None:
        """Return the answer's messages, ``None`` where not all were kept."""
        observation = self._observation
        if not observation.captured or observation.end == _SHED:
            return None
        answers = observation.responses
        return answers if self._whole else [answers[at] for at in self._part.responses]

    def said(self) -> list[bytes] | None:
        """Return the answer's messages as far as they went and belong together; ``None`` where they were let go."""
        record = self._record
        mixed = not record.requests_complete and record.method_map is not None and record.method_map.exchanges
        return None if mixed else self.answers()

    def _fields(self, answers: list[bytes] | None) -> Fields:
        return read_fields(self._map, self._asked, answers or ())

    def _digest(self, answers: list[bytes] | None) -> str | None:
        if not self._record.experiment.output_digest or answers is None or not self._record.requests_complete:
            return None
        output = self._output(answers)
        return _digest(output, self._digest_key) if output is not None else None

    def _output(self, answers: list[bytes]) -> tuple[bytes, ...] | None:
        translation = self._translation
        if translation is None:
            return read_output(self._map, answers)
        if self._live_answers is None:
            return None
        live, other = (translation.live_map, self._live_answers), (translation.method_map, answers)
        return output_like(live, other, same_tokenizer=translation.same_tokenizer)

    def _wall(self, at_ns: int) -> int:
        return self._record.begin.wall_ns + at_ns - self._record.begin.at_ns


def _target(record: CallRecord, name: str) -> TargetSettings:
    return {target.name: target for target in record.experiment.targets}[name]


def _pair_id(pair_id: int, index: int) -> str:
    if index == 0:
        return f"{pair_id:032x}"
    return blake2b(pair_id.to_bytes(16, "big") + index.to_bytes(8, "big"), digest_size=16).hexdigest()


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
