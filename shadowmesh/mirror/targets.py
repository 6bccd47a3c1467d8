"""The experiments in force, their targets, and the servers behind them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from functools import partial

from shadowmesh.mirror.accounts import Accounts
from shadowmesh.mirror.carrier import Receive
from shadowmesh.mirror.channels import Channels
from shadowmesh.mirror.frames import State
from shadowmesh.mirror.gate import Gate, gate_of
from shadowmesh.mirror.guard import Guard
from shadowmesh.mirror.occupancy import Mark, Occupancy
from shadowmesh.mirror.translation import Mapped
from shadowmesh.names import DropReason
from shadowmesh.policy.experiment import ExperimentSettings, TargetSettings
from shadowmesh.policy.headers import AllowList
from shadowmesh.policy.warm_up import WarmUp
from shadowmesh.protocols.protocol_map import MethodMap
from shadowmesh.telemetry.faults import Faults

_MOST_GATES = 4096


class Peer:
    """
    The server behind a target: its connections, its breaker, and how many shadows run there.

    It outlives a reload that leaves it the same server (see :meth:`matches`), whatever becomes of rates and limits.
    """

    def __init__(self, settings: TargetSettings, guard: Guard, channels: Channels) -> None:
        self.channels = channels
        self.guard = guard
        self.retired = False
        self._settings = settings
        self._occupancy = Occupancy()
        self._running = 0

    def matches(self, settings: TargetSettings) -> bool:
        """Return whether this is the server that ``settings`` mean, under the same breaker."""
        mine = self._settings
        return (mine.address, mine.tls, mine.credentials, mine.version, mine.breaker) == (
            settings.address,
            settings.tls,
            settings.credentials,
            settings.version,
            settings.breaker,
        )

    def enter(self, now_ns: int) -> Mark:
        """Count a shadow in."""
        self._running += 1
        return self._occupancy.enter(now_ns)

    def leave(self, now_ns: int, mark: Mark) -> float:
        """Count a shadow out; return how many ran here meanwhile, on average."""
        self._running -= 1
        return self._occupancy.leave(now_ns, mark)

    @property
    def finished(self) -> bool:
        """Whether nothing runs here and nothing will."""
        return self.retired and not self._running


class Target:
    """One target of one experiment in force."""

    def __init__(
        self,
        experiment: ExperimentSettings,
        settings: TargetSettings,
        peer: Peer,
        refusal: Callable[[], str],
        mapped: Mapped,
        warm_up: WarmUp,
    ) -> None:
        self.settings = settings
        self.headers = AllowList(settings.metadata, never=experiment.never)
        self.peer = peer
        self.warm_up = warm_up
        self._refusal = refusal
        self._mapped = mapped
        self._experiment = experiment
        self._gates: dict[str, Gate] = {}

    def gate(self, method: str, method_map: MethodMap | None) -> Gate:
        """Return what this target's policies make of requests of this method."""
        found = self._gates.get(method)
        if found is None:
            found = gate_of(self._experiment, self.settings, method, method_map, self._mapped)
            # Method names come from clients where a server has a catch-all handler.
            if len(self._gates) < _MOST_GATES:
                self._gates[method] = found
        return found

    @property
    def closed(self) -> str:
        """The drop reason while no call may be made, else empty."""
        return self._refusal() or self.peer.guard.closed

    def admit(self) -> tuple[int, str]:
        """Return the breaker's pass for one shadow; or 0, and the drop reason."""
        if self.peer.retired:
            return 0, DropReason.REMOVED
        # Before the breaker, whose probes are few.
        if reason := self._refusal():
            return 0, reason
        return self.peer.guard.admit(), DropReason.CIRCUIT_OPEN


class Experiment:
    """One experiment in force; ``occupancy`` is the live server's, and outlives a reload."""

    def __init__(self, settings: ExperimentSettings, targets: Iterable[Target], occupancy: Occupancy) -> None:
        self.settings = settings
        self.targets = {target.settings.name: target for target in targets}
        self.occupancy = occupancy

    def is_warming(self, target: str, at_ns: int, *, sent: bool) -> bool:
        """Return whether a call that began at a moment is of a target's warm-up; see :class:`WarmUp`."""
        found = self.targets.get(target)
        return found is not None and found.warm_up.lasts(at_ns, sent=sent)


