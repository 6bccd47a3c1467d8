"""A recorded call → the legs of each of its exchanges."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from hashlib import blake2b
from itertools import pairwise
from typing import Any

from shadowmesh.mirror.call_record import CallRecord
from shadowmesh.mirror.observation import Observation
from shadowmesh.model import ChunkGaps, Fields, Leg
from shadowmesh.names import CallEnd, Decision, Role
from shadowmesh.policy.experiment import TargetSettings
from shadowmesh.policy.live_gate import Admission
from shadowmesh.protocols.exchanges import Slice, split
from shadowmesh.protocols.reading import read_fields, read_output, read_request
from shadowmesh.rpc import span_method

# gRPC's name syntax: a scheme, and an authority between two slashes and one.
_SCHEME = re.compile(r"(?:dns|ipv4|ipv6|[a-z][a-z0-9+.-]*(?=://)):(?://[^/]*/)?")

ExchangeLegs = tuple[Leg, tuple[Leg, ...]]
"""The live leg of one exchange and its shadow legs."""


def assemble(record: CallRecord, *, new_span_id: Callable[[], int], digest_key: bytes) -> list[ExchangeLegs]:
    """
    Return every exchange's legs: one live, one per sampled target, whatever became of it.

    Args:
        digest_key: key of the digests, at most 64 bytes; equal ones show equal answers, or requests, and nothing else.
    """
    slices = _split(record, record.live)
    own = {name: {part.key: part for part in _split(record, seen)} for name, seen in record.shadows.items()}
    admissions = record.begin.admissions
    exchanges = []
    for index, part in enumerate(slices):
        requests = record.requests if part.key is None else [record.requests[at] for at in part.requests]
        common: dict[str, Any] = {
            "pair_id": _pair_id(record.pair_id, index),
            "exchange_index": index if len(slices) > 1 else None,
        }
        asked = read_request(record.method_map, requests)
        live = _Seen(record, record.live, part, asked, digest_key).leg(
            **common,
            role=Role.LIVE.value,
            # The propagated span is the first exchange's; the others of the same call get spans of their own.
            span_id=record.live.span_id if index == 0 else new_span_id(),
            decision=_decision(shed=all(reason for _, _, reason in admissions)),
            expected_targets=tuple(target for target, _, _ in admissions),
            probability=max(probability for _, probability, _ in admissions),
            deadline=record.begin.deadline,
        )
        shadows = []
        for admission in admissions:
            seen = record.shadows[admission.target]
            theirs = own[admission.target].get(part.key, Slice(part.key))
            sent = _rewritten(record, admission.target, theirs)
            shadows.append(
                _Seen(
                    record, seen, theirs, asked if sent is None else read_request(record.method_map, sent), digest_key
                ).leg(
                    **common,
                    role=Role.SHADOW.value,
                    span_id=new_span_id() if index else seen.span_id,
                    request_digest=_digest(sent, digest_key) if sent else None,
                    **_shadow_facts(record, admission, seen, finished=theirs.ended),
                )
            )
        exchanges.append((live, tuple(shadows)))
    return exchanges


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
    host, port = _host_and_port(target.address)
    return {
        "target": target.name,
        "target_kind": target.kind.value,
        "target_digest": target.digest,
        "probability": admission.probability,
        "decision": _decision(shed=bool(admission.drop_reason)),
        "drop_reason": dropped or None,
        "queue_time": seen.queue_ns / 1e9 if not dropped else None,
        "deadline": target.deadline,
        "server_address": host,
        "server_port": port,
    }


def _decision(*, shed: bool) -> str:
    return Decision.DROPPED.value if shed else Decision.MIRRORED.value


class _Seen:
    """One exchange of one observation."""

    def __init__(
        self, record: CallRecord, observation: Observation, part: Slice, asked: dict[str, Any], digest_key: bytes
    ) -> None:
        self._record = record
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
        streaming = begin.arity.response_streaming
        answers = self._answers()
        finished = not self._whole and self._part.ended
        status = "OK" if finished else observation.status or None
        end = CallEnd.COMPLETED.value if finished else str(observation.end)
        return Leg(
            experiment=self._record.experiment.name,
            experiment_version=self._record.experiment.version,
            config_digest=self._record.experiment.digest,
            method=span_method(begin.method),
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
            complete=status == "OK" and end == CallEnd.COMPLETED and self._undisturbed(),
            time_to_first_chunk=max(times[0] - started, 0) / 1e9 if streaming and times else None,
            chunk_gaps=_gaps(times) if streaming else None,
            write_stall=observation.stall_ns / 1e9 if self._whole else 0.0,
            attempt=begin.caller.attempt,
            concurrency=observation.concurrency,
            output_digest=self._digest(answers),
            fields=self._fields(answers),
            **facts,
        )

    def _undisturbed(self) -> bool:
        """Whether the exchange took its course: a stream half-closed by us may have had more to ask."""
        return not self._observation.curtailed if self._whole else self._part.ended

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

    def _answers(self) -> list[bytes] | None:
        """Return the answer's messages, ``None`` where not all were kept."""
        observation = self._observation
        if not observation.captured or observation.end == CallEnd.SHED:
            return None
        answers = observation.responses
        return answers if self._whole else [answers[at] for at in self._part.responses]

    def _fields(self, answers: list[bytes] | None) -> Fields:
        return read_fields(self._record.method_map, self._asked, answers or ())

    def _digest(self, answers: list[bytes] | None) -> str | None:
        if not self._record.experiment.output_digest or answers is None or not self._record.requests_complete:
            return None
        output = read_output(self._record.method_map, answers)
        return _digest(output, self._digest_key) if output is not None else None

    def _wall(self, at_ns: int) -> int:
        return self._record.begin.wall_ns + at_ns - self._record.begin.at_ns


def _split(record: CallRecord, observation: Observation) -> list[Slice]:
    if not record.requests_complete:
        # Without every request nobody can tell which answers belong together.
        return [Slice(None, list(range(len(record.requests))), list(range(len(observation.responses))))]
    return split(record.method_map, record.requests, observation.responses)


def _target(record: CallRecord, name: str) -> TargetSettings:
    return next(target for target in record.experiment.targets if target.name == name)


def _pair_id(pair_id: int, index: int) -> str:
    if index == 0:
        return f"{pair_id:032x}"
    return blake2b(pair_id.to_bytes(16, "big") + index.to_bytes(8, "big"), digest_size=16).hexdigest()


def _at(times: Sequence[int], position: int, otherwise: int) -> int:
    return times[position] if position < len(times) else otherwise


def _gaps(times: Sequence[int]) -> ChunkGaps | None:
    gaps = sorted(after - before for before, after in pairwise(times))
    if not gaps:
        return None
    return ChunkGaps(
        p50=gaps[(len(gaps) - 1) // 2] / 1e9, p95=gaps[int((len(gaps) - 1) * 0.95)] / 1e9, max=gaps[-1] / 1e9
    )


@lru_cache(maxsize=256)
def _host_and_port(address: str) -> tuple[str | None, int | None]:
    """The target as configured (rpc conventions: never the connection's peer), split where it has a port."""
    host, colon, port = _SCHEME.sub("", address, count=1).rpartition(":")
    if colon and port.isdecimal() and not host.endswith(":") and not address.startswith("unix"):
        return host.strip("[]") or None, int(port)
    return address, None
