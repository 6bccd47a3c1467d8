"""
The accounts of one engine: budgets and time-boxes of every target that has one, in the engine's loop.

A target without either has no account and costs nothing here. Where there is one, the engine asks before it admits a
call, says when the call is over, and the recorder says what its legs were; once a second everything is looked at anew,
because hours, days and boxes end by themselves, and what has changed is written.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

from shadowmesh.mirror.account import Account, drop_reason
from shadowmesh.mirror.budget_file import BudgetFile
from shadowmesh.mirror.carrier import Receive
from shadowmesh.mirror.frames import Left
from shadowmesh.model import Leg
from shadowmesh.names import BudgetLimit, DropReason, TimeBoxLimit
from shadowmesh.policy.budget import Remaining
from shadowmesh.policy.experiment import ExperimentSettings
from shadowmesh.pricing import Pricing
from shadowmesh.telemetry.faults import Faults

_LOG = logging.getLogger("shadowmesh")
_SECONDS = 1.0
_WHY = {
    BudgetLimit.PER_HOUR: "its budget for this hour is used up",
    BudgetLimit.PER_DAY: "its budget for this day is used up",
    BudgetLimit.TOTAL: "its budget is used up",
    BudgetLimit.TOKENS: "its budget of tokens is used up",
    BudgetLimit.UNPRICED: "a call was answered and nothing tells its cost: give it a price, or set budget.unpriced",
    TimeBoxLimit.END: "its time-box is over",
    TimeBoxLimit.PAIRS: "it has had all the pairs of its time-box",
}

Tell = Callable[[str, str, str], None]
"""Hears of an experiment, a target, and why it is closed; empty when it is open again."""


class Accounts:
    """
    All methods run in the engine's loop; ``tell`` is set by whoever asks.

    Args:
        pricing: makes what prices legs; called when the first budget of money is in force.
        part: the part of every limit that is this engine's, above 0 and up to 1.
        file: where the accounts outlive the engine.
        reply: hears what is left of every limit, when it has changed: ``Left``, about once in ``seconds``.
        seconds: how often everything is looked at, and written.
    """

    def __init__(
        self,
        pricing: Callable[[], Pricing],
        *,
        faults: Faults,
        part: float = 1.0,
        file: BudgetFile | None = None,
        reply: Receive | None = None,
        wall_ns: Callable[[], int] = time.time_ns,
        seconds: float = _SECONDS,
    ) -> None:
        self.tell: Tell = _to_nobody
        self._make_pricing = pricing
        self._pricing: Pricing | None = None
        self._faults = faults
        self._part = part
        self._file = file
        self._reply = reply
        self._wall = wall_ns
        self._seconds = seconds
        self._settings: tuple[ExperimentSettings, ...] = ()
        self._accounts: dict[tuple[str, str], Account] = {}
        # Targets that are gone, and those of other files' days: kept, for they may come back.
        self._stored: dict[str, Any] = {}
        self._known = file is None
        self._flights: dict[int, list[Account]] = {}
        self._said: set[Remaining] = set()
        self._logged: set[tuple[str, str, str]] = set()
        self._written: dict[str, Any] = {}
        self._writing: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ended = False

    # --- what the engine asks and says -----------------------------------------------------------------------------

    def rule(self, experiments: tuple[ExperimentSettings, ...]) -> None:
        """Put the budgets and time-boxes of these experiments in force."""
        self._settings = experiments
        self._stored = self._state()
        ruled = [(one, target) for one in experiments for target in one.targets if target.budget or one.time_box]
        before, self._accounts = self._accounts, {}
        if ruled and not self._known:
            self._open_file()
        now_ns = self._wall()
        for one, target in ruled:
            key = (one.name, target.name)
            account = before.get(key) or self._restored(*key)
            account.rule(target.budget, one.time_box, self._part, now_ns)
            self._accounts[key] = account
        if any(account.prices for account in self._accounts.values()) and self._pricing is None:
            self._pricing = self._make_pricing()
        if self._accounts and self._timer is None and not self._ended:
            self._look()
        else:
            self._say()

    def refusal(self, experiment: str, target: str) -> str:
        """Return the drop reason that keeps a call out now, empty where none does."""
        account = self._accounts.get((experiment, target))
        if account is None:
            return ""
        if not self._known and account.lasting:
            # Nobody knows what was spent, and that is not nothing.
            return DropReason.BUDGET.value
        return drop_reason(account.limit(self._wall()))

    def enter(self, call: int, experiment: str, target: str) -> None:
        """Take in a call that was let through."""
        account = self._accounts.get((experiment, target))
        if account is not None:
            account.enter(call)
            self._flights.setdefault(call, []).append(account)
            self._check(account)

    def charge(self, call: int, leg: Leg) -> None:
        """Take in a leg of a call that is over."""
        for account in self._flights.get(call, ()):
            if account.target == leg.target:
                account.charge(call, leg, self._pricing or _UNPRICED)

    def settle(self, call: int) -> None:
        """Take in that a call is over and all its legs were charged."""
        for account in self._flights.pop(call, ()):
            account.settle(call, self._wall())
            self._check(account)

    def remaining(self) -> list[Remaining]:
        """Return what is left of every limit."""
        now_ns = self._wall()
        return [one for account in self._accounts.values() for one in account.remaining(now_ns)]

    async def close(self) -> None:
        """Say and write what was spent, and let go of the file."""
        self._end()
        if self._writing is not None:
            await asyncio.wait([self._writing])
        if self._file is not None:
            await asyncio.to_thread(self._close_file, self._file, self._state())

    def end_now(self) -> None:
        """Do the same where there is no loop any more."""
        self._end()
        if self._file is not None:
            self._close_file(self._file, self._state())

    # --- once a second ---------------------------------------------------------------------------------------------

    def _look(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._seconds, self._look)
        try:
            if not self._known:
                self._try_again()
            for account in self._accounts.values():
                self._check(account)
                if account.told:
                    # Told more than once: a live side that reloads at this moment does not know the target yet.
                    self.tell(account.experiment, account.target, account.told)
            self._say()
            self._write()
        except Exception as error:
            self._faults.report("budget", error)

    def _check(self, account: Account) -> None:
        """Tell and log what has changed."""
        closed = self.refusal(account.experiment, account.target)
        if closed != account.told:
            account.told = closed
            self.tell(account.experiment, account.target, closed)
        limit = account.limit(self._wall(), flying=False) if closed and self._known else None
        if limit is None or limit is TimeBoxLimit.START:
            return
        said = (account.experiment, account.target, limit.value)
        if said not in self._logged:
            self._logged.add(said)
            _LOG.warning("experiment %s mirrors nothing to %s: %s", *said[:2], _WHY[limit])

    def _say(self) -> None:
        """Say what is left where that has changed; nothing while nobody knows what was spent."""
        if self._reply is None or not self._known:
            return
        left = self.remaining()
        for one in left:
            if one not in self._said:
                self._reply(Left(0, one))
        self._said = set(left)

    # --- the file --------------------------------------------------------------------------------------------------

    def _open_file(self) -> None:
        if self._file is None:
            return
        try:
            accounts = self._file.take()
            if accounts is None:
                self._faults.report("budget state", "every file is held: more engines than mirror.budget.processes")
                return
            for key, state in accounts.items():
                Account(*_names(key), state=state)
            self._stored = self._written = accounts
            self._known = True
        except (OSError, ValueError, TypeError, AttributeError) as error:
            self._file.release()
            self._faults.report("budget state", error)

    def _try_again(self) -> None:
        self._open_file()
        if self._known:
            # What was shed meanwhile was counted nowhere; only what the live side was told is worth keeping.
            told = {key: account.told for key, account in self._accounts.items()}
            self._accounts.clear()
            self.rule(self._settings)
            for key, account in self._accounts.items():
                account.told = told[key]

    def _restored(self, experiment: str, target: str) -> Account:
        return Account(experiment, target, state=self._stored.get(f"{experiment}/{target}", {}))

    def _state(self) -> dict[str, Any]:
        now_ns = self._wall()
        return self._stored | {f"{name}/{target}": one.state(now_ns) for (name, target), one in self._accounts.items()}

    def _write(self) -> None:
        if self._file is None or not self._known or (self._writing is not None and not self._writing.done()):
            return
        state = self._state()
        if state != self._written:
            self._written = state
            self._writing = asyncio.get_running_loop().run_in_executor(None, self._write_file, self._file, state)

    def _write_file(self, file: BudgetFile, state: dict[str, Any]) -> None:
        try:
            file.write(state)
        except OSError as error:
            self._faults.report("budget state", error)

    def _close_file(self, file: BudgetFile, state: dict[str, Any]) -> None:
        if self._known:
            self._write_file(file, state)
        file.release()

    def _end(self) -> None:
        self._ended = True
        self._say()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


_UNPRICED = Pricing()


def _to_nobody(_experiment: str, _target: str, _closed: str) -> None:
    """Until somebody asks."""


def _names(key: str) -> tuple[str, str]:
    experiment, _, target = key.partition("/")
    return experiment, target
