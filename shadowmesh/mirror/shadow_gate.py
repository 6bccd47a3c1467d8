"""
A shadow behind a mirror gate: it is called when its first request message has passed, and sent what passes.

So a shadow that is shed never reached its backend. One whose request is a stream may have to be cut later, at the first
message that does not pass: what ended before is a result, the rest says why.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from shadowmesh.mirror.gate import Gate, Passed
from shadowmesh.mirror.observation import Observation, unsent
from shadowmesh.mirror.shadow import Shadow, conclude
from shadowmesh.names import CallEnd, DropReason
from shadowmesh.telemetry.faults import Faults


class GatedShadow:
    """See :class:`~shadowmesh.mirror.shadow.Shadow`; until the real one starts, this one stands for it."""

    further: Sequence[Observation] = ()

    def __init__(
        self,
        gate: Gate,
        start: Callable[[], Shadow],
        *,
        span_id: int,
        begun_ns: int,
        clock: Callable[[], int],
        finished: Callable[[], None],
        faults: Faults,
        own_id: str = "",
    ) -> None:
        """
        Wait for the first message.

        Args:
            start: starts the real shadow, which calls ``finished`` itself.
            begun_ns: when the exchange began, on ``clock``.
            own_id: the id of its request at its server, where the protocol has one in messages.
        """
        self._own_id = own_id
        self._gate = gate
        self._start = start
        self._begun_ns = begun_ns
        self._clock = clock
        self._finished = finished
        self._faults = faults
        self._shadow: Shadow | None = None
        self._waiting = Observation(span_id=span_id)
        self._over = False

    @property
    def observation(self) -> Observation:
        """What is seen of the shadow: of the real one as soon as there is one."""
        return self._shadow.observation if self._shadow is not None else self._waiting

    def send(self, message: bytes) -> None:
        """See :class:`~shadowmesh.mirror.shadow.Shadow`."""
        if self._over:
            return
        data, reason, detail = self._judge(message)
        if reason:
            self.refuse(reason, detail)
        elif (shadow := self._started()) is not None:
            shadow.send(data)

    def half_close(self) -> None:
        """See :class:`~shadowmesh.mirror.shadow.Shadow`."""
        if not self._over and (shadow := self._started()) is not None:
            shadow.half_close()

    def stop(self, end: CallEnd) -> None:
        """See :class:`~shadowmesh.mirror.shadow.Shadow`."""
        if self._shadow is not None:
            self._shadow.stop(end)
        elif not self._over:
            self._waiting.started_ns = now_ns = self._clock()
            conclude(self._waiting, "CANCELLED", now_ns, deadline=0.0, stopped=end)
            self._end()

    def _judge(self, message: bytes) -> Passed:
        try:
            return self._gate.judge(message, self._own_id)

        except Exception as error:
            # A mistake of ours must not let through what was to be held back.
            self._faults.report("mirror gate", error)
            return Passed(message, DropReason.UNREADABLE)

    def refuse(self, reason: str, detail: str = "") -> None:
        """Shed it, or cut it where it runs already; ``detail`` may say more of the reason."""
        if self._over:
            return
        if self._shadow is None:
            self._waiting = unsent(
                self._waiting.span_id, self._begun_ns, end=CallEnd.SHED, drop_reason=reason, drop_detail=detail
            )
            self._end()
        else:
            self._over = True
            self._shadow.observation.drop_reason = reason
            self._shadow.observation.drop_detail = detail
            self._shadow.stop(CallEnd.CUT)

    def _started(self) -> Shadow | None:
        if self._shadow is None:
            try:
                shadow = self._start()
            except Exception as error:
                self._faults.report("shadow start", error)
                self._waiting = unsent(self._waiting.span_id, self._begun_ns, end=CallEnd.CUT)
                self._end()
                return None
            shadow.observation.curtailed = self._waiting.curtailed
            self._shadow = shadow
        return self._shadow

    def _end(self) -> None:
        self._over = True
        self._finished()
