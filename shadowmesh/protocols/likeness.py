"""
The answer of one protocol as another one would have written it down, so that equal answers look equal.

Text is compared with text, and token ids with ids of the same tokenizer. What one side alone has been given is not
compared, and where the live answer is only in a form that the other one does not have, nothing is.
"""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf.message import Message

from shadowmesh.protocols.messages import Answer
from shadowmesh.protocols.protocol_map import MethodMap
from shadowmesh.protocols.reading import is_read, joined

_FORMS = ("text", "ids")


def output_like(live: Answer, other: Answer, *, same_tokenizer: bool) -> tuple[bytes, ...] | None:
    """Return the other answer in the parts that the live one is read in, ``None`` where it cannot be put so."""
    live_map, other_map = live.method_map, other.method_map
    if live_map is None or other_map is None or not _is_known(live_map, live) or not _is_known(other_map, other):
        return None
    forms, others = _forms(live_map, live.some), _forms(other_map, other.some)
    if not forms <= others or ("ids" in forms and not same_tokenizer):
        return None
    texts = joined(other_map, "text", other.some) if "text" in forms else {}
    parts = [texts[index] for index in sorted(texts)] or ([b""] if "text" in live_map.response else [])
    if "ids" in forms:
        found = other_map.pieces.outputs(other_map.response["ids"], other.some)
        parts += [b" ".join(b"%d" % one for one in found[index]) for index in sorted(found)]
    return tuple(parts)


def _is_known(method_map: MethodMap, answer: Answer) -> bool:
    return answer.whole and is_read(method_map, answer.some)


def _forms(method_map: MethodMap, answers: Sequence[Message]) -> frozenset[str]:
    """Return what an answer is in: what was said; of an empty one, what there would have been."""
    known = [name for name in _FORMS if name in method_map.response]
    said = [name for name in known if method_map.pieces.outputs(method_map.response[name], answers)]
    return frozenset(said or known[:1])
