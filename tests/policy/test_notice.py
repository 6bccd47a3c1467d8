"""A word is heard whoever comes first."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from shadowmesh.policy.notice import Notice


def test_whoever_listens_first_hears_it_when_it_is_given_and_whoever_comes_late_at_once() -> None:
    heard: list[str] = []
    early, late = Notice(), Notice()
    early.heard_by(lambda: heard.append("early"))
    assert heard == []
    early.give()
    late.give()
    late.heard_by(lambda: heard.append("late"))
    assert heard == ["early", "late"]


def test_a_word_without_a_listener_and_a_listener_without_a_word_are_fine() -> None:
    Notice().give()
    heard: list[str] = []
    Notice().heard_by(lambda: heard.append("never"))
    assert heard == []


def test_it_is_heard_when_both_come_at_once() -> None:
    def one(notice: Notice, barrier: Barrier) -> None:
        barrier.wait(10)
        notice.give()

    with ThreadPoolExecutor(1) as pool:
        for _ in range(500):
            notice, barrier, heard = Notice(), Barrier(2), list[bool]()
            given = pool.submit(one, notice, barrier)
            barrier.wait(10)
            notice.heard_by(lambda heard=heard: heard.append(True))  # type: ignore[misc]
            given.result(10)
            assert heard
