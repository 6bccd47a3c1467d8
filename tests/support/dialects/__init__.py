"""Calls in every protocol of the catalog, by a name that begins with the protocol's."""

from __future__ import annotations

from google.protobuf.message import Message
from support.dialects import chat, oip, openengine, own, sglang, smg, tei, text
from support.dialects.spoken import Spoken

_WITH_CALLS = (own, oip, smg, text, chat, sglang, openengine, tei)
CALLS: dict[str, Spoken] = {name: call for family in _WITH_CALLS for name, call in family.CALLS.items()}
UNSHADOWABLE: dict[str, tuple[str, Message]] = {
    **oip.UNSHADOWABLE,
    **smg.UNSHADOWABLE,
    **text.UNSHADOWABLE,
    **chat.UNSHADOWABLE,
    **sglang.UNSHADOWABLE,
    **openengine.UNSHADOWABLE,
}
"""Requests that no shadow may get, with their methods."""
