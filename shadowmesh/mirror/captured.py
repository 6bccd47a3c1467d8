"""The messages of an exchange's legs → their text, where the experiment asks for it."""

from __future__ import annotations

from collections.abc import Mapping

from shadowmesh.mirror.call_record import CallRecord
from shadowmesh.mirror.legs import ExchangeLegs
from shadowmesh.protocols.content import NOTHING, TextOf, read_input, read_instructions, read_output
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
    for leg, (requests, answer) in zip((exchange.live, *exchange.shadows), exchange.messages, strict=False):
        if requests.method_map is None:
            return ()
        text_of = tokenizers.get(record.tokenizer_of(leg.target))
        if requests is not before:
            # Mostly all legs are sent the same.
            before = requests
            asked = Text(read_instructions(requests, limit), read_input(requests, limit, text_of))
        reason = next(iter(leg.fields.finish_reasons), _UNKNOWN)
        answered = NOTHING if answer is None else read_output(answer, reason, limit, text_of)
        found.append(asked._replace(output=answered, lost=answer is None and leg.message_count > 0))
    return tuple(found)
