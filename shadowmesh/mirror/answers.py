"""
What a worker process has to say, gathered (pure).

Every call ends with the same few words. Said one by one they would cost the live process more than the hand-over of
the call itself, so those of many calls are said together.
"""

from __future__ import annotations

from collections import defaultdict

from shadowmesh.mirror.frames import Credit, Credits, Frame, Outcome, Outcomes, Settled


class Answers:
    """Frames back to the live process; the order between calls is free, a call is settled after all else about it."""

    def __init__(self) -> None:
        self._others: list[Frame] = []
        self._outcomes: dict[tuple[str, str], list[int]] = defaultdict(list)
        self._credits: list[tuple[int, int]] = []
        self._settled: list[int] = []

    def add(self, frame: Frame) -> None:
        """Take what the engine or the exporter says."""
        if isinstance(frame, Outcome):
            self._outcomes[frame.experiment, frame.target].append(frame.call)
        elif isinstance(frame, Credit):
            self._credits.append((frame.call, frame.pages))
        elif isinstance(frame, Settled):
            self._settled += frame.calls
        else:
            self._others.append(frame)

    def take(self) -> list[Frame]:
        """Return everything since the last time, in few frames."""
        frames = self._others
        frames += [Outcomes(0, *about, tuple(calls)) for about, calls in self._outcomes.items()]
        if self._credits:
            calls, pages = zip(*self._credits, strict=True)
            frames.append(Credits(0, calls, pages))
        if self._settled:
            frames.append(Settled(0, tuple(self._settled)))
        self._others, self._credits, self._settled = [], [], []
        self._outcomes.clear()
        return frames
