"""The messages of an exchange's legs → their text, where the experiment asks for it."""

from __future__ import annotations

from collections.abc import Mapping

from shadowmesh.mirror.call_record import CallRecord
from shadowmesh.mirror.legs import ExchangeLegs
from shadowmesh.protocols.content import TextOf, read_input, read_instructions, read_output
from shadowmesh.telemetry.content import Text

_UNKNOWN = "unknown"
"""The schema of an answer asks for a finish reason; the leg says how it ended."""


def texts(record: CallRecord, exchange: ExchangeLegs, tokenizers: Mapping[str, TextOf]) -> tuple[Text, ...]:
    """
    Return the text of every leg, the live one's first; none without a map, or where nothing is captured.

    Args:
        tokenizers: what makes text of token ids, by the names that the experiment knows them by.
    """
    limit = record.experiment.content_limit
    found: list[Text] = []
    asked = Text()
    before: object = None
    for leg, (requests, answers) in zip((exchange.live, *exchange.shadows), exchange.messages, strict=False):
        method_map = record.map_of(leg.target)
        if method_map is None:
            return ()
        text_of = tokenizers.get(record.tokenizer_of(leg.target))
        if requests is not before:
            # Mostly all legs are sent the same.
            before = requests
            instructions = read_instructions(method_map, requests, limit)
            asked = Text(instructions, read_input(method_map, requests, limit, text_of))
        reason = next(iter(leg.fields.finish_reasons), _UNKNOWN)
        answered = read_output(method_map, answers or (), reason, limit, text_of)
        found.append(asked._replace(output=answered, lost=answers is None and leg.message_count > 0))
    return tuple(found)