class Experiments:
    """What is mirrored, from one reload to the next. All of it happens in the engine's loop."""

    def __init__(
        self,
        reply: Receive,
        *,
        clock: Callable[[], int],
        faults: Faults,
        accounts: Accounts,
        mapped: Mapped,
    ) -> None:
        self._reply = reply
        self._mapped = mapped
        self._accounts = accounts
        accounts.tell = self._account_changed
        self._clock = clock
        self._faults = faults
        self._in_force: dict[str, Experiment] = {}
        self._former: dict[str, Experiment] = {}
        self._closed: set[tuple[str, str]] = set()
        self._retired: set[Peer] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self._shut = False

    def find(self, name: str, targets: Iterable[str]) -> Experiment | None:
        """
        Return the experiment a call was admitted to.

        A call may have been admitted just before the reload that removed one of its targets and begin just after it; it
        gets the experiment as it was then, so that its legs can say what became of them.
        """
        experiment = self._in_force.get(name)
        if self._former and name in self._former:
            known = experiment.targets if experiment is not None else {}
            if any(target not in known for target in targets):
                return self._former[name]
        return experiment

    def replace(self, settings: tuple[ExperimentSettings, ...]) -> None:
        """Put other experiments in force; the live side is told of every target that is not as a new one would be."""
        before = self._in_force
        self._accounts.rule(settings)
        self._in_force = {one.name: self._renewed(one, before.get(one.name)) for one in settings}
        # One reload back is far enough: what is late is late by the moment a frame takes.
        self._former = {name: one for name, one in before.items() if self._lost(name, one)}
        kept = {target.peer for _, target in self._targets()}
        for peer in {target.peer for one in before.values() for target in one.targets.values()} - kept:
            self._retire(peer)
        closed, self._closed = self._closed, set()
        for name, target in self._targets():
            reason = DropReason.SHUTDOWN if self._shut else target.closed
            if reason or (name, target.settings.name) in closed:
                self._tell(name, target.settings.name, reason)
        for name, experiment in self._former.items():
            for target_name in self._lost(name, experiment):
                self._tell(name, target_name, DropReason.REMOVED)

    def shut(self) -> None:
        """Tell the live side to admit nothing to any target any more."""
        if not self._shut:
            for name, target in self._targets():
                target.peer.guard.stop()
                self._tell(name, target.settings.name, DropReason.SHUTDOWN)
            self._shut = True

    def release(self, peer: Peer) -> None:
        """Close the connections of a peer that was retired and at which nothing runs any more."""
        if peer.finished:
            self._retired.discard(peer)
            task = asyncio.get_running_loop().create_task(self._close(peer))
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close every connection."""
        for peer in (*self._retired, *(target.peer for _, target in self._targets())):
            peer.guard.stop()
            await self._close(peer)
        if self._closing:
            await asyncio.gather(*self._closing)

    def _renewed(self, settings: ExperimentSettings, before: Experiment | None) -> Experiment:
        targets = [self._target(settings, one, before) for one in settings.targets]
        return Experiment(settings, targets, before.occupancy if before is not None else Occupancy())

    def _target(self, experiment: ExperimentSettings, settings: TargetSettings, before: Experiment | None) -> Target:
        known = before.targets.get(settings.name) if before is not None else None
        same = before is not None and before.settings.digest == experiment.digest
        # Evidence of another configuration begins anew.
        warm_up = known.warm_up if known is not None and same else WarmUp(settings.warm_up)
        refusal = partial(self._accounts.refusal, experiment.name, settings.name)
        if known is not None and known.peer.matches(settings):
            return Target(experiment, settings, known.peer, refusal, self._mapped, warm_up)
        guard = Guard(settings.breaker, clock=self._clock, tell=partial(self._tell, experiment.name, settings.name))
        peer = Peer(settings, guard, Channels(settings, clock=self._clock, faults=self._faults))
        return Target(experiment, settings, peer, refusal, self._mapped, warm_up)

    def _account_changed(self, experiment: str, target: str, closed: str) -> None:
        if not self._shut:
            self._tell(experiment, target, closed)

    def _tell(self, experiment: str, target: str, closed: str) -> None:
        one = self._in_force.get(experiment)
        if not closed and one is not None and target in one.targets:
            # Open only if nothing else keeps it closed: breaker and account each speak for themselves.
            closed = one.targets[target].closed
        if closed:
            self._closed.add((experiment, target))
        else:
            self._closed.discard((experiment, target))
        self._reply(State(0, experiment, target, closed))

    def _lost(self, name: str, before: Experiment) -> list[str]:
        now = self._in_force.get(name)
        return [target for target in before.targets if now is None or target not in now.targets]

    def _targets(self) -> Iterator[tuple[str, Target]]:
        for name, experiment in self._in_force.items():
            for target in experiment.targets.values():
                yield name, target

    def _retire(self, peer: Peer) -> None:
        peer.retired = True
        peer.guard.stop()
        self._retired.add(peer)
        self.release(peer)

    async def _close(self, peer: Peer) -> None:
        try:
            await peer.channels.close()
        except Exception as error:
            self._faults.report("channel close", error)
