"""The messages of an exchange's legs → their text, where the experiment asks for it."""

from __future__ import annotations

from shadowmesh.mirror.call_record import CallRecord
from shadowmesh.mirror.legs import ExchangeLegs
from shadowmesh.protocols.content import read_input, read_instructions, read_output
from shadowmesh.telemetry.content import Text

_UNKNOWN = "unknown"
"""The schema of an answer asks for a finish reason; the leg says how it ended."""


def texts(record: CallRecord, exchange: ExchangeLegs) -> tuple[Text, ...]:
    """Return the text of every leg, the live one's first; none without a map, or where nothing is captured."""
    method_map, limit = record.method_map, record.experiment.content_limit
    if method_map is None:
        return ()
    found: list[Text] = []
    asked = Text()
    before: object = None
    for leg, (requests, answers) in zip((exchange.live, *exchange.shadows), exchange.messages, strict=False):
        if requests is not before:
            # Mostly all legs are sent the same.
            before = requests
            instructions = read_instructions(method_map, requests, limit)
            asked = Text(instructions, read_input(method_map, requests, limit))
        reason = next(iter(leg.fields.finish_reasons), _UNKNOWN)
        answered = read_output(method_map, answers or (), reason, limit)
        found.append(asked._replace(output=answered, lost=answers is None and leg.message_count > 0))
    return tuple(found)
