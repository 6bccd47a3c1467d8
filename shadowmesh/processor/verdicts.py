"""What a processor's store says now: verdicts, made in a thread, one at a time, which hold for some seconds."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from shadowmesh.errors import UnknownNameError
from shadowmesh.store.evidence import EvidenceBook
from shadowmesh.store.reader import Reader
from shadowmesh.verdict.judgement import Judgement, judgement
from shadowmesh.verdict.plan import Plan

_Asked = tuple[str | None, str | None, int | None]
"""An experiment, a target, and from when on."""
_FRESH_NS = 5_000_000_000
_MOST_KNOWN = 64


class Verdicts:
    """
    What a processor's store says now.

    Args:
        url: of the store; it is opened when somebody asks, and not held open.
        plans: the experiments of the processor's own configuration file.
        wall_ns, monotonic_ns: the clocks of verdicts, and of what is remembered.
    """

    def __init__(
        self, url: str, plans: Sequence[Plan], *, wall_ns: Callable[[], int], monotonic_ns: Callable[[], int]
    ) -> None:
        self._url = url
        self._plans = tuple(plans)
        self._wall_ns = wall_ns
        self._monotonic_ns = monotonic_ns
        self._one_at_a_time = asyncio.Lock()
        self._known: dict[_Asked, tuple[int, Judgement | UnknownNameError]] = {}

    async def ask(self, experiment: str | None, target: str | None, since_ns: int | None = None) -> Judgement:
        """
        Return the verdicts that are asked for; ``None`` is any.

        Args:
            since_ns: the first moment of dispatch that counts, in wall-clock nanoseconds; what is folded is read anew.

        Raises:
            StoreError: the store cannot be read.
            UnknownNameError: there are candidates, and none of these names.
        """
        async with self._one_at_a_time:
            asked = experiment, target, since_ns
            judged_ns, judged = self._known.get(asked, (0, None))
            if judged is None or self._monotonic_ns() - judged_ns >= _FRESH_NS:
                judged = await asyncio.to_thread(self._judge, *asked)
                if len(self._known) >= _MOST_KNOWN:
                    self._known.clear()
                self._known[asked] = self._monotonic_ns(), judged
            if isinstance(judged, UnknownNameError):
                raise UnknownNameError(str(judged))
            return judged

    def _judge(self, experiment: str | None, target: str | None, since_ns: int | None) -> Judgement | UnknownNameError:
        """Return the verdicts, or that there is no such name: that takes as long to find out, and holds as long."""
        now_ns = self._wall_ns()
        reader = Reader.open(self._url)
        try:
            evidence = EvidenceBook.read(reader, now_ns=now_ns, since_ns=since_ns)
            return judgement(
                evidence, self._plans, now_ns=now_ns, experiment=experiment, target=target, since_ns=since_ns
            )
        except UnknownNameError as error:
            return error
        finally:
            reader.close()
