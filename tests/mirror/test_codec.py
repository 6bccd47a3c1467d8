"""Every frame survives the wire, however the bytes are cut; what is no frame raises FrameError and nothing else."""

from __future__ import annotations

import contextlib
import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.frames import BY_KIND, FRAMES

from shadowmesh.errors import FrameError
from shadowmesh.mirror.codec import MAX_BODY, Decoder, encode, together
from shadowmesh.mirror.frames import Abandon, Credit, Frame, Reload


def typed(frames: list[Frame]) -> list[tuple[type[Frame], Frame]]:
    """Frames are tuples, and two kinds may hold the same values."""
    return [(type(frame), frame) for frame in frames]


def decode(data: bytes) -> list[Frame]:
    return list(Decoder().feed(data))


@pytest.mark.parametrize("kind", BY_KIND, ids=lambda kind: kind.__name__)
@given(st.data())
def test_a_frame_of_every_kind_survives_the_wire(kind: type[Frame], data: st.DataObject) -> None:
    frame = data.draw(BY_KIND[kind])
    assert typed(decode(encode(frame))) == typed([frame])


@given(st.data(), st.lists(FRAMES, max_size=5))
def test_a_stream_of_frames_is_read_back_however_it_is_cut(data: st.DataObject, frames: list[Frame]) -> None:
    stream = b"".join(map(encode, frames))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    decoder = Decoder()
    found = [frame for start, end in pairwise([0, *cuts, len(stream)]) for frame in decoder.feed(stream[start:end])]
    assert typed(found) == typed(frames)


@given(FRAMES)
def test_a_frame_comes_with_its_last_byte_and_not_before(frame: Frame) -> None:
    data = encode(frame)
    decoder = Decoder()
    assert [list(decoder.feed(data[at : at + 1])) for at in range(len(data) - 1)] == [[]] * (len(data) - 1)
    assert typed(list(decoder.feed(data[-1:]))) == typed([frame])


@given(st.lists(FRAMES, max_size=5), st.lists(FRAMES, max_size=2), st.data())
def test_frames_of_one_breath_are_read_when_the_last_is_there_and_none_before(
    frames: list[Frame], after: list[Frame], data: st.DataObject
) -> None:
    breath = together([*map(encode, frames)])
    cut = data.draw(st.integers(0, len(breath) - 1))
    decoder = Decoder()
    assert list(decoder.feed(breath[:cut])) == []
    rest = breath[cut:] + b"".join(map(encode, after))
    assert typed(list(decoder.feed(rest))) == typed([*frames, *after])


class Endless(bytes):
    """Says it is longer than a frame may be."""

    def __len__(self) -> int:
        return MAX_BODY + 1


def test_a_frame_that_nobody_would_read_is_not_written() -> None:
    with pytest.raises(FrameError, match="frame kind 6 of 2147483649 bytes"):
        encode(Reload(0, Endless(b"{}")))


@given(st.binary(max_size=200))
def test_garbage_raises_a_frame_error_or_waits_for_more(data: bytes) -> None:
    with contextlib.suppress(FrameError):
        decode(data)


@given(FRAMES, st.data())
def test_a_frame_with_damaged_bytes_is_a_frame_or_a_frame_error(frame: Frame, data: st.DataObject) -> None:
    damaged = bytearray(encode(frame))
    for at in data.draw(st.lists(st.integers(0, len(damaged) - 1), min_size=1, max_size=3)):
        damaged[at] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(FrameError):
        decode(bytes(damaged))


@given(FRAMES)
def test_a_body_that_is_cut_short_is_a_frame_error_or_another_frame(frame: Frame) -> None:
    data = encode(frame)
    kind, length, call = struct.unpack_from("<BIQ", data)
    for less in range(1, length + 1):
        try:
            found = decode(struct.pack("<BIQ", kind, length - less, call) + data[13 : 13 + length - less])
        except FrameError:
            continue
        assert typed(found) != typed([frame])


@pytest.mark.parametrize("header", [(21, 0), (255, 0), (0, MAX_BODY + 1), (128, MAX_BODY + 1)])
def test_an_unknown_kind_or_a_body_beyond_all_limits_is_refused_from_the_header_alone(header: tuple[int, int]) -> None:
    with pytest.raises(FrameError, match=f"frame kind {header[0]} of {header[1]} bytes"):
        decode(struct.pack("<BIQ", *header, 1))


def test_frames_before_the_damage_are_read_once_and_none_after_it() -> None:
    good, bad = encode(Abandon(1, "oversize")), struct.pack("<BIQ", 99, 0, 1)
    decoder = Decoder()
    frames = decoder.feed(good + bad)
    assert next(frames) == Abandon(1, "oversize")
    with pytest.raises(FrameError):
        next(frames)
    with pytest.raises(FrameError):
        list(decoder.feed(good))


def test_frames_that_nobody_asked_for_yet_are_not_read_twice() -> None:
    decoder = Decoder()
    first = next(iter(decoder.feed(encode(Credit(1, 1)) + encode(Credit(2, 2)))))
    assert first == Credit(1, 1)
    assert list(decoder.feed(encode(Credit(3, 3)))) == [Credit(2, 2), Credit(3, 3)]
