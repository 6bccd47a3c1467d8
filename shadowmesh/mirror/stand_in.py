"""
What is said in place of a frame that cannot be put into bytes, for want of memory or by a mistake of ours (pure).

The worker has the call and keeps it: it must hear that something is missing, and that the call has ended, because only
what it says itself of a call adds up. What stands in holds no page.
"""

from __future__ import annotations

from shadowmesh.mirror.frames import Abandon, Frame, LiveDone, Request, RequestEnd, Response
from shadowmesh.names import CallEnd, DropReason


def stand_ins(frame: Frame, now_ns: int) -> tuple[Frame, ...]:
    """
    Return what may be said instead, the best first; the last one can always be said. Nothing stands in for a ``Begin``.

    A request that is not whole is no request: its shadows are cut. An answer that is not whole is unknown, its times
    are not. Of an end that nobody can tell only the time is ours, ``now_ns`` on the call's clock.
    """
    if isinstance(frame, (Request, RequestEnd, Abandon)):
        # As of a message that the carrier had no room for; why that was is counted as a fault.
        return (Abandon(frame.call, DropReason.QUEUE_FULL.value),)
    if isinstance(frame, Response):
        return (frame._replace(messages=(), pages=0), Response(frame.call, (now_ns,), (), 0))
    if isinstance(frame, LiveDone):
        bare = frame._replace(captured=False, messages=(), pages=0)
        return (bare, LiveDone(frame.call, now_ns, "", CallEnd.CUT.value, 0, captured=False, total=bare.total))
    return ()
