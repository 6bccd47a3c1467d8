"""
What an exchange asks for: one of 16 384 buckets, by which somebody can count how many different prompts there were.

Instructions, prompts, conversations with the calls of tools in them, and token ids count; parameters do not, and the
ids of calls and of requests, which are new each time, neither. What is no text is not read: two prompts that differ in
a picture alone have one bucket. Of more than 65 536 characters the first half of that and the last count, and how many
there are: in the carrier ``loop`` the live server waits meanwhile.
"""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b

from google.protobuf.message import Message

from shadowmesh.model import PROMPT_PLACES, PROMPT_RANKS
from shadowmesh.policy.sampling import Purpose, salt_of
from shadowmesh.protocols.conversation import Part
from shadowmesh.protocols.messages import Requests
from shadowmesh.protocols.protocol_map import MethodMap
from shadowmesh.protocols.tool_calls import ToolCall

_PLACE_BITS = (PROMPT_PLACES - 1).bit_length()
_HALF = 32_768
_Named = tuple[str, str]


def prompt_bucket(experiment: str, requests: Requests) -> int | None:
    """
    Return the bucket of what is asked; ``None`` where nobody can read a prompt.

    The same in every replica and after a restart, and another one in every experiment. It is eleven bits of a salted
    hash: whoever has a prompt in mind finds its bucket, as one in 1 536 others has it, too.
    """
    method_map = requests.method_map
    if method_map is None or not requests.data or not requests.whole:
        return None
    instructions, asked = [], []
    for message in requests.some:
        if method_map.parts.instructions is not None:
            instructions += [("instructions", text) for text in method_map.parts.instructions.find(message)]
        asked += _asked(method_map, message)
    if not asked:
        return None
    # With its length before it, so that no text can look like two.
    said = "".join([f"{name} {len(text)} {text}" for name, text in instructions + asked])
    if len(said) > 2 * _HALF:
        said = f"{len(said)} {said[:_HALF]}{said[-_HALF:]}"
    digest = blake2b(said.encode(errors="replace"), digest_size=8, key=_salt(experiment))
    return _bucket(int.from_bytes(digest.digest(), "big"))


@lru_cache(maxsize=256)
def _salt(experiment: str) -> bytes:
    return salt_of(experiment, Purpose.PROMPT)


def _bucket(number: int) -> int:
    place, rest = number % PROMPT_PLACES, number >> _PLACE_BITS
    # Zeros before the first one; of what has none, all that are counted.
    rank = (rest & -rest).bit_length() - 1 if rest else PROMPT_RANKS
    return place * PROMPT_RANKS + min(rank, PROMPT_RANKS - 1)


def _asked(method_map: MethodMap, message: Message) -> list[_Named]:
    """Return what is asked, each with a name of what it is."""
    parts = method_map.parts
    found = [("prompt", text) for text in parts.prompts(message)]
    if parts.conversation is not None:
        found += [_said(role, part) for role, said in parts.conversation.said(message) for part in said]
    return found or _ids(method_map, message)


def _ids(method_map: MethodMap, message: Message) -> list[_Named]:
    for generate in method_map.generates.values():
        ids = generate.ids.read(message) if generate.ids is not None else ()
        if ids:
            return [("ids", " ".join(map(str, ids)))]
    return []


def _said(role: str, part: Part) -> _Named:
    if isinstance(part, str):
        return role, part
    if isinstance(part, ToolCall):
        return f"{role} calls {part.name}", part.arguments
    return f"{role} results", part.text
