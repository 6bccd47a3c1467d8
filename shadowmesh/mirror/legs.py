"""A recorded call → the legs of each of its exchanges."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import blake2b
from itertools import pairwise

from shadowmesh.mirror.call_record import CallRecord
from shadowmesh.mirror.observation import Observation
from shadowmesh.model import ChunkGaps, Leg
from shadowmesh.names import CallEnd, Decision, Role
from shadowmesh.policy.experiment import TargetSettings
from shadowmesh.policy.live_gate import Admission
from shadowmesh.protocols.exchanges import Slice, split
from shadowmesh.protocols.reading import Reading, read
from shadowmesh.rpc import span_method

# gRPC's name syntax: a scheme, and an authority between two slashes and one.
_SCHEME = re.compile(r"(?:dns|ipv4|ipv6|[a-z][a-z0-9+.-]*(?=://)):(?://[^/]*/)?")

ExchangeLegs = tuple[Leg, tuple[Leg, ...]]
"""The live leg of one exchange and its shadow legs."""


def assemble(record: CallRecord, *, new_span_id: Callable[[], int], digest_key: bytes) -> list[ExchangeLegs]:
    """
    Return every exchange's legs: one live, one per sampled target, whatever became of it.

    Args:
        digest_key: key of the output digests, at most 64 bytes; equal digests show equal answers and nothing else.
    """
    slices = _split(record, record.live)
    own = {name: {part.key: part for part in _split(record, seen)} for name, seen in record.shadows.items()}
    exchanges = []
    for index, part in enumerate(slices):
        place = index if len(slices) > 1 else None
        live = _Seen(record, record.live, part, digest_key).leg(
            pair_id=_pair_id(record.begin.pair_id, index),
            role=Role.LIVE,
            # The propagated span is the first exchange's; the others of the same call get spans of their own.
            span_id=record.live.span_id if index == 0 else new_span_id(),
            exchange_index=place,
        )
        live = replace(
            live,
            decision=Decision.DROPPED if all(a.drop_reason for a in record.begin.admissions) else Decision.MIRRORED,
            expected_targets=tuple(admission.target for admission in record.begin.admissions),
            probability=max(admission.probability for admission in record.begin.admissions),
            deadline=record.begin.deadline,
        )
        shadows = tuple(
            _shadow_leg(
                record,
                admission,
                own[admission.target].get(part.key, Slice(part.key)),
                live,
                new_span_id=new_span_id,
                digest_key=digest_key,
            )
            for admission in record.begin.admissions
        )
        exchanges.append((live, shadows))
    return exchanges


def _shadow_leg(
    record: CallRecord,
    admission: Admission,
    part: Slice,
    live: Leg,
    *,
    new_span_id: Callable[[], int],
    digest_key: bytes,
) -> Leg:
    observation = record.shadows[admission.target]
    target = _target(record, admission.target)
    leg = _Seen(record, observation, part, digest_key).leg(
        pair_id=live.pair_id,
        role=Role.SHADOW,
        span_id=new_span_id() if live.exchange_index else observation.span_id,
        exchange_index=live.exchange_index,
    )
    host, port = _host_and_port(target.address)
    return replace(
        leg,
        target=target.name,
        target_kind=str(target.kind),
        target_digest=target.digest,
        probability=admission.probability,
        decision=Decision.DROPPED if admission.drop_reason else Decision.MIRRORED,
        drop_reason=admission.drop_reason or None,
        queue_time=observation.queue_ns / 1e9 if not admission.drop_reason else None,
        deadline=target.deadline,
        server_address=host,
        server_port=port,
    )


class _Seen:
    """One exchange of one observation."""

    def __init__(self, record: CallRecord, observation: Observation, part: Slice, digest_key: bytes) -> None:
        self._record = record
        self._observation = observation
        self._part = part
        self._whole = part.key is None
        self._digest_key = digest_key

    def leg(self, *, pair_id: str, role: Role, span_id: int, exchange_index: int | None) -> Leg:
        begin, observation = self._record.begin, self._observation
        started, ended = self._bounds()
        times = self._response_times()
        streaming = begin.arity.response_streaming
        reading = self._reading()
        finished = not self._whole and self._part.ended
        status = "OK" if finished else observation.status or None
        end = CallEnd.COMPLETED if finished else observation.end
        return Leg(
            experiment=self._record.experiment.name,
            experiment_version=self._record.experiment.version,
            config_digest=self._record.experiment.digest,
            pair_id=pair_id,
            role=role,
            method=span_method(begin.method),
            trace_id=begin.trace.trace_id,
            span_id=span_id,
            parent_span_id=begin.trace.inbound_span_id,
            started_ns=self._wall(started),
            # A backend may answer a request before it was sent to it; no leg ends before it starts.
            ended_ns=self._wall(max(started, ended)),
            leg_count=1 + len(begin.admissions),
            status=status,
            end=str(end),
            streaming=streaming,
            message_count=observation.response_count if self._whole else len(self._part.responses),
            complete=status == "OK" and end == CallEnd.COMPLETED and (self._whole or self._part.ended),
            time_to_first_chunk=max(times[0] - started, 0) / 1e9 if streaming and times else None,
            chunk_gaps=_gaps(times) if streaming else None,
            write_stall=observation.stall_ns / 1e9 if self._whole else 0.0,
            attempt=begin.attempt,
            exchange_index=exchange_index,
            concurrency=observation.concurrency,
            output_digest=self._digest(reading),
            fields=reading.fields,
        )

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

    def _reading(self) -> Reading:
        record, observation = self._record, self._observation
        requests = record.requests if self._whole else [record.requests[at] for at in self._part.requests]
        if not observation.captured or observation.end == CallEnd.SHED:
            return read(record.method_map, requests, ())._replace(output=None)
        answers = observation.responses
        reading = read(
            record.method_map, requests, answers if self._whole else [answers[at] for at in self._part.responses]
        )
        return reading if self._record.requests_complete else reading._replace(output=None)

    def _digest(self, reading: Reading) -> str | None:
        if not self._record.experiment.output_digest or reading.output is None:
            return None
        digest = blake2b(digest_size=16, key=self._digest_key)
        for part in reading.output:
            digest.update(len(part).to_bytes(8, "big"))
            digest.update(part)
        return digest.hexdigest()

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


def _host_and_port(address: str) -> tuple[str | None, int | None]:
    """The target as configured (rpc conventions: never the connection's peer), split where it has a port."""
    host, colon, port = _SCHEME.sub("", address, count=1).rpartition(":")
    if colon and port.isdecimal() and not host.endswith(":") and not address.startswith("unix"):
        return host.strip("[]") or None, int(port)
    return address, None
