"""
What a worker process has to say, gathered (pure).

Every call ends with the same few words. Said one by one they would cost the live process more than the hand-over of
the call itself, so those of many calls are said together. While the live process hears nothing they go on gathering:
what is said of a call is little, and there are no more of those than the worker has; of the rest the last word, or the
sum, is all that is kept.
"""

from __future__ import annotations

from collections import defaultdict

from shadowmesh.mirror.frames import (
    Aborted,
    Credit,
    Credits,
    Extra,
    Frame,
    Left,
    Lost,
    Outcome,
    Outcomes,
    Reported,
    Settled,
    State,
)


class Answers:
    """Frames back to the live process; the order between calls is free, a call is settled after all else about it."""

    def __init__(self) -> None:
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._states: dict[tuple[str, str], State] = {}
        self._left: dict[tuple[str, str, str], Left] = {}
        self._reported: defaultdict[str, int] = defaultdict(int)
        self._aborted: defaultdict[tuple[str, str, str], int] = defaultdict(int)
        self._extra: list[Extra] = []
        self._lost: defaultdict[tuple[str, str, str], int] = defaultdict(int)
        self._outcomes: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        self._credits: defaultdict[int, int] = defaultdict(int)
        self._settled: defaultdict[int, int] = defaultdict(int)

    def add(self, frame: Frame) -> None:
        """
        Take what the engine or the exporter says.

        Raises:
            TypeError: it is nothing that either of them can say.
        """
        if isinstance(frame, Outcome):
            self._outcomes[frame.experiment, frame.target].append(frame.call)
        elif isinstance(frame, Credit):
            self._credits[frame.call] += frame.pages
        elif isinstance(frame, Settled):
            for call, exchanges in zip(frame.calls, frame.exchanges, strict=True):
                self._settled[call] += exchanges
        elif isinstance(frame, Extra):
            self._extra.append(frame)
        elif isinstance(frame, Lost):
            self._lost[frame.experiment, frame.target, frame.reason] += frame.exchanges
        elif isinstance(frame, State):
            self._states[frame.experiment, frame.target] = frame
        elif isinstance(frame, Left):
            self._left[frame.remaining[:3]] = frame
        elif isinstance(frame, Reported):
            self._reported[frame.cause] += frame.times
        elif isinstance(frame, Aborted):
            self._aborted[frame.experiment, frame.target, frame.result] += frame.times
        else:
            raise TypeError(f"nobody answers with {type(frame).__name__}")

    def take(self) -> list[Frame]:
        """Return everything since the last time, in few frames, which are true only together."""
        frames: list[Frame] = [*self._states.values(), *self._left.values()]
        frames += [Reported(0, cause, times) for cause, times in self._reported.items()]
        frames += [Aborted(0, *about, times) for about, times in self._aborted.items()]
        frames += self._extra
        frames += [Lost(0, *about, exchanges) for about, exchanges in self._lost.items()]
        frames += [Outcomes(0, *about, tuple(calls)) for about, calls in self._outcomes.items()]
        if self._credits:
            frames.append(Credits(0, tuple(self._credits), tuple(self._credits.values())))
        if self._settled:
            frames.append(Settled(0, tuple(self._settled), tuple(self._settled.values())))
        self._begin_anew()
        return frames
