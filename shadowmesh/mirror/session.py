"""To what a call belongs: one of 256 buckets. Who that is stays with the live side, and in the request."""

from __future__ import annotations

from functools import lru_cache

from shadowmesh.mirror.call_record import CallRecord
from shadowmesh.mirror.choice import leading
from shadowmesh.model import SESSION_BUCKETS
from shadowmesh.policy.sampling import SamplingKey, session_bucket
from shadowmesh.protocols.messages import Requests


def bucket_of(record: CallRecord, requests: Requests, *, several: bool) -> int | None:
    """
    Return the bucket of a call, ``None`` where nobody knows to what it belongs.

    The live side has said it where metadata has the sampling key; here it is read where the request has it. A call of
    ``several`` exchanges without one is what they have in common.
    """
    bucket = record.begin.session
    if bucket is None:
        bucket = _in_request(record, requests)
    return record.pair_id % SESSION_BUCKETS if bucket is None and several else bucket


def _in_request(record: CallRecord, requests: Requests) -> int | None:
    by, method_map = record.experiment.sampling.by, record.method_map
    if not isinstance(by, SamplingKey) or by.field is None or method_map is None or not requests.data:
        return None
    path = _path(method_map, by.field)
    message = None if path is None else requests.at(0)
    if path is None or message is None:
        return None
    return session_bucket(record.experiment.name, path.first(message))


_path = lru_cache(maxsize=256)(leading)
