"""
What somebody is told of who does not ask: the shape ``shadowmesh.alert/1``.

One JSON object, of ``type``:

- ``verdict.changed``: the answer for a candidate was ``before`` and is ``answer``, for a ``reason``; after ``pairs``
  compared pairs.
- ``alarm.raised``: the candidate has become worse than its criteria allow, in ``finding`` (``errors``, or the name of a
  latency criterion); ``last_dispatch`` is of the last pair that was looked at.

``id`` is the alert's own: whoever gets one twice knows it by that. ``at`` is when it was made; times of day are
RFC 3339 in UTC. Keys may be added within a version; a key that goes or changes its meaning makes version 2. Nothing in
it is content: names from the configuration, counts and what follows from them.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import Any

from shadowmesh.verdict.records import Answer, EvidenceKey, Verdict
from shadowmesh.verdict.watch import Alarm

SCHEMA = "shadowmesh.alert/1"
_EPOCH = datetime.fromtimestamp(0, UTC)


def answer_changed(verdict: Verdict, before: Answer, *, at_ns: int) -> dict[str, Any]:
    """Return the document that says that an answer has changed."""
    said = {
        "before": str(before),
        "answer": str(verdict.answer),
        "reason": verdict.reason,
        "pairs": verdict.comparable,
    }
    return _document("verdict.changed", verdict.key, at_ns, said)


def alarm_raised(key: EvidenceKey, alarm: Alarm, *, at_ns: int, by: str) -> dict[str, Any]:
    """
    Return the document that says that a detector has raised an alarm.

    Args:
        by: whose detector it was; another one's alarm is another alert.
    """
    said = {"finding": alarm.finding, "last_dispatch": _moment(alarm.at_ns)}
    return _document("alarm.raised", key, at_ns, said, by)


def _document(type_: str, key: EvidenceKey, at_ns: int, said: dict[str, Any], *more: str) -> dict[str, Any]:
    document = {
        "type": type_,
        "at": _moment(at_ns),
        "experiment": key.experiment,
        "target": key.target,
        "target_digest": key.target_digest,
        "config_digest": key.config_digest,
        **said,
    }
    text = json.dumps([document, *more], sort_keys=True)
    return {"schema": SCHEMA, "id": hashlib.sha256(text.encode()).hexdigest()[:32], **document}


def _moment(nanoseconds: int) -> str:
    return (_EPOCH + timedelta(microseconds=nanoseconds // 1000)).isoformat().replace("+00:00", "Z")
