"""
What moves frames between the live side and the engine.

A carrier takes frames from any thread without waiting, runs the engine where it pleases, and hands frames back.
The live side cannot tell one carrier from another.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Literal, Protocol

from pydantic import Field

from shadowmesh.mirror.admission import Admit, HandOver
from shadowmesh.mirror.budget_file import BudgetShareSettings
from shadowmesh.mirror.frames import Frame
from shadowmesh.mirror.tap import Room
from shadowmesh.policy.credentials import FileName
from shadowmesh.policy.harm_settings import HarmGuardSettings
from shadowmesh.policy.translation import TokenizerName
from shadowmesh.pricing import PriceSettings
from shadowmesh.settings import ByteSize, Settings

Receive = Callable[[Frame], None]
"""Takes one frame; never raises, never waits."""


class MirrorSettings(Settings):
    """
    How captured calls get from the live side to the engine, and how much of them may wait.

    Args:
        carrier: ``loop`` runs the engine in the grpc.aio server's own loop, ``thread`` in a thread of its own;
            ``process`` runs it in worker processes, which keeps nearly all of its work off the live server's core;
            ``auto`` takes ``loop`` for grpc.aio servers and ``thread`` for others.
        workers: worker processes of the carrier ``process``; a call stays with one.
        queue_items: frames waiting for the engine; more are shed with ``queue_full``.
        capture_bytes: bytes of captured messages of all open exchanges; beyond, exchanges are shed. In each engine as
            much again of what shadows have answered; beyond, an answer is timed but not read.
        max_message_bytes: a larger request message is not mirrored, a larger answer is not read.
        max_call_bytes: the same for all messages of one call and direction together, each counted with 128 bytes more
            than it has.
        prices: what calls cost, for budgets of money; as ``processor.prices``, which a file for both repeats by a YAML
            anchor. Then public list prices, where genai-prices is installed.
        budget: this machine's part of every budget, and where what was spent outlives a restart.
        harm_guard: how mirroring measures what it does to live calls, and when it stops itself.
        tokenizers: the ``tokenizer.json`` of a tokenizer that experiments name, so that captured answers of protocols
            with nothing but token ids have a text.
    """

    carrier: Literal["auto", "loop", "thread", "process"] = "auto"
    workers: int = Field(default=1, ge=1, le=64, strict=True)
    queue_items: int = Field(default=4096, ge=1, strict=True)
    capture_bytes: ByteSize = 64 * 1024 * 1024
    max_message_bytes: ByteSize = 4 * 1024 * 1024
    max_call_bytes: ByteSize = 16 * 1024 * 1024
    prices: tuple[PriceSettings, ...] = ()
    budget: BudgetShareSettings = BudgetShareSettings()
    harm_guard: HarmGuardSettings = HarmGuardSettings()
    tokenizers: dict[TokenizerName, FileName] = Field(default={})

    @property
    def engines(self) -> int:
        """How many engines of this machine share its part of every budget."""
        return self.budget.processes * (self.workers if self.carrier == "process" else 1)

    @property
    def part(self) -> float:
        """Which part of every budget is one engine's."""
        return self.budget.share / self.engines


class Consumer(Protocol):
    """The engine, as a carrier sees it. All methods run in the loop the carrier chose."""

    def feed(self, frame: Frame) -> None:
        """Take one frame; never raises."""

    async def drain(self, grace: float) -> None:
        """Finish what is open within ``grace`` seconds, then cut it; everything is accounted for afterwards."""

    def end_now(self) -> None:
        """Account for what is open at once, where there is no loop any more to drain in."""
        ...

    async def close(self) -> None:
        """Release channels; safe at any time and more than once."""


MakeConsumer = Callable[[Receive], Consumer]
"""Builds an engine that answers through the given function; called in the engine's own loop."""


class Carrier(Protocol):
    """
    Moves frames. ``start`` happens at the first call that needs it, never at import and never before a fork.

    Carriers are made with the frames that every engine they start must see first: the experiments in force.
    """

    def start(self) -> None:
        """
        Start the engine; called where live calls arrive (in their loop, if they have one), more than once.

        Raises:
            RuntimeError: the carrier needs a running loop and there is none.
        """

    def offer(self, frame: HandOver, room: Room) -> bool:
        """Take the frame without waiting, or say no (before ``start`` and after the end, always no)."""

    @property
    def bound(self) -> bool:
        """Whether ``start`` has nothing to do."""
        ...

    def reload(self, frame: Frame) -> None:
        """Give ``frame`` to every engine that runs, before calls that begin later, and to those that start later."""

    def queued(self) -> int:
        """Return how many frames wait for the engine."""

    async def drain(self, grace: float) -> None:
        """Let the engine finish within ``grace`` seconds, then end it. Safe before ``start`` and more than once."""

    def drain_blocking(self, grace: float) -> None:
        """
        The same, from a thread without a loop.

        Raises:
            LoopError: the engine runs in the calling thread's loop, which waiting here would block for ever.
        """

    def forget(self) -> None:
        """Let go, in a forked process, of what is the parent's: its threads did not come along, its sockets did."""


class MakeCarrier(Protocol):
    """
    How every carrier is made: with its engine's maker, the way back, the frames an engine must see first, and what
    becomes of a call that was opened before an engine sees it.
    """

    def __call__(
        self, make_consumer: MakeConsumer, receive: Receive, *, first: tuple[Frame, ...], queue_items: int, admit: Admit
    ) -> Carrier:
        """Make one; nothing starts yet."""
        ...


class Mailbox:
    """Frames that wait for the engine: bounded in items here, in bytes by the credit their senders hold."""

    def __init__(self, capacity: int) -> None:
        self._new = capacity
        self._more = 2 * capacity
        self._waiting: deque[HandOver] = deque()

    @property
    def capacity(self) -> int:
        """How many frames may wait before none is taken that begins a call."""
        return self._new

    def put(self, frame: HandOver, room: Room) -> bool:
        """Append one frame unless ``room`` is used up."""
        waiting = self._waiting
        if room is not Room.END and len(waiting) >= (self._new if room is Room.NEW else self._more):
            return False
        waiting.append(frame)
        return True

    def take(self, most: int) -> list[HandOver]:
        """Remove and return up to ``most`` frames, oldest first."""
        # Nobody else takes, so what is counted here is still there.
        return [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]

    def __len__(self) -> int:
        return len(self._waiting)
