"""
The answer of one protocol as another one would have written it down, so that equal answers look equal.

Text is compared with text, and token ids with ids of the same tokenizer. What one side alone has been given is not
compared, and where the live answer is only in a form that the other one does not have, nothing is.
"""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.message import Message

from shadowmesh.protocols.protocol_map import MethodMap
from shadowmesh.protocols.reading import joined, read_output

_FORMS = ("text", "ids")


def output_like(
    live: tuple[MethodMap, Sequence[bytes]], other: tuple[MethodMap, Sequence[bytes]], *, same_tokenizer: bool
) -> tuple[bytes, ...] | None:
    """
    Return the other answer in the parts that ``read_output`` gives of the live one, ``None`` where it cannot be put so.

    Args:
        live: how the live answer is read, and its messages.
        other: likewise of the other one.
    """
    if read_output(*live) is None or read_output(*other) is None:
        return None
    live_map, other_map = live[0], other[0]
    forms, others = (_forms(method_map, _parsed(method_map, messages)) for method_map, messages in (live, other))
    if not forms <= others or ("ids" in forms and not same_tokenizer):
        return None
    answers = _parsed(other_map, other[1])
    texts = joined(other_map, "text", answers) if "text" in forms else {}
    parts = [texts[index] for index in sorted(texts)] or ([b""] if "text" in live_map.response else [])
    if "ids" in forms:
        found = other_map.pieces.outputs(other_map.response["ids"], answers)
        parts += [b" ".join(b"%d" % one for one in found[index]) for index in sorted(found)]
    return tuple(parts)


def _parsed(method_map: MethodMap, messages: Sequence[bytes]) -> list[Message]:
    return [message for message in map(method_map.parse_response, messages) if message is not None]


def _forms(method_map: MethodMap, answers: Sequence[Message]) -> frozenset[str]:
    """Return what an answer is in: what was said; of an empty one, what there would have been."""
    known = [name for name in _FORMS if name in method_map.response]
    said = [name for name in known if method_map.pieces.outputs(method_map.response[name], answers)]
    return frozenset(said or known[:1])
