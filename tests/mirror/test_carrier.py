"""The mailbox between the live side and the engine: bounded by what the frames are, and nothing in it is lost."""

from __future__ import annotations

from collections import deque
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shadowmesh.mirror.admission import HandOver
from shadowmesh.mirror.carrier import Mailbox, MirrorSettings
from shadowmesh.mirror.frames import Credit, Frame
from shadowmesh.mirror.tap import Room


def hand_over(number: int) -> Frame:
    return Credit(number, 0)


def test_new_calls_are_refused_first_then_more_of_the_open_ones_and_ends_never() -> None:
    mailbox = Mailbox(2)
    assert [mailbox.put(hand_over(n), Room.NEW) for n in range(3)] == [True, True, False]
    assert [mailbox.put(hand_over(n), Room.MORE) for n in range(3)] == [True, True, False]
    assert all(mailbox.put(hand_over(n), Room.END) for n in range(100))
    assert len(mailbox) == 104


def test_what_is_taken_makes_room_again() -> None:
    mailbox = Mailbox(1)
    mailbox.put(hand_over(1), Room.NEW)
    assert not mailbox.put(hand_over(2), Room.NEW)
    assert mailbox.take(5) == [hand_over(1)]
    assert mailbox.put(hand_over(3), Room.NEW)


@given(
    st.integers(1, 4),
    st.lists(st.one_of(st.sampled_from(Room), st.integers(0, 5)), max_size=60),
)
def test_any_sequence_behaves_as_a_bounded_queue(capacity: int, steps: list[Room | int]) -> None:
    mailbox, model = Mailbox(capacity), deque[Frame]()
    caps = {Room.NEW: capacity, Room.MORE: 2 * capacity}
    for number, step in enumerate(steps):
        if isinstance(step, Room):
            fits = step is Room.END or len(model) < caps[step]
            assert mailbox.put(hand_over(number), step) is fits
            if fits:
                model.append(hand_over(number))
        else:
            assert mailbox.take(step) == [model.popleft() for _ in range(min(step, len(model)))]
        assert len(mailbox) == len(model)


def test_of_many_threads_putting_and_one_taking_nothing_is_lost_or_doubled_and_each_keeps_its_order() -> None:
    threads, each = 4, 2_000
    mailbox = Mailbox(threads * each)

    def put(thread: int) -> None:
        for number in range(each):
            assert mailbox.put(hand_over(thread * each + number), Room.NEW)

    taken: list[HandOver] = []
    with ThreadPoolExecutor(threads) as pool:
        running = [pool.submit(put, thread) for thread in range(threads)]
        while not all(one.done() for one in running):
            taken += mailbox.take(16)
    taken += mailbox.take(threads * each)
    numbers = [frame.call for frame in taken]
    assert sorted(numbers) == list(range(threads * each))
    for thread in range(threads):
        mine = [number for number in numbers if number // each == thread]
        assert mine == sorted(mine)


def test_the_settings_take_quantities_and_refuse_what_is_no_size() -> None:
    settings = MirrorSettings.model_validate({"capture_bytes": "2MiB", "max_message_bytes": 4096})
    assert (settings.carrier, settings.capture_bytes, settings.max_message_bytes) == ("auto", 2 * 1024 * 1024, 4096)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("carrier", "fork"),
        ("queue_items", 0),
        ("queue_items", True),
        ("queue_items", "many"),
        ("capture_bytes", "1 acre"),
        ("capture_bytes", "0.3B"),
        ("capture_bytes", 0),
        ("max_message_bytes", -1),
        ("max_call_bytes", True),
        ("queue_bytes", 1),
    ],
)
def test_a_wrong_setting_names_its_key(key: str, value: object) -> None:
    with pytest.raises(ValidationError) as caught:
        MirrorSettings.model_validate({key: value})
    assert [error["loc"] for error in caught.value.errors()] == [(key,)]
