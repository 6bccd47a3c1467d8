"""
A shadow that is asked in another protocol: one request, and then nothing more, whatever the live call's shape is.

What a live stream asks beyond its first request is an exchange of its own, which has no shadow; its leg says so.
"""

from __future__ import annotations

from collections.abc import Callable

from shadowmesh.mirror.observation import Observation
from shadowmesh.mirror.shadow_gate import GatedShadow
from shadowmesh.names import CallEnd, DropReason


class TranslatedShadow:
    """See :class:`~shadowmesh.mirror.shadow.Shadow`."""

    def __init__(self, shadow: GatedShadow, *, refused: Callable[[], None]) -> None:
        """
        Ask once.

        Args:
            refused: is told of every request beyond the first.
        """
        self._shadow = shadow
        self._refused = refused
        self._asked = False

    @property
    def observation(self) -> Observation:
        """What is seen of it."""
        return self._shadow.observation

    def send(self, message: bytes) -> None:
        """See :class:`~shadowmesh.mirror.shadow.Shadow`."""
        if self._asked:
            self._refused()
            return
        self._asked = True
        self._shadow.send(message)
        self._shadow.half_close()

    def half_close(self) -> None:
        """See :class:`~shadowmesh.mirror.shadow.Shadow`; a stream that asked nothing has nothing to translate."""
        if not self._asked:
            self._asked = True
            self._shadow.refuse(DropReason.UNTRANSLATABLE, "there is no request")

    def stop(self, end: CallEnd) -> None:
        """See :class:`~shadowmesh.mirror.shadow.Shadow`."""
        self._shadow.stop(end)
