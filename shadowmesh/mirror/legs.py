"""A recorded call → the legs of each of its exchanges."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from shadowmesh.mirror.call_record import CallRecord
from shadowmesh.mirror.digests import digest_of
from shadowmesh.mirror.observation import Observation
from shadowmesh.mirror.prompt import prompt_bucket
from shadowmesh.mirror.seen import Seen
from shadowmesh.mirror.server_address import host_and_port
from shadowmesh.mirror.session import bucket_of
from shadowmesh.mirror.shares import Shares, Stray, exchange_pair_id, share_of, shares_of, split_call
from shadowmesh.model import Leg, Metadata
from shadowmesh.names import Decision, Role
from shadowmesh.policy.experiment import Content, TargetSettings
from shadowmesh.policy.headers import AllowList
from shadowmesh.policy.plan import Admission
from shadowmesh.protocols.exchanges import Slice
from shadowmesh.protocols.messages import Answer, Requests
from shadowmesh.protocols.reading import read_request

# To look up a member and its value takes up to half a microsecond, a dozen times a call.
_LIVE, _SHADOW = Role.LIVE.value, Role.SHADOW.value
_MIRRORED, _DROPPED = Decision.MIRRORED.value, Decision.DROPPED.value
_OFF = Content.OFF


class Messages(NamedTuple):
    """What one backend was sent in an exchange and what it answered; ``None`` where not all of the answer was kept."""

    requests: Requests
    answer: Answer | None


class ExchangeLegs(NamedTuple):
    """
    The live leg of one exchange and its shadow legs.

    ``messages`` are those of all of them, the live leg's first, where the experiment captures content; else there are
    none.
    """

    live: Leg
    shadows: tuple[Leg, ...]
    messages: tuple[Messages, ...] = ()


def _unheard(_target: str, _count: int) -> None:
    """Where nobody counts them."""


def assemble(
    record: CallRecord, *, new_span_id: Callable[[], int], digest_key: bytes, stray: Stray = _unheard
) -> list[ExchangeLegs]:
    """
    Return every exchange's legs: one live, one per sampled target, whatever became of it.

    Args:
        digest_key: key of the digests, at most 64 bytes; equal ones show equal answers, or requests, and nothing else.
        stray: hears of errors that belong to no exchange.
    """
    slices = split_call(record, record.live, stray)
    own = shares_of(record, stray)
    whole = Requests(record.method_map, record.requests)
    session = bucket_of(record, whole, several=len(slices) > 1)
    return [
        _exchange(
            record,
            part,
            own,
            whole if part.key is None else Requests(whole.method_map, [whole.data[at] for at in part.requests]),
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
    requests: Requests,
    *,
    index: int,
    several: bool,
    session: int | None,
    new_span_id: Callable[[], int],
    digest_key: bytes,
) -> ExchangeLegs:
    """Return the legs of one exchange of these ``requests``; ``own`` is what each shadow saw of the call."""
    admissions = record.begin.admissions
    common: dict[str, Any] = {
        "pair_id": f"{exchange_pair_id(record.pair_id, index):032x}",
        "exchange_index": index if several else None,
    }
    asked = read_request(requests, record.begin.metadata)
    one = Seen(record, record.live, part, asked, digest_key)
    live = one.leg(
        **common,
        role=_LIVE,
        session=session,
        prompt_bucket=prompt_bucket(record.experiment.name, requests) if record.requests_complete else None,
        # The propagated span is the first exchange's; the others of the same call get spans of their own.
        span_id=record.live.span_id if index == 0 else new_span_id(),
        decision=_decision(shed=all(reason for _, _, reason in admissions)),
        expected_targets=tuple(target for target, _, _ in admissions),
        probability=max(probability for _, probability, _ in admissions),
        deadline=record.begin.deadline,
    )
    captures = record.experiment.content is not _OFF
    answered = one.kept
    messages = [Messages(requests, one.said())] if captures else []
    shadows = []
    for admission in admissions:
        seen, theirs = share_of(record, admission.target, part, own, index=index)
        alone = record.seen_alone(admission.target, index) is not None
        sent = _rewritten(record, admission.target, theirs, seen)
        told = _told(record, admission.target, requests, sent)
        asked_there = _asked(record, admission.target, told, asked if told is requests else None)
        one = Seen(record, seen, theirs, asked_there, digest_key, target=admission.target, live_answer=answered)
        shadows.append(
            one.leg(
                **common,
                role=_SHADOW,
                span_id=seen.span_id if index == 0 or alone else new_span_id(),
                request_digest=digest_of(sent, digest_key) if sent else None,
                **_shadow_facts(record, admission, seen, finished=theirs.ended),
            )
        )
        if captures:
            messages.append(Messages(told if sent is not None else _sent(record, seen, theirs, told), one.said()))
    return ExchangeLegs(live, tuple(shadows), tuple(messages))


def _told(record: CallRecord, target: str, requests: Requests, sent: Sequence[bytes] | None) -> Requests:
    """Return what a shadow is to read, which are the very ``requests`` that came where it reads them the same way."""
    if sent is None and target not in record.translations:
        return requests
    return Requests(record.map_of(target), requests.data if sent is None else sent)


def _asked(record: CallRecord, target: str, told: Requests, live: dict[str, Any] | None) -> dict[str, Any]:
    """Return the fields of what a shadow was asked; those of the ``live`` leg, if it was told the same."""
    reads_metadata = told.method_map is not None and bool(told.method_map.metadata_keys)
    if live is not None and not reads_metadata:
        return live
    metadata: Metadata = ()
    if reads_metadata:
        allowed = AllowList(_target(record, target).metadata, never=record.experiment.never)
        metadata = allowed.filter(record.begin.metadata)
    return read_request(told, metadata)


def _sent(record: CallRecord, seen: Observation, part: Slice, requests: Requests) -> Requests:
    """Return what a shadow was sent of the ``requests`` that came, which are the very same where it was sent all."""
    if seen.sent >= len(record.requests):
        return requests
    return Requests(requests.method_map, [record.requests[at] for at in part.requests if at < seen.sent])


def _rewritten(record: CallRecord, target: str, part: Slice, seen: Observation) -> list[bytes] | None:
    """Return what a shadow was sent of its exchange where that is not what came; ``None`` where it is."""
    rewrite = record.rewrites.get(target)
    if rewrite is None:
        return None
    # Made again rather than kept, which would hold the bytes of every call twice.
    sent = len(record.requests) * seen.sent if target in record.translations else seen.sent
    return [rewrite(record.requests[at]) for at in part.requests if at < sent]


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
        "warm_up": target.name in record.warming,
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


def _target(record: CallRecord, name: str) -> TargetSettings:
    return {target.name: target for target in record.experiment.targets}[name]
