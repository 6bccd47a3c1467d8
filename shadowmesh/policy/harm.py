"""
The harm guard: measures what mirroring does to live calls, and stops it when it does harm.

Time is cut into slots and slots into blocks. In one slot of each block, drawn anew, mirroring is off: the calls that
would have been sampled are timed and not mirrored, so both kinds of slot time the same kind of call. (Comparing
mirrored with unmirrored calls of one moment would show nothing: both share the process.) Once per block two figures of
the off-slot are ranked among those of its block:

- latency: the share of calls slower than a limit;
- errors: the share of calls that failed.

The unit is the slot, not the call, because calls of a slot share their load: tests per call take bursts for harm
(verdict.md b7). The rank's mean is known by the draw alone (see ``slot_rank``), so ranks need no variance guard; they
go into the e-process of ``evidence``, and harm is what it shows at ``alpha / 2`` for either figure.

Slow is what exceeds a quantile of earlier calls of off-slots, frozen before the block begins (``slow_limit``). Harm
must exceed a margin: on-slots get the limit with the margin added, and the off-slot is lent failures by chance at the
rate of the margin. A mirroring that stays below both makes the off-slot's rank no better than uniform.

What it takes, simulated at the defaults (blocks of 40 s; calls of lognormal latency, sigma 0.6; level and rate wander
from slot to slot with autocorrelation 0.9, spread 0.2 and 0.3; drift; outages; 1 % of calls fail). Blocks from the
start until mirroring stops, median and 80 % of 8 or 10 runs:

| calls per slot | latency +30 % | latency × 3 | errors +2 points | errors +10 | errors +50 |
|---|---|---|---|---|---|
| 10 | 90, 115 | 18, 18 | | 24, 25 | |
| 40 | 31, 36 | 11, 11 | 56, 86 | | 11, 11 |
| 100 | 23, 24 | | 27, 41 | | |

False alarms without any harm, with stronger swings (0.5 and 0.7; an outage per hundred slots): at alpha 0.1 and without
margins 1 of 200 runs of 150 blocks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from shadowmesh.names import HarmFigure
from shadowmesh.policy.harm_figures import Figure, HarmReport
from shadowmesh.policy.harm_settings import HarmGuardSettings
from shadowmesh.policy.slot_rank import chance_count
from shadowmesh.policy.slots import NEVER_NS, Block, Slot, Tally
from shadowmesh.policy.slow_limit import SlowLimit

_NANOSECONDS = 1e9


class HarmGuard:
    """
    Says per sampled call whether mirroring is off, takes how the call went, and judges at the turn of a block.

    The first block is on throughout: it is there to learn the limit, and a server that has just started is no measure.
    A block is judged when the next one is over, so that long calls still count in the slot they began in; what
    has not ended by then hangs, and is slow. Nobody waits: the call that first sees a new slot turns it, and calls that
    come meanwhile stay in the old one. Memory is that of two blocks of counts, at any call rate.

    Harm is for good: every later slot is off. Only a new guard forgets, and it spends ``alpha`` anew.

    Args:
        draw: a uniform number in [0, 1), unknown to whoever sends the traffic.

    Attributes:
        harm: empty, or the figure that showed harm.
        report: the facts after the last block that was judged; replaced, never changed.
    """

    def __init__(self, settings: HarmGuardSettings, *, draw: Callable[[], float]) -> None:
        self._settings = settings
        self._draw = draw
        self._slot_ns = round(settings.slot * _NANOSECONDS)
        self._turn = deque((None,), maxlen=1)
        self._limit = SlowLimit(settings)
        self._open: tuple[Block, ...] = ()
        self._on, self._off, self._judged = Tally(), Tally(), 0
        alpha = settings.alpha / len(HarmFigure)
        self._latency = Figure(HarmFigure.LATENCY, slots=settings.one_off_in, alpha=alpha, draw=draw)
        self._errors = Figure(HarmFigure.ERRORS, slots=settings.one_off_in, alpha=alpha, draw=draw)
        self._slot = Slot(off=False, end_ns=-NEVER_NS if settings.enabled else NEVER_NS)
        self.harm = ""
        self.report = self._report()

    def begin(self, now_ns: int) -> Slot:
        """
        Return the slot of a sampled call that begins: whether to mirror it, and where to note its end.

        Args:
            now_ns: the monotonic clock; threads may be a little behind each other.
        """
        slot = self._slot
        if now_ns >= slot.end_ns:
            slot = self._turned(now_ns)
        slot.begin()
        return slot

    def _turned(self, now_ns: int) -> Slot:
        try:
            self._turn.pop()
        except IndexError:
            return self._slot
        try:
            if now_ns >= self._slot.end_ns:
                self._advance(now_ns)
        finally:
            self._turn.append(None)
        return self._slot

    def _advance(self, now_ns: int) -> None:
        """Enter the slot of ``now_ns``; at the turn of a block also learn, and judge what is old enough."""
        last = self._open[-1] if self._open else None
        if last is not None and now_ns < last.end_ns:
            self._slot = last.at(now_ns)
            return
        if last is not None:
            self._limit.learn(last)
        block = self._block(now_ns, last)
        due = [old for old in self._open if old.end_ns + block.length_ns <= now_ns]
        self._open = (*self._open[len(due) :], block)
        self._slot = block.at(now_ns)
        for old in due:
            if old.off >= 0 and not self.harm:
                self._judge(old)
        self.report = self._report()

    def _block(self, now_ns: int, last: Block | None) -> Block:
        """Return the block ``now_ns`` is in, on a grid that began with the first call."""
        size = self._settings.one_off_in
        if last is None:
            return Block(now_ns, self._slot_ns, size, off=-1)
        skipped = (now_ns - last.end_ns) // last.length_ns
        return Block(
            last.end_ns + skipped * last.length_ns,
            self._slot_ns,
            size,
            off=min(int(self._draw() * size), size - 1),
            limit_ns=self._limit.off_ns,
            limit_on_ns=self._limit.on_ns,
        )

    def _judge(self, block: Block) -> None:
        tallies = [slot.close(block.length_ns) for slot in block.slots]
        off = tallies[block.off]
        self._judged += 1
        self._off += off
        self._on = sum((tally for tally in tallies if tally is not off), self._on)
        self._latency.observe((tally.slow_share for tally in tallies), block.off)
        lent = chance_count(off.succeeded, self._settings.error_margin, self._draw)
        tallies[block.off] = off._replace(failed=off.failed + lent, succeeded=off.succeeded - lent)
        self._errors.observe((tally.failed_share for tally in tallies), block.off)
        for figure in (self._latency, self._errors):
            if figure.shows_harm and not self.harm:
                self.harm = figure.name.value
                self._slot, self._open = Slot(off=True, end_ns=NEVER_NS), ()

    def _report(self) -> HarmReport:
        return HarmReport(
            harm=self.harm,
            slots_on=self._judged * (self._settings.one_off_in - 1),
            slots_off=self._judged,
            calls_on=self._on.begun,
            calls_off=self._off.begun,
            limit=self._limit.seconds,
            figures=(
                self._latency.report(self._on.slow_share, self._off.slow_share),
                self._errors.report(self._on.failed_share, self._off.failed_share),
            ),
        )
